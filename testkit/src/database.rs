//! A DynamoDB for one test: embedded, or DynamoDB Local if `DYNAMODB_LOCAL` holds its URL.
//!
//! DynamoDB Local, started without `-sharedDb`, keeps one database per access key. Each test uses an access key of its
//! own, so no two tests share a table.

#![expect(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a test stops at its first surprise")]

use std::net::SocketAddr;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{Credentials, SharedCredentialsProvider};
use cdm_lambda::config::Endpoint;
use cdm_lambda::store::client::DynamoDb;

use crate::embedded::{Embedded, REGION};

/// A running database.
pub struct Database {
    url: String,
    access_key: String,
    _embedded: Option<Embedded>,
}

impl Database {
    /// Starts the embedded database, or connects to DynamoDB Local.
    pub async fn start() -> Self {
        let access_key: String = (0..20).map(|_| fastrand::uppercase()).collect();
        if let Ok(url) = std::env::var("DYNAMODB_LOCAL") {
            Self { url, access_key, _embedded: None }
        } else {
            let embedded = Embedded::in_memory().await.unwrap();
            Self { url: embedded.endpoint().url.unwrap(), access_key, _embedded: Some(embedded) }
        }
    }

    /// A client of this database, configured as the function's.
    pub async fn client(&self) -> Client {
        DynamoDb::new(&self.endpoint(), self.credentials()).await.unwrap().client
    }

    /// The value for `AWS_ENDPOINT_URL_DYNAMODB`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The endpoint for a client of this database.
    pub fn endpoint(&self) -> Endpoint {
        Endpoint {
            region: REGION.to_owned(),
            url: Some(self.url.clone()),
            ca_bundle: None,
            use_fips: false,
            use_dual_stack: false,
        }
    }

    /// The address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.url.trim_start_matches("http://").trim_end_matches('/').parse().unwrap()
    }

    /// The value for `AWS_ACCESS_KEY_ID`. The secret key can be any.
    pub fn access_key(&self) -> &str {
        &self.access_key
    }

    /// The credentials for a client of this database.
    pub fn credentials(&self) -> SharedCredentialsProvider {
        SharedCredentialsProvider::new(Credentials::new(&self.access_key, "local", None, None, "local"))
    }
}
