//! Failures before a connection: names that do not resolve, and missing credentials.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Mutex;
use std::time::Duration;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_dynamodb::config::{ProvideCredentials, SharedCredentialsProvider};
use aws_smithy_runtime_api::client::dns::{DnsFuture, ResolveDns, ResolveDnsError, SharedDnsResolver};
use cdm_lambda::domain::Limits;
use cdm_lambda::handler::Handler;
use cdm_lambda::store::Store;
use cdm_lambda::store::client::DynamoDb;
use testkit::demo;

use crate::helpers::log;
use crate::helpers::{Reply, TIMEOUT, TestApp, add, number, send};

/// The result of one look-up of the endpoint's name.
#[derive(Debug, Clone, Copy)]
enum Lookup {
    Found,
    Failed,
    Hangs,
}

/// A name server that follows a script, and then repeats its last entry.
#[derive(Debug)]
struct NameServer(Mutex<VecDeque<Lookup>>);

impl ResolveDns for NameServer {
    fn resolve_dns<'a>(&'a self, _: &'a str) -> DnsFuture<'a> {
        let mut script = self.0.lock().unwrap();
        let lookup = if script.len() > 1 { script.pop_front() } else { script.front().copied() };
        DnsFuture::new(async move {
            match lookup.unwrap() {
                Lookup::Found => Ok(vec![IpAddr::V4(Ipv4Addr::LOCALHOST)]),
                Lookup::Failed => Err(ResolveDnsError::new("no such name")),
                Lookup::Hangs => std::future::pending().await,
            }
        })
    }
}

/// A handler that finds the database by name.
async fn handler(app: &TestApp, credentials: SharedCredentialsProvider, lookups: &[Lookup]) -> Handler {
    let mut endpoint = app.endpoint();
    endpoint.url = endpoint.url.map(|url| url.replace("127.0.0.1", "dynamodb.test"));
    let names = SharedDnsResolver::new(NameServer(Mutex::new(lookups.iter().copied().collect())));
    let dynamodb = DynamoDb::with_resolver(&endpoint, credentials, names).await.unwrap();
    Handler::new(Store::new(dynamodb.client, demo::TABLE.to_owned(), Limits::CONTRACT), Duration::from_secs(60))
}

async fn ask(handler: &Handler, digits: &str, id: &str, time: Duration) -> Reply {
    let mut event = add(demo::CUSTOMER, digits).http_event();
    event["requestContext"]["requestId"] = id.into();
    send(handler, event, time).await
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_try_again() {
    for (id, lookup) in [("a-name-that-fails", Lookup::Failed), ("a-name-that-hangs", Lookup::Hangs)] {
        let app = TestApp::new().await;
        let before = app.everything().await;
        let handler = handler(&app, app.credentials(), &[lookup]).await;
        let reply = ask(&handler, "6105551212", id, Duration::from_secs(3)).await;
        assert_eq!(reply.row(), (500, Some("try_again")), "{lookup:?}");
        assert_eq!(log::lines_with(id)[0]["cause"], "dns", "{lookup:?}");
        assert_eq!(app.everything().await, before);
    }
}

#[tokio::test]
async fn a_name_that_resolves_again_is_used_within_the_request() {
    for lookup in [Lookup::Failed, Lookup::Hangs] {
        let app = TestApp::new().await;
        let handler = handler(&app, app.credentials(), &[lookup, lookup, Lookup::Found]).await;
        assert_eq!(ask(&handler, "6105551212", "a-name-that-is-back", TIMEOUT).await.status, 200, "{lookup:?}");
        assert_eq!(number(&app.record(demo::CUSTOMER).await.unwrap()["phone_count"]), 1);
    }
}

#[tokio::test]
async fn an_open_connection_needs_no_name() {
    for lookup in [Lookup::Failed, Lookup::Hangs] {
        let app = TestApp::new().await;
        let handler = handler(&app, app.credentials(), &[Lookup::Found, lookup]).await;
        for digits in ["6105551212", "6105551213", "6105551214"] {
            assert_eq!(ask(&handler, digits, "an-open-connection", TIMEOUT).await.status, 200, "{lookup:?}");
        }
    }
}

#[tokio::test]
async fn missing_credentials_are_not_reported_as_a_lost_connection() {
    #[derive(Debug)]
    struct NoCredentials;

    impl ProvideCredentials for NoCredentials {
        fn provide_credentials<'a>(&'a self) -> aws_credential_types::provider::future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            let missing = CredentialsError::not_loaded("there are none");
            aws_credential_types::provider::future::ProvideCredentials::ready(Err(missing))
        }
    }

    let app = TestApp::new().await;
    let credentials = SharedCredentialsProvider::new(NoCredentials);
    let handler = handler(&app, credentials, &[Lookup::Found]).await;
    let reply = ask(&handler, "6105551212", "no-credentials", TIMEOUT).await;
    assert_eq!(reply.row(), (500, Some("internal_error")));
    let line = log::lines_with("no-credentials").remove(0);
    assert_eq!(line["cause"], "no_credentials");
    assert_eq!(line["RoundTrips"], 1, "a second attempt would find none either");
}
