//! A database of a test's own: embedded, or a corner of a DynamoDB Local that is running somewhere.
//!
//! `DYNAMODB_LOCAL` names its URL. Started without `-sharedDb`, it keeps a database for each access key, so that each
//! test has one to itself there too. `scripts/dynamodb-local` runs the tests so.

#![allow(dead_code, reason = "each test binary uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test stops at its first surprise")]

use std::net::SocketAddr;

use aws_sdk_dynamodb::config::{Credentials, SharedCredentialsProvider};
use cdm::embedded::{Embedded, REGION};
use cdm_lambda::config::Endpoint;

/// It ends with its test.
pub(crate) struct Database {
    url: String,
    access_key: String,
    _embedded: Option<Embedded>,
}

impl Database {
    pub(crate) async fn start() -> Self {
        let access_key: String = (0..20).map(|_| fastrand::uppercase()).collect();
        if let Ok(url) = std::env::var("DYNAMODB_LOCAL") {
            Self { url, access_key, _embedded: None }
        } else {
            let embedded = Embedded::in_memory().await.unwrap();
            Self { url: embedded.endpoint().url.unwrap(), access_key, _embedded: Some(embedded) }
        }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn endpoint(&self) -> Endpoint {
        Endpoint {
            region: REGION.to_owned(),
            url: Some(self.url.clone()),
            ca_bundle: None,
            use_fips: false,
            use_dual_stack: false,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.url.trim_start_matches("http://").trim_end_matches('/').parse().unwrap()
    }

    pub(crate) fn access_key(&self) -> &str {
        &self.access_key
    }

    pub(crate) fn credentials(&self) -> SharedCredentialsProvider {
        SharedCredentialsProvider::new(Credentials::new(&self.access_key, "local", None, None, "local"))
    }
}
