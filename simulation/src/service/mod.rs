//! The simulated DynamoDB: its items, the transactions in flight over them, and the client tokens that it remembers.
//!
//! AWS publishes neither which of two transactions that meet is refused, nor how long a transaction holds its items, nor
//! whether a cancelled transaction keeps its token. A plan chooses one of each: see `plan::ServiceBehavior`.

pub mod expression;
pub mod message;
pub mod origin;
pub mod table;
pub mod value;

use std::collections::BTreeMap;

use message::{Action, ItemKey, Reply};
use table::Tables;

/// What became of the transaction that has a token.
#[derive(Debug, Clone)]
pub(crate) enum TokenState {
    Running,
    Ended { reply: Reply, at: u64 },
}

/// DynamoDB remembers a token for ten minutes.
pub(crate) const TOKEN_LIFETIME: u64 = 10 * 60 * 1000;

/// The service's state.
#[derive(Debug, Default)]
pub struct Service {
    /// The data.
    pub tables: Tables,
    pub(crate) tokens: BTreeMap<String, (Vec<Action>, TokenState)>,
    /// Which transaction holds an item.
    pub(crate) holders: BTreeMap<ItemKey, u64>,
    /// Transactions that another one has refused while they held an item, and the item.
    pub(crate) broken: BTreeMap<u64, ItemKey>,
    pub(crate) transactions: u64,
}

impl Service {
    pub(crate) fn is_held(&self, key: &ItemKey) -> bool {
        self.holders.contains_key(key)
    }
}
