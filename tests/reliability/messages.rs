//! DynamoDB's messages: what is asked of it, and its errors.

use serde_json::{Value, json};

use crate::fault_table::CONDITION;
use testkit::http1::Message;

/// What the faults tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Write,
    Read,
    Other,
}

/// A request to DynamoDB.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) message: Message,
    pub(crate) kind: Kind,
    /// The keys of a transaction's items, in order.
    pub(crate) items: Vec<String>,
}

impl Call {
    pub(crate) fn of(message: Message) -> Self {
        let kind = match message.header("x-amz-target") {
            Some("DynamoDB_20120810.TransactWriteItems") => Kind::Write,
            Some("DynamoDB_20120810.GetItem") => Kind::Read,
            _ => Kind::Other,
        };
        let mut items = Vec::new();
        if kind == Kind::Write {
            let body: Value = serde_json::from_slice(&message.body).unwrap();
            let actions = body["TransactItems"].as_array().unwrap().iter();
            // Each has one member, which says what is done to the item.
            items.extend(actions.flat_map(|action| action.as_object().unwrap().values()).map(|action| {
                assert_eq!(action["Key"].as_object().map(serde_json::Map::len), Some(2));
                action["Key"]["pk"]["S"].as_str().unwrap().to_owned()
            }));
        }
        Self { message, kind, items }
    }

    /// What it costs, refused or not, were each item below 1 KB.
    pub(crate) fn units(&self) -> u64 {
        2 * self.items.len() as u64
    }
}

pub(crate) const JSON: [(&str, &str); 1] = [("content-type", "application/x-amz-json-1.0")];

/// An error, as DynamoDB words it.
pub(crate) fn failure(status: u16, code: &str, mut body: Value) -> Message {
    body["__type"] = format!("com.amazonaws.dynamodb.v20120810#{code}").into();
    body["message"] = "made up".into();
    Message::response(status, &JSON, body.to_string().into_bytes())
}

/// A refusal of the transaction, with a reason for each of its items.
pub(crate) fn cancelled(codes: &[&str], call: &Call) -> Message {
    let reasons = codes.iter().zip(&call.items).map(|(code, item)| match *code {
        CONDITION => {
            let item = json!({ "pk": { "S": item }, "sk": { "S": "PHONE" }, "ccid_count": { "N": "50" } });
            json!({ "Code": CONDITION, "Message": "The conditional request failed", "Item": item })
        }
        code => json!({ "Code": code }),
    });
    let reasons: Vec<_> = reasons.collect();
    failure(400, "TransactionCanceledException", json!({ "CancellationReasons": reasons }))
}
