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

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodb::config::BehaviorVersion;

    use super::*;
    use crate::time::UnixMillis;

    #[derive(Debug)]
    struct Fixed;

    impl Sources for Fixed {
        fn now(&self) -> UnixMillis {
            UnixMillis::now()
        }

        fn token(&self) -> Option<u128> {
            Some(7)
        }

        fn fraction(&self) -> f64 {
            0.0
        }
    }

    #[test]
    fn a_store_uses_the_sources_that_it_is_given() {
        let config = aws_sdk_dynamodb::Config::builder().behavior_version(BehaviorVersion::latest()).build();
        let store = Store::new(Client::from_conf(config), "a-table".to_owned(), Limits::CONTRACT);
        assert_ne!(store.sources().token(), Some(7));
        assert_eq!(store.with_sources(Arc::new(Fixed)).sources().token(), Some(7));
    }
}
