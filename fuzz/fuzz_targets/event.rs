//! Any JSON as an event. The function responds with the contract's JSON and no 5xx, or refuses the event because it is not
//! an HTTP request. It must respond to every event whose members have the types that gateways use. The table has every API
//! key and accepts every write.

#![no_main]

use std::sync::LazyLock;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::{BehaviorVersion, Config, Credentials, Region};
use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_types::body::SdkBody;
use cdm_lambda::domain::Limits;
use cdm_lambda::handler::Handler;
use cdm_lambda::store::Store;
use cdm_lambda::time::UnixMillis;
use lambda_http::Context;
use lambda_http::lambda_runtime::LambdaEvent;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::runtime::{Builder, Runtime};

#[derive(Debug)]
struct Table;

impl HttpConnector for Table {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let response = match request.headers().get("x-amz-target") {
            Some("DynamoDB_20120810.GetItem") if is_for_a_key(&request) => {
                r#"{"Item":{"client_id":{"S":"demo-clinic"}}}"#
            }
            _ => "{}",
        };
        HttpConnectorFuture::ready(Ok(HttpResponse::new(200.try_into().unwrap(), SdkBody::from(response))))
    }
}

fn is_for_a_key(request: &HttpRequest) -> bool {
    let body: Value = serde_json::from_slice(request.body().bytes().unwrap()).unwrap();
    body["Key"]["sk"]["S"] == "KEY"
}

struct Target {
    runtime: Runtime,
    handler: Handler,
}

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let table = SharedHttpConnector::new(Table);
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("fuzz", "fuzz", None, None, "fuzz"))
        .http_client(http_client_fn(move |_, _| table.clone()))
        .retry_config(RetryConfig::disabled())
        .build();
    let store = Store::new(Client::from_conf(config), "phones".to_owned(), Limits::CONTRACT);
    Target {
        runtime: Builder::new_current_thread().enable_time().build().unwrap(),
        handler: Handler::new(store, Duration::from_secs(60)),
    }
});

/// Whether every member that the function reads has the type that gateways give it. This reads the JSON independently of
/// the function.
fn has_gateway_types(event: &Value) -> bool {
    let text = |value: &Value| value.is_string();
    let text_or_none = |value: &Value| value.is_string() || value.is_null();
    let texts = |value: &Value| value.is_null() || value.as_object().is_some_and(|map| map.values().all(text));
    let lists = |value: &Value| {
        let is_list = |value: &Value| value.as_array().is_some_and(|list| list.iter().all(text));
        value.is_null() || value.as_object().is_some_and(|map| map.values().all(is_list))
    };
    let context = &event["requestContext"];
    let http_api = text(&context["http"]["method"]) && text(&event["rawPath"]);
    let rest_api = context["http"].is_null() && text(&event["httpMethod"]) && text(&event["path"]);
    let either = ["body", "httpMethod", "path", "resource", "rawPath", "rawQueryString", "routeKey"];
    (http_api || rest_api)
        && context.is_object()
        && text_or_none(&context["requestId"])
        && text_or_none(&context["domainName"])
        && either.iter().all(|name| text_or_none(&event[name]))
        && texts(&event["headers"])
        && lists(&event["multiValueHeaders"])
        && texts(&event["pathParameters"])
        && (event["isBase64Encoded"].is_boolean() || event["isBase64Encoded"].is_null())
}

fuzz_target!(|bytes: &[u8]| {
    let Ok(event) = serde_json::from_slice::<Box<RawValue>>(bytes) else { return };
    // Serializing it again removes duplicate members, which no gateway sends.
    let typed = serde_json::from_slice(bytes).ok().filter(has_gateway_types);
    let event = typed.as_ref().map_or(event, |typed: &Value| serde_json::value::to_raw_value(typed).unwrap());
    let mut context = Context::default();
    context.deadline = UnixMillis::now().millis() + 15_000;
    let result = TARGET.runtime.block_on(TARGET.handler.handle(LambdaEvent::new(event, context)));
    let Ok(response) = result else {
        assert!(typed.is_none(), "the function must respond to an event with a gateway's types");
        return;
    };
    let body: Value = serde_json::from_str(&response.body).unwrap();
    let is_success = (200..300).contains(&response.status_code);
    assert_eq!(body["code"].is_string(), !is_success);
    // The responses with data have no message: a customer's record, a phone number, a consent.
    let has_data = body["notification_channels"].is_array() || body["ccids"].is_array() || body["consent"].is_object();
    assert!(body["message"].is_string() || (is_success && has_data), "{body}");
    assert!(response.status_code < 500, "{body}");
});
