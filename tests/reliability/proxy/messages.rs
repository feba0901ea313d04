//! DynamoDB's messages: a request as the proxy reads it, and error responses.

use serde_json::{Value, json};
use testkit::http1::Message;

use crate::fault_table::CONDITION;

/// The kinds of calls that faults distinguish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Write,
    Read,
    Other,
}

/// A request to DynamoDB.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) message: Message,
    pub(super) kind: Kind,
    /// The keys of a transaction's items, in order.
    pub(super) items: Vec<String>,
}

impl Call {
    pub(super) fn parse(message: Message) -> Self {
        let kind = match message.header("x-amz-target") {
            Some("DynamoDB_20120810.TransactWriteItems") => Kind::Write,
            Some("DynamoDB_20120810.GetItem" | "DynamoDB_20120810.BatchGetItem") => Kind::Read,
            _ => Kind::Other,
        };
        let mut items = Vec::new();
        if kind == Kind::Write {
            let body: Value = serde_json::from_slice(&message.body).unwrap();
            let actions = body["TransactItems"].as_array().unwrap().iter();
            // The one member of each is the kind of write, such as `Update`.
            items.extend(actions.flat_map(|action| action.as_object().unwrap().values()).map(|action| {
                assert_eq!(action["Key"].as_object().map(serde_json::Map::len), Some(2));
                action["Key"]["pk"]["S"].as_str().unwrap().to_owned()
            }));
        }
        Self { message, kind, items }
    }

    /// Its write units if each item is below 1 KB. A refused transaction costs the same.
    pub(super) fn units(&self) -> u64 {
        2 * self.items.len() as u64
    }
}

pub(super) const JSON: [(&str, &str); 1] = [("content-type", "application/x-amz-json-1.0")];

/// An error response of DynamoDB.
pub(super) fn error(status: u16, code: &str, mut body: Value) -> Message {
    body["__type"] = format!("com.amazonaws.dynamodb.v20120810#{code}").into();
    body["message"] = "made up".into();
    Message::response(status, &JSON, body.to_string().into_bytes())
}

/// A cancelled transaction, with a reason for each of its items.
pub(super) fn cancelled(codes: &[&str], call: &Call) -> Message {
    let reasons = codes.iter().zip(&call.items).map(|(code, item)| match *code {
        CONDITION => {
            let item = json!({ "pk": { "S": item }, "sk": { "S": "PHONE" }, "ccid_count": { "N": "50" } });
            json!({ "Code": CONDITION, "Message": "The conditional request failed", "Item": item })
        }
        code => json!({ "Code": code }),
    });
    let reasons: Vec<_> = reasons.collect();
    error(400, "TransactionCanceledException", json!({ "CancellationReasons": reasons }))
}
