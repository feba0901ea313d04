//! The simulated DynamoDB: its items, the transactions in flight over them, and the client tokens that it remembers.
//!
//! AWS publishes neither which of two transactions that meet is refused, nor how long a transaction holds its items, nor
//! whether a cancelled transaction keeps its token. A plan chooses a reading of each: see [`Reading`].

pub mod expression;
pub mod message;
pub mod table;
mod transaction;
pub mod value;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::json;

use message::{Action, Call, ItemKey, Reply};
use table::Tables;
pub use transaction::transact;

use crate::network::Origin;
use crate::runner::Simulation;

/// How the service behaves where AWS is silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    /// If two transactions meet, both are refused. Otherwise only the later one is.
    pub refuses_both: bool,
    /// A cancelled transaction keeps its token, so that a repeat is cancelled again.
    pub remembers_cancelled: bool,
    /// The shortest and the longest time for which a transaction holds its items, in milliseconds.
    pub holds: (u64, u64),
}

/// What became of the transaction that has a token.
#[derive(Debug, Clone)]
enum TokenState {
    Running,
    Ended { reply: Reply, at: u64 },
}

/// DynamoDB remembers a token for ten minutes.
const TOKEN_LIFETIME: u64 = 10 * 60 * 1000;

/// The service's state.
#[derive(Debug, Default)]
pub struct Service {
    /// The data.
    pub tables: Tables,
    tokens: BTreeMap<String, (Vec<Action>, TokenState)>,
    /// Which transaction holds an item.
    holders: BTreeMap<ItemKey, u64>,
    /// Transactions that another one has refused while they held an item, and the item's place.
    broken: BTreeMap<u64, usize>,
    transactions: u64,
}

impl Service {
    fn is_held(&self, key: &ItemKey) -> bool {
        self.holders.contains_key(key)
    }
}

/// Carries out a call that arrived.
pub async fn handle(sim: &Simulation, origin: Origin, call: Call) -> Reply {
    match call {
        Call::Transaction(token, actions) => transact(sim, origin, token, actions).await,
        Call::Get(action) => {
            let service = sim.service();
            let item = service.tables.get(&action.item_key());
            let names = &action.expression_attribute_names;
            let attributes = expression::Attributes { names, values: &action.expression_attribute_values };
            let shown = match (item, &action.projection_expression) {
                (Some(item), Some(projection)) => match expression::project(projection, item, attributes) {
                    Ok(item) => Some(item),
                    Err(error) => return Reply::error(400, "ValidationException", json!({ "reason": error.0 })),
                },
                (item, _) => item.cloned(),
            };
            match shown {
                None => Reply::ok(&json!({}), "no item"),
                Some(item) => Reply::ok(&json!({ "Item": item }), "an item"),
            }
        }
        Call::Write(action) => write(sim, &action),
    }
}

/// A put, an update or a deletion of one item.
fn write(sim: &Simulation, action: &Action) -> Reply {
    let mut service = sim.service();
    let key = action.item_key();
    if service.is_held(&key) {
        return Reply::error(400, "TransactionConflictException", json!({}));
    }
    match service.tables.prepare(action) {
        Err(reason) if reason.code == "ConditionalCheckFailed" => {
            Reply::error(400, "ConditionalCheckFailedException", json!({ "Item": reason.item }))
        }
        Err(_) => Reply::error(400, "ValidationException", json!({})),
        Ok(new) => {
            let attributes = action.return_values.as_deref().filter(|values| *values == "ALL_NEW").and(new.clone());
            service.tables.set(key.clone(), new);
            drop(service);
            sim.written(&key);
            match attributes {
                Some(attributes) => Reply::ok(&json!({ "Attributes": attributes }), "written"),
                None => Reply::ok(&json!({}), "written"),
            }
        }
    }
}
