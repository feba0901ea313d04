//! [`TestApp`], one per test, and the requests that tests send to it.

pub(crate) mod fault_connector;
pub(crate) mod log;
mod request;

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::http::HttpRequest;
use aws_sdk_dynamodb::config::{BehaviorVersion, Region, SharedCredentialsProvider, SharedHttpClient};
use aws_sdk_dynamodb::types::AttributeValue;
use aws_smithy_http_client::Connector;
use aws_smithy_runtime_api::client::http::{HttpConnector as _, SharedHttpConnector, http_client_fn};
use aws_smithy_types::body::SdkBody;
use cdm_lambda::config::Endpoint;
use cdm_lambda::domain::Limits;
use cdm_lambda::handler::Handler;
use cdm_lambda::http::event::NotAnHttpEvent;
use cdm_lambda::store::Store;
use cdm_lambda::store::items::Item;
use cdm_lambda::time::UnixMillis;
use futures_util::future::{Either, select};
use http_body_util::BodyExt as _;
use lambda_http::lambda_runtime::{Context, LambdaEvent};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};
pub(crate) use testkit::TIMEOUT;
use testkit::database::Database;
use testkit::demo;
use testkit::embedded::REGION;

use crate::helpers::fault_connector::{Call, Fault, FaultConnector, Faults, Gate};

pub(crate) use request::{Request, add, consent, create, customer, delete, encoded, phone, remove};

/// The X-Ray trace id of every invocation.
pub(crate) const TRACE_ID: &str = "1-5759e988-bd862e3fe1be46a994272793";

/// A handler, its database with the demo data, and the faults between them.
pub(crate) struct TestApp {
    pub(crate) handler: Handler,
    pub(crate) faults: Arc<Faults>,
    /// A client without faults.
    pub(crate) client: Client,
    database: Database,
}

impl TestApp {
    /// With a key cache of one minute.
    pub(crate) async fn new() -> Self {
        Self::with_key_cache(Duration::from_secs(60)).await
    }

    pub(crate) async fn with_key_cache(key_cache: Duration) -> Self {
        log::capture();
        let database = Database::start().await;
        let faults = Arc::new(Faults::default());
        let client = faulty_client(&database, &Arc::default());
        demo::create(&client, demo::TABLE).await.unwrap();
        let store = Store::new(faulty_client(&database, &faults), demo::TABLE.to_owned(), Limits::CONTRACT);
        Self { handler: Handler::new(store, key_cache), faults, client, database }
    }

    pub(crate) fn endpoint(&self) -> Endpoint {
        self.database.endpoint()
    }

    pub(crate) fn credentials(&self) -> SharedCredentialsProvider {
        self.database.credentials()
    }

    /// The handler of another execution environment with the same table.
    pub(crate) fn another_environment(&self) -> Handler {
        let client = faulty_client(&self.database, &Arc::default());
        Handler::new(Store::new(client, demo::TABLE.to_owned(), Limits::CONTRACT), Duration::from_secs(60))
    }

    /// Sends a request as an HTTP API event.
    pub(crate) async fn send(&self, request: &Request) -> Reply {
        send(&self.handler, request.http_event(), TIMEOUT).await
    }

    /// Sends a request as a REST API event.
    pub(crate) async fn send_rest(&self, request: &Request) -> Reply {
        send(&self.handler, request.rest_event(), TIMEOUT).await
    }

    /// The record of a customer of the demo client.
    pub(crate) async fn record(&self, ccid: &str) -> Option<Item> {
        self.item(&format!("CLIENT#{}#CUSTOMER#{ccid}", demo::CLIENT), "CUSTOMER").await
    }

    /// The counter of a number of the demo client.
    pub(crate) async fn counter(&self, e164: &str) -> Option<Item> {
        self.item(&format!("CLIENT#{}#PHONE#{e164}", demo::CLIENT), "PHONE").await
    }

    pub(crate) async fn item(&self, pk: &str, sk: &str) -> Option<Item> {
        let get = self.client.get_item().table_name(demo::TABLE).consistent_read(true);
        get.key("pk", text(pk)).key("sk", text(sk)).send().await.unwrap().item
    }

    pub(crate) async fn put(&self, item: Item) {
        self.client.put_item().table_name(demo::TABLE).set_item(Some(item)).send().await.unwrap();
    }

    /// Delivers a call that was lost, as it was sent, and returns DynamoDB's response.
    pub(crate) async fn deliver(&self, call: &Call) -> Value {
        let connector = SharedHttpConnector::new(Connector::builder().build_http());
        let mut request = HttpRequest::new(SdkBody::from(call.request.to_string()));
        request.set_uri(self.database.endpoint().url.unwrap()).unwrap();
        request.set_method("POST").unwrap();
        for (name, value) in &call.headers {
            request.headers_mut().insert(name.clone(), value.clone());
        }
        let response = connector.call(request).await.unwrap();
        serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap()
    }

    /// Sends `request`, whose first writes have `faults`. While its next write waits at a gate, `meanwhile` is sent from
    /// another environment and succeeds.
    pub(crate) async fn raced(&self, faults: Vec<Fault>, request: &Request, meanwhile: &[Request]) -> Reply {
        let gate = Arc::new(Gate::default());
        self.faults.writes(faults);
        self.faults.writes([Fault::Wait(Arc::clone(&gate))]);
        let others = gate.meanwhile(async {
            let handler = self.another_environment();
            for request in meanwhile {
                let status = send(&handler, request.http_event(), TIMEOUT).await.status;
                assert!(status < 300, "{request:?}: {status}");
            }
        });
        match select(Box::pin(self.send(request)), Box::pin(others)).await {
            Either::Left(_) => panic!("{request:?} ended before a write waited at the gate"),
            Either::Right(((), sending)) => sending.await,
        }
    }

    /// All items of the table, sorted, for a comparison.
    pub(crate) async fn everything(&self) -> Vec<String> {
        let scan = self.client.scan().table_name(demo::TABLE).consistent_read(true);
        let items: Vec<Item> = scan.into_paginator().items().send().try_collect().await.unwrap();
        let mut lines: Vec<_> = items.iter().map(|item| stable(&AttributeValue::M(item.clone())).to_string()).collect();
        lines.sort();
        lines
    }

    /// Asserts for the whole table that every count is correct and every limit is kept.
    pub(crate) async fn assert_consistent(&self) {
        let scan = self.client.scan().table_name(demo::TABLE).consistent_read(true);
        let items: Vec<Item> = scan.into_paginator().items().send().try_collect().await.unwrap();
        let mut from_records = Vec::new();
        let mut from_counters = Vec::new();
        for item in &items {
            let pk = item["pk"].as_s().unwrap();
            let (owner, name) = pk.rsplit_once('#').unwrap();
            if let Some(Ok(channels)) = item.get("notification_channels").map(AttributeValue::as_m) {
                assert_eq!(number(&item["phone_count"]), channels.len());
                assert!(channels.len() <= 50);
                let client = owner.strip_suffix("#CUSTOMER").unwrap();
                from_records.extend(channels.keys().map(|e164| (client, e164.as_str(), name)));
            }
            if let Some(count) = item.get("ccid_count") {
                let ccids = item.get("ccids").map_or(&[][..], |ccids| ccids.as_ss().unwrap());
                assert_eq!(number(count), ccids.len());
                assert!(ccids.len() <= 50);
                let client = owner.strip_suffix("#PHONE").unwrap();
                from_counters.extend(ccids.iter().map(|ccid| (client, name, ccid.as_str())));
            }
        }
        from_records.sort_unstable();
        from_counters.sort_unstable();
        assert_eq!(from_records, from_counters);
    }
}

fn faulty_client(database: &Database, faults: &Arc<Faults>) -> Client {
    let endpoint = database.endpoint();
    let connector = FaultConnector::connector(Arc::clone(faults));
    let http: SharedHttpClient = http_client_fn(move |_, _| connector.clone());
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(REGION))
        .endpoint_url(endpoint.url.unwrap())
        .credentials_provider(database.credentials())
        .http_client(http)
        .retry_config(aws_sdk_dynamodb::config::retry::RetryConfig::disabled())
        .build();
    Client::from_conf(config)
}

/// A string attribute.
pub(crate) fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

/// The value of a number attribute.
pub(crate) fn number(value: &AttributeValue) -> usize {
    value.as_n().unwrap().parse().unwrap()
}

/// An attribute as JSON with maps and sets in a fixed order, for a comparison.
fn stable(value: &AttributeValue) -> Value {
    match value {
        AttributeValue::M(map) => {
            let mut names: Vec<_> = map.iter().collect();
            names.sort_by_key(|(name, _)| *name);
            Value::Object(names.into_iter().map(|(name, value)| (name.clone(), stable(value))).collect())
        }
        AttributeValue::Ss(set) => {
            let mut set = set.clone();
            set.sort();
            json!(set)
        }
        other => Value::String(format!("{other:?}")),
    }
}

/// The handler's response.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Value,
    pub(crate) body: Value,
}

impl Reply {
    /// The `code` of an error.
    pub(crate) fn code(&self) -> Option<&str> {
        self.body["code"].as_str()
    }

    /// The status and the code.
    pub(crate) fn row(&self) -> (u16, Option<&str>) {
        (self.status, self.code())
    }

    pub(crate) fn message(&self) -> &str {
        self.body["message"].as_str().unwrap_or_default()
    }

    /// The `field`s of a 400, in order.
    pub(crate) fn fields(&self) -> Vec<&str> {
        self.body["errors"].as_array().into_iter().flatten().map(|error| error["field"].as_str().unwrap()).collect()
    }
}

/// Invokes the handler with a deadline after `time`.
pub(crate) async fn send(handler: &Handler, event: Value, time: Duration) -> Reply {
    invoke(handler, to_raw_value(&event).unwrap(), time).await.expect("the event must be an HTTP request")
}

pub(crate) async fn invoke(handler: &Handler, event: Box<RawValue>, time: Duration) -> Result<Reply, NotAnHttpEvent> {
    let mut context = Context::default();
    "lambda-request".clone_into(&mut context.request_id);
    context.xray_trace_id = Some(format!("Root={TRACE_ID};Parent=53995c3f42cd8ad8;Sampled=1"));
    context.deadline = UnixMillis::now().millis() + u64::try_from(time.as_millis()).unwrap();
    let response = handler.handle(LambdaEvent::new(event, context)).await?;
    let response: Value = serde_json::from_str(&serde_json::to_string(&response).unwrap()).unwrap();
    assert_eq!(response["headers"]["content-type"], "application/json; charset=utf-8");
    assert_eq!(response["headers"]["cache-control"], "no-store", "responses hold health data");
    assert_eq!(response["isBase64Encoded"], false);
    log::assert_private();
    Ok(Reply {
        status: response["statusCode"].as_u64().unwrap().try_into().unwrap(),
        headers: response["headers"].clone(),
        body: serde_json::from_str(response["body"].as_str().unwrap()).unwrap(),
    })
}
