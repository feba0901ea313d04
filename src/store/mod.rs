//! One DynamoDB table: its items, the transactions over them, and what their failures mean.
//!
//! A limit is a counter that stands in the same item as what it counts, and both change in one update expression, so
//! that they cannot drift apart. Two limits are two items, moved together by one transaction: the customer's record
//! counts its numbers, the number's item counts its customers.

pub mod cancellation;
pub mod client;
mod failure;
pub mod items;
mod operations;
mod retry;
mod transaction;

pub(crate) use failure::plain;
pub use operations::{AddPhone, Added, CustomerRecord, KeyRecord, RemovePhone};
pub use retry::{CallStats, Deadline};

use aws_sdk_dynamodb::Client;

/// The table, and the client that reaches it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    client: Client,
    table: String,
}

impl Store {
    /// The client must not retry by itself: attempts are counted here (see [`Deadline`]).
    pub fn new(client: Client, table: String) -> Self {
        Self { client, table }
    }
}
