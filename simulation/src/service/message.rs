//! DynamoDB's messages: the calls that the function and the operators make, and the replies.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::value::{Item, Value};

/// A call on one item, alone or in a transaction.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
#[expect(missing_docs, reason = "DynamoDB's names")]
pub struct Action {
    pub table_name: String,
    #[serde(default)]
    pub key: Item,
    /// The new item of a put.
    pub item: Option<Item>,
    pub condition_expression: Option<String>,
    pub update_expression: Option<String>,
    pub projection_expression: Option<String>,
    #[serde(default)]
    pub expression_attribute_names: BTreeMap<String, String>,
    #[serde(default)]
    pub expression_attribute_values: Item,
    pub return_values_on_condition_check_failure: Option<String>,
    pub return_values: Option<String>,
    #[serde(default)]
    pub consistent_read: bool,
    /// The kind of the action, such as `Update`. In a transaction it is the name of the member that holds the action.
    #[serde(skip)]
    pub kind: &'static str,
}

impl Action {
    /// The key of the item.
    pub fn item_key(&self) -> ItemKey {
        ItemKey::from_item(&self.table_name, self.item.as_ref().unwrap_or(&self.key))
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.item_key())?;
        if let Some(update) = &self.update_expression {
            write!(f, " [{update}]")?;
        }
        if let Some(condition) = &self.condition_expression {
            write!(f, " if [{condition}]")?;
        }
        if !self.expression_attribute_names.is_empty() {
            write!(f, " {:?}", self.expression_attribute_names)?;
        }
        if !self.expression_attribute_values.is_empty() {
            write!(f, " {}", serde_json::to_string(&self.expression_attribute_values).unwrap_or_default())?;
        }
        Ok(())
    }
}

/// The key of an item, and its table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "DynamoDB's names")]
pub struct ItemKey {
    pub table: String,
    pub pk: String,
    pub sk: String,
}

impl ItemKey {
    /// The key of an item, or of a key's attributes.
    pub fn from_item(table: &str, item: &Item) -> Self {
        let part = |name: &str| item.get(name).and_then(Value::text).unwrap_or_default().to_owned();
        Self { table: table.to_owned(), pk: part("pk"), sk: part("sk") }
    }
}

impl fmt::Display for ItemKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.table, self.pk)
    }
}

/// A call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// `TransactWriteItems`, with its client token.
    Transaction(Option<String>, Vec<Action>),
    /// `GetItem`.
    Get(Action),
    /// `BatchGetItem` of one table: a read of each item.
    Batch(Vec<Action>),
    /// `TransactGetItems`.
    TransactGet(Vec<Action>),
    /// `Scan`.
    Scan(Scan),
    /// `PutItem`, `UpdateItem` or `DeleteItem`.
    Write(Action),
}

/// A page of one part of a table.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
#[expect(missing_docs, reason = "DynamoDB's names")]
pub struct Scan {
    pub table_name: String,
    pub segment: usize,
    pub total_segments: usize,
    pub limit: usize,
    pub exclusive_start_key: Option<Item>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Transaction {
    transact_items: Vec<BTreeMap<String, Action>>,
    client_request_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct TransactGet {
    transact_items: Vec<OneGet>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct OneGet {
    get: Action,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Batch {
    request_items: BTreeMap<String, OfTable>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct OfTable {
    keys: Vec<Item>,
    projection_expression: Option<String>,
    #[serde(default)]
    consistent_read: bool,
}

impl Batch {
    fn actions(self) -> Vec<Action> {
        let actions = |(table_name, of_table): (String, OfTable)| {
            let OfTable { keys, projection_expression, consistent_read } = of_table;
            keys.into_iter().map(move |key| Action {
                table_name: table_name.clone(),
                key,
                projection_expression: projection_expression.clone(),
                consistent_read,
                kind: "Get",
                ..Action::default()
            })
        };
        self.request_items.into_iter().flat_map(actions).collect()
    }
}

impl Call {
    /// Reads a call from the header `x-amz-target` and the body.
    ///
    /// # Errors
    /// A call that the simulated service does not know.
    pub fn parse(target: &str, body: &[u8]) -> Result<Self, String> {
        let operation = target.strip_prefix("DynamoDB_20120810.").unwrap_or(target);
        let failed = |error: serde_json::Error| format!("{operation}: {error}");
        let action = |kind| {
            let mut action: Action = serde_json::from_slice(body).map_err(failed)?;
            action.kind = kind;
            Ok(action)
        };
        match operation {
            "GetItem" => action("Get").map(Self::Get),
            "BatchGetItem" => {
                serde_json::from_slice(body).map_err(failed).map(|batch: Batch| Self::Batch(batch.actions()))
            }
            "TransactGetItems" => {
                let transaction: TransactGet = serde_json::from_slice(body).map_err(failed)?;
                let of = |item: OneGet| Action { kind: "Get", ..item.get };
                Ok(Self::TransactGet(transaction.transact_items.into_iter().map(of).collect()))
            }
            "Scan" => serde_json::from_slice(body).map_err(failed).map(Self::Scan),
            "PutItem" => action("Put").map(Self::Write),
            "UpdateItem" => action("Update").map(Self::Write),
            "DeleteItem" => action("Delete").map(Self::Write),
            "TransactWriteItems" => {
                let transaction: Transaction = serde_json::from_slice(body).map_err(failed)?;
                let mut actions = Vec::new();
                for (kind, mut action) in transaction.transact_items.into_iter().flatten() {
                    action.kind = ["Update", "Put", "Delete", "ConditionCheck"]
                        .into_iter()
                        .find(|known| *known == kind)
                        .ok_or_else(|| format!("unknown action {kind}"))?;
                    actions.push(action);
                }
                Ok(Self::Transaction(transaction.client_request_token, actions))
            }
            other => Err(format!("the simulated service does not know {other}")),
        }
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Get(action) | Self::Write(action) => action.fmt(f),
            Self::Batch(actions) | Self::TransactGet(actions) => {
                write!(f, "{}", if matches!(self, Self::Batch(_)) { "Batch" } else { "TransactGet" })?;
                actions.iter().try_for_each(|action| write!(f, " + {action}"))
            }
            Self::Scan(scan) => {
                write!(f, "Scan {} part {} of {}", scan.table_name, scan.segment, scan.total_segments)?;
                let after = scan.exclusive_start_key.as_ref().and_then(|key| key.get("pk")).and_then(Value::text);
                after.map_or(Ok(()), |pk| write!(f, " after {pk}"))
            }
            Self::Transaction(token, actions) => {
                write!(f, "Transact {}", token.as_deref().map_or("without token", short))?;
                actions.iter().try_for_each(|action| write!(f, " + {action}"))
            }
        }
    }
}

/// The first 8 characters of a token, enough to tell tokens apart in a timeline.
pub fn short(token: &str) -> &str {
    token.get(..8).unwrap_or(token)
}

/// A reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: String,
    /// What the trace shows.
    pub summary: String,
}

/// Why an item stopped a transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "DynamoDB's names")]
pub struct Reason {
    pub code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub item: Option<Item>,
}

impl Reason {
    /// The item passed.
    pub const PASSED: Self = Self { code: "None", item: None };
    /// Another transaction held the item.
    pub const CONFLICT: Self = Self { code: "TransactionConflict", item: None };
}

impl Reply {
    /// 200 with this JSON.
    pub fn ok(body: &serde_json::Value, summary: impl Into<String>) -> Self {
        Self { status: 200, body: body.to_string(), summary: summary.into() }
    }

    /// An error of DynamoDB.
    pub fn error(status: u16, code: &str, extra: serde_json::Value) -> Self {
        let mut body = extra;
        if let Some(members) = body.as_object_mut() {
            members.insert("__type".to_owned(), format!("com.amazonaws.dynamodb.v20120810#{code}").into());
            members.insert("message".to_owned(), "simulated".into());
        }
        Self { status, body: body.to_string(), summary: format!("{status} {code}") }
    }

    /// A cancelled transaction.
    pub fn cancelled(reasons: &[Reason]) -> Self {
        let mut reply = Self::error(400, "TransactionCanceledException", json!({ "CancellationReasons": reasons }));
        let codes: Vec<_> = reasons.iter().map(|reason| reason.code).collect();
        reply.summary = format!("cancelled [{}]", codes.join(", "));
        reply
    }
}
