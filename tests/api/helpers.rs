//! An app of its own for each test: a DynamoDB with the demo data, and the handler over it.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{BehaviorVersion, Region, SharedCredentialsProvider, SharedHttpClient};
use aws_sdk_dynamodb::types::AttributeValue;
use aws_smithy_runtime_api::client::http::http_client_fn;
use cdm_lambda::config::Endpoint;
use cdm_lambda::domain::Limits;
use cdm_lambda::handler::Handler;
use cdm_lambda::http::event::NotAnHttpEvent;
use cdm_lambda::store::Store;
use cdm_lambda::store::items::Item;
use cdm_lambda::time::UnixMillis;
use lambda_http::lambda_runtime::{Context, LambdaEvent};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value, json};
pub(crate) use testkit::TIMEOUT;
use testkit::demo;
use testkit::embedded::REGION;

use crate::fault_connector::{FaultConnector, Faults};
use crate::log;
use testkit::database::Database;

/// X-Ray's id of every invocation.
pub(crate) const TRACE_ID: &str = "1-5759e988-bd862e3fe1be46a994272793";

/// A handler, its database, and the faults between them.
pub(crate) struct TestApp {
    pub(crate) handler: Handler,
    pub(crate) faults: Arc<Faults>,
    /// Past the faults.
    pub(crate) database: Client,
    table: Database,
}

impl TestApp {
    /// The demo data, and a key cache of a minute.
    pub(crate) async fn new() -> Self {
        Self::with_key_cache(Duration::from_secs(60)).await
    }

    pub(crate) async fn with_key_cache(key_cache: Duration) -> Self {
        log::capture();
        let table = Database::start().await;
        let faults = Arc::new(Faults::default());
        let database = client(&table, &Arc::default());
        demo::create(&database, demo::TABLE).await.unwrap();
        let store = Store::new(client(&table, &faults), demo::TABLE.to_owned(), Limits::CONTRACT);
        Self { handler: Handler::new(store, key_cache), faults, database, table }
    }

    /// Where the database is.
    pub(crate) fn endpoint(&self) -> Endpoint {
        self.table.endpoint()
    }

    /// What the database takes.
    pub(crate) fn credentials(&self) -> SharedCredentialsProvider {
        self.table.credentials()
    }

    /// Another execution environment over the same database.
    pub(crate) fn another_environment(&self) -> Handler {
        let client = client(&self.table, &Arc::default());
        Handler::new(Store::new(client, demo::TABLE.to_owned(), Limits::CONTRACT), Duration::from_secs(60))
    }

    /// Sends a request as an event of HTTP API.
    pub(crate) async fn send(&self, request: &Request) -> Reply {
        send(&self.handler, request.http_event(), TIMEOUT).await
    }

    /// Sends a request as an event of REST API.
    pub(crate) async fn send_rest(&self, request: &Request) -> Reply {
        send(&self.handler, request.rest_event(), TIMEOUT).await
    }

    /// The item of a customer of the demo client.
    pub(crate) async fn record(&self, ccid: &str) -> Option<Item> {
        self.item(&format!("CLIENT#{}#CUSTOMER#{ccid}", demo::CLIENT), "CUSTOMER").await
    }

    /// The item of a number of the demo client.
    pub(crate) async fn counter(&self, e164: &str) -> Option<Item> {
        self.item(&format!("CLIENT#{}#PHONE#{e164}", demo::CLIENT), "PHONE").await
    }

    pub(crate) async fn item(&self, pk: &str, sk: &str) -> Option<Item> {
        let get = self.database.get_item().table_name(demo::TABLE).consistent_read(true);
        get.key("pk", text(pk)).key("sk", text(sk)).send().await.unwrap().item
    }

    pub(crate) async fn put(&self, item: Item) {
        self.database.put_item().table_name(demo::TABLE).set_item(Some(item)).send().await.unwrap();
    }

    /// Everything in the table, in one order, to be compared before and after.
    pub(crate) async fn everything(&self) -> Vec<String> {
        let scan = self.database.scan().table_name(demo::TABLE).consistent_read(true);
        let items: Vec<Item> = scan.into_paginator().items().send().try_collect().await.unwrap();
        let mut lines: Vec<_> = items.iter().map(|item| stable(&AttributeValue::M(item.clone())).to_string()).collect();
        lines.sort();
        lines
    }

    /// Asserts that every count equals what it counts and no limit is passed, over the whole table.
    pub(crate) async fn assert_consistent(&self) {
        let scan = self.database.scan().table_name(demo::TABLE).consistent_read(true);
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

fn client(table: &Database, faults: &Arc<Faults>) -> Client {
    let endpoint = table.endpoint();
    let connector = FaultConnector::connector(Arc::clone(faults));
    let http: SharedHttpClient = http_client_fn(move |_, _| connector.clone());
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(REGION))
        .endpoint_url(endpoint.url.unwrap())
        .credentials_provider(table.credentials())
        .http_client(http)
        .retry_config(aws_sdk_dynamodb::config::retry::RetryConfig::disabled())
        .build();
    Client::from_conf(config)
}

/// A string of DynamoDB's.
pub(crate) fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

/// A count of DynamoDB's.
pub(crate) fn number(value: &AttributeValue) -> usize {
    value.as_n().unwrap().parse().unwrap()
}

/// An attribute as JSON that compares: maps and sets in order.
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

/// A caller's request, before a gateway has made an event of it.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    method: &'static str,
    base: String,
    template: &'static str,
    parameters: Vec<(&'static str, String)>,
    headers: Vec<(String, String)>,
    body: Option<String>,
}

const ADD: &str = "/cdm/client/{client_id}/customer/{ccid}/add_phone/{phone_number}";
const REMOVE: &str = "/cdm/client/{client_id}/customer/{ccid}/remove_phone/{phone_number}";
const CUSTOMER: &str = "/cdm/client/{client_id}/customer/{ccid}";

/// An add by the demo client.
pub(crate) fn add(ccid: &str, phone_number: &str) -> Request {
    let mut request = customer(ccid);
    request.parameters.push(("phone_number", phone_number.to_owned()));
    Request { method: "PUT", template: ADD, ..request }
}

/// A removal by the demo client.
pub(crate) fn remove(ccid: &str, phone_number: &str) -> Request {
    Request { template: REMOVE, ..add(ccid, phone_number) }
}

/// A retrieval by the demo client.
pub(crate) fn customer(ccid: &str) -> Request {
    Request {
        method: "GET",
        base: String::new(),
        template: CUSTOMER,
        parameters: vec![("client_id", demo::CLIENT.to_owned()), ("ccid", ccid.to_owned())],
        headers: vec![("x-relay-api-key".to_owned(), demo::KEY.to_owned())],
        body: None,
    }
}

impl Request {
    pub(crate) fn client(mut self, client_id: &str) -> Self {
        client_id.clone_into(&mut self.parameters[0].1);
        self
    }

    pub(crate) fn method(self, method: &'static str) -> Self {
        Self { method, ..self }
    }

    /// A stage or a base path before the route.
    pub(crate) fn base(self, base: &str) -> Self {
        Self { base: base.to_owned(), ..self }
    }

    pub(crate) fn key(self, key: &str) -> Self {
        self.no_key().header("x-relay-api-key", key)
    }

    pub(crate) fn no_key(mut self) -> Self {
        self.headers.retain(|(name, _)| name != "x-relay-api-key");
        self
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn body(self, body: impl Into<Body>) -> Self {
        Self { body: Some(body.into().0), ..self }
    }

    fn path(&self, encode: impl Fn(&str) -> String) -> String {
        let mut path = format!("{}{}", self.base, self.template);
        for (name, value) in &self.parameters {
            path = path.replace(&format!("{{{name}}}"), &encode(value));
        }
        path
    }

    fn headers(&self) -> Map<String, Value> {
        self.headers.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect()
    }

    /// As HTTP API sends it: everything decoded, names in lower case.
    pub(crate) fn http_event(&self) -> Value {
        log::sent(self.secrets());
        let path = self.path(str::to_owned);
        let headers: Map<_, _> = self.headers().into_iter().map(|(name, value)| (name.to_lowercase(), value)).collect();
        let parameters: Map<_, _> =
            self.parameters.iter().map(|(name, value)| ((*name).to_owned(), value.as_str().into())).collect();
        json!({
            "version": "2.0",
            "routeKey": format!("ANY {}", self.template),
            "rawPath": path.split('?').next(),
            "rawQueryString": "",
            "headers": headers,
            "pathParameters": parameters,
            "requestContext": {
                "requestId": "gateway-request",
                "http": { "method": self.method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1" },
                "stage": "$default",
            },
            "body": self.body,
            "isBase64Encoded": false,
        })
    }

    /// As REST API sends it: everything still encoded, names as they came.
    pub(crate) fn rest_event(&self) -> Value {
        log::sent(self.secrets());
        let path = self.path(encoded);
        let parameters: Map<_, _> =
            self.parameters.iter().map(|(name, value)| ((*name).to_owned(), encoded(value).into())).collect();
        let multi: Map<_, _> = self.headers().into_iter().map(|(name, value)| (name, json!([value]))).collect();
        json!({
            "resource": self.template,
            "path": path,
            "httpMethod": self.method,
            "headers": self.headers(),
            "multiValueHeaders": multi,
            "pathParameters": parameters,
            "requestContext": { "requestId": "gateway-request", "stage": "prod", "httpMethod": self.method },
            "body": self.body,
            "isBase64Encoded": false,
        })
    }

    /// What must never be in a log.
    fn secrets(&self) -> Vec<String> {
        let parameters =
            self.parameters.iter().filter(|(name, _)| *name != "client_id").map(|(_, value)| value.clone());
        let headers = self.headers.iter().map(|(_, value)| value.clone());
        parameters.chain(headers).chain(self.body.clone()).collect()
    }
}

/// Every byte that is not unreserved becomes an escape.
pub(crate) fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

/// A body's text, or the JSON that it is to be.
pub(crate) struct Body(String);

impl From<Value> for Body {
    fn from(json: Value) -> Self {
        Self(json.to_string())
    }
}

impl From<&Value> for Body {
    fn from(json: &Value) -> Self {
        Self(json.to_string())
    }
}

impl From<&str> for Body {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Self(text)
    }
}

/// What the handler answered.
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

    /// Status and code, as the contract's table has them.
    pub(crate) fn row(&self) -> (u16, Option<&str>) {
        (self.status, self.code())
    }

    pub(crate) fn message(&self) -> &str {
        self.body["message"].as_str().unwrap_or_default()
    }

    /// The fields of a 400, in order.
    pub(crate) fn fields(&self) -> Vec<&str> {
        self.body["errors"].as_array().into_iter().flatten().map(|error| error["field"].as_str().unwrap()).collect()
    }
}

/// Sends an event with this much time before the invocation's deadline.
pub(crate) async fn send(handler: &Handler, event: Value, time: Duration) -> Reply {
    invoke(handler, to_raw_value(&event).unwrap(), time).await.expect("an HTTP event is answered")
}

pub(crate) async fn invoke(handler: &Handler, event: Box<RawValue>, time: Duration) -> Result<Reply, NotAnHttpEvent> {
    let mut context = Context::default();
    "lambda-request".clone_into(&mut context.request_id);
    context.xray_trace_id = Some(format!("Root={TRACE_ID};Parent=53995c3f42cd8ad8;Sampled=1"));
    context.deadline = UnixMillis::now().millis() + u64::try_from(time.as_millis()).unwrap();
    let answer = handler.handle(LambdaEvent::new(event, context)).await?;
    let answer: Value = serde_json::from_str(&serde_json::to_string(&answer).unwrap()).unwrap();
    assert_eq!(answer["headers"]["content-type"], "application/json; charset=utf-8");
    assert_eq!(answer["headers"]["cache-control"], "no-store", "it is health data");
    assert_eq!(answer["isBase64Encoded"], false);
    log::assert_private();
    Ok(Reply {
        status: answer["statusCode"].as_u64().unwrap().try_into().unwrap(),
        headers: answer["headers"].clone(),
        body: serde_json::from_str(answer["body"].as_str().unwrap()).unwrap(),
    })
}
