//! One DynamoDB table: its items, the transactions over them, and what their failures mean. This layer does not know HTTP.
//!
//! A limit is a counter in the same item as what it counts. One update expression changes both, so they cannot drift
//! apart. Two limits need two items, which one transaction changes together: the customer's record counts its numbers,
//! and the number's item counts its customers.

pub mod cancellation;
pub mod client;
mod context;
mod error;
mod failure;
pub mod items;
mod operations;
mod read;
mod retry;
pub mod schema;
pub mod stored_consent;
pub mod throttling;
mod transaction;

pub use context::{CallContext, CallStats, Deadline};
pub use error::{Cause, FailureDetail, StoreError};
pub(crate) use failure::plain;
pub use operations::{KeyRecord, read_customer, read_phone};

use std::sync::Arc;

use aws_sdk_dynamodb::Client;

use crate::domain::Limits;
use crate::sources::{Machine, Sources};

/// The table, and the client that reaches it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    client: Client,
    table: String,
    limits: Limits,
    sources: Arc<dyn Sources>,
}

impl Store {
    /// The client must not retry by itself, because the store decides about retries: see [`client::DynamoDb`].
    pub fn new(client: Client, table: String, limits: Limits) -> Self {
        Self { client, table, limits, sources: Arc::new(Machine) }
    }

    /// The same store with another clock and other random numbers.
    pub fn with_sources(self, sources: Arc<dyn Sources>) -> Self {
        Self { sources, ..self }
    }

    /// The clock and the random numbers of its requests.
    pub fn sources(&self) -> &dyn Sources {
        &*self.sources
    }

    /// The limits that the store enforces.
    pub fn limits(&self) -> Limits {
        self.limits
    }
}
