//! Any bytes that are JSON, as the event of an invocation: answered with the contract's JSON and no 5xx, or refused as
//! no HTTP. The table behind it knows every key, and takes every write.

#![no_main]

use std::sync::LazyLock;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::{BehaviorVersion, Config, Credentials, Region};
use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_types::body::SdkBody;
use cdm_lambda::function::Function;
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
        let answer = match request.headers().get("x-amz-target") {
            Some("DynamoDB_20120810.GetItem") if is_for_a_key(&request) => {
                r#"{"Item":{"client_id":{"S":"demo-clinic"}}}"#
            }
            _ => "{}",
        };
        HttpConnectorFuture::ready(Ok(HttpResponse::new(200.try_into().unwrap(), SdkBody::from(answer))))
    }
}

fn is_for_a_key(request: &HttpRequest) -> bool {
    let body: Value = serde_json::from_slice(request.body().bytes().unwrap()).unwrap();
    body["Key"]["sk"]["S"] == "KEY"
}

struct Target {
    runtime: Runtime,
    function: Function,
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
    let store = Store::new(Client::from_conf(config), "phones".to_owned());
    Target {
        runtime: Builder::new_current_thread().enable_time().build().unwrap(),
        function: Function::new(store, Duration::from_secs(60)),
    }
});

fuzz_target!(|bytes: &[u8]| {
    let Ok(event) = serde_json::from_slice::<Box<RawValue>>(bytes) else { return };
    let mut context = Context::default();
    context.deadline = UnixMillis::now().millis() + 15_000;
    let handled = TARGET.runtime.block_on(TARGET.function.handle(LambdaEvent::new(event, context)));
    let Ok(answer) = handled else { return };
    let body: Value = serde_json::from_str(&answer.body).unwrap();
    assert!(body["message"].is_string());
    assert_eq!(body["code"].is_string(), answer.status_code != 200);
    assert!(answer.status_code < 500, "{body}");
});
