//! Tests of the built `bootstrap` under a Lambda Runtime API, with a network connection to a database.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test stops at its first surprise")]

mod trust;

use std::path::Path;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::Value;
use testkit::TIMEOUT;
use testkit::database::Database;
use testkit::demo;
use testkit::runtime_api::{Environment, Invocation};
use tokio::io::AsyncReadExt as _;

const BOOTSTRAP: &str = env!("CARGO_BIN_EXE_bootstrap");

/// A database with the demo data.
struct DemoDatabase {
    database: Database,
    client: Client,
}

impl DemoDatabase {
    async fn start() -> Self {
        let database = Database::start().await;
        let client = database.client().await;
        demo::create(&client, demo::TABLE).await.unwrap();
        Self { database, client }
    }

    async fn environment(&self) -> Environment {
        self.environment_with(&[]).await
    }

    async fn environment_with(&self, variables: &[(&str, &str)]) -> Environment {
        let base = [
            ("TABLE_NAME", demo::TABLE),
            ("AWS_ENDPOINT_URL_DYNAMODB", self.database.url()),
            ("AWS_ACCESS_KEY_ID", self.database.access_key()),
        ];
        Environment::start(BOOTSTRAP, &[&base, variables].concat()).await
    }

    async fn phone_count(&self, ccid: &str) -> String {
        let get = self.client.get_item().table_name(demo::TABLE).consistent_read(true);
        let pk = AttributeValue::S(format!("CLIENT#{}#CUSTOMER#{ccid}", demo::CLIENT));
        let item = get.key("pk", pk).key("sk", AttributeValue::S("CUSTOMER".to_owned())).send().await.unwrap().item;
        item.unwrap()["phone_count"].as_n().unwrap().clone()
    }
}

fn event(file: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("events").join(file);
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// The event of an add of this number.
fn add(digits: &str) -> String {
    let mut event = event("http-200-added.json");
    event["pathParameters"]["phone_number"] = digits.into();
    event.to_string()
}

fn status(invocation: &Invocation) -> u64 {
    match invocation {
        Invocation::Responded(response) => response["statusCode"].as_u64().unwrap(),
        other => panic!("no response: {other:?}"),
    }
}

fn failed(invocation: Invocation) -> (String, String) {
    match invocation {
        Invocation::Failed { kind, message } => (kind, message),
        other => panic!("the invocation did not fail: {other:?}"),
    }
}

/// Asserts that the process's output contains no value of a request.
fn assert_private(output: &str) {
    for value in [demo::KEY, demo::CUSTOMER, "6105551212", "16105551212", "written", "a-secret-body", "raw-secret"] {
        assert!(!output.contains(value), "{value} must not be in the output:\n{output}");
    }
}

#[tokio::test]
async fn it_logs_one_line_per_request() {
    let database = DemoDatabase::start().await;
    let environment = database.environment().await;
    assert_eq!(status(&environment.invoke(add("6105551212"), TIMEOUT).await), 200);
    assert_eq!(status(&environment.invoke(add("16105551212"), TIMEOUT).await), 409);
    assert_eq!(database.phone_count(demo::CUSTOMER).await, "1");
    let output = environment.kill().await;
    let lines: Vec<Value> = output.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2, "{output}");
    assert_eq!(
        (&lines[0]["status"], &lines[0]["ColdStarts"], &lines[0]["RoundTrips"]),
        (&200.into(), &1.into(), &2.into())
    );
    assert_eq!((&lines[1]["code"], &lines[1]["ColdStarts"]), (&"phone_already_added".into(), &0.into()));
    assert_private(&output);
}

#[tokio::test]
async fn no_log_level_shows_values_of_a_request() {
    let database = DemoDatabase::start().await;
    let environment = database.environment_with(&[("LOG_LEVEL", "trace"), ("RUST_LOG", "trace")]).await;
    assert_eq!(status(&environment.invoke(add("6105551212"), TIMEOUT).await), 200);
    let output = environment.kill().await;
    assert!(output.contains("request answered"));
    assert_private(&output);
}

#[tokio::test]
async fn every_log_level_writes_the_metrics() {
    let database = DemoDatabase::start().await;
    for level in ["warn", "error", "off"] {
        let environment = database.environment_with(&[("LOG_LEVEL", level)]).await;
        status(&environment.invoke(add("6105551212"), TIMEOUT).await);
        let output = environment.kill().await;
        let line: Value = serde_json::from_str(&output).unwrap();
        assert_eq!((&line["Requests"], &line["Errors5xx"]), (&1.into(), &0.into()), "{level}: {output}");
        assert!(line["_aws"]["CloudWatchMetrics"].is_array(), "{level}: {output}");
    }
}

#[tokio::test]
async fn it_opens_the_connection_with_an_unsigned_request_before_the_first_invocation() {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let variables = [("TABLE_NAME", demo::TABLE), ("AWS_ENDPOINT_URL_DYNAMODB", url.as_str())];
    let environment = Environment::start(BOOTSTRAP, &variables).await;
    // A waiting invocation would open a connection with a signed request. The unsigned request must come first.
    let (mut connection, _) = tokio::select! {
        accepted = listener.accept() => accepted.unwrap(),
        ended = environment.invoke(add("6105551212"), TIMEOUT) => panic!("{ended:?}"),
    };
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(connection.read_u8().await.unwrap());
    }
    let request = String::from_utf8(request).unwrap().to_lowercase();
    assert!(request.starts_with("get / http/1.1"), "{request}");
    assert!(!request.contains("authorization") && !request.contains("x-amz"), "{request}");
}

#[tokio::test]
async fn it_starts_without_a_connection() {
    let database = DemoDatabase::start().await;
    // No process listens at this address.
    let environment = database.environment_with(&[("AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:1")]).await;
    let invocation = environment.invoke(add("6105551212"), Duration::from_millis(900)).await;
    assert_eq!(status(&invocation), 500);
    assert!(response_body(&invocation).contains("try_again"));
    let output = environment.kill().await;
    assert!(output.contains("could not be opened before the first request"), "{output}");
    assert_private(&output);
}

fn response_body(invocation: &Invocation) -> &str {
    match invocation {
        Invocation::Responded(response) => response["body"].as_str().unwrap(),
        other => panic!("no response: {other:?}"),
    }
}

#[tokio::test]
async fn a_bad_environment_variable_ends_the_process_and_is_named() {
    let database = DemoDatabase::start().await;
    let bad = [
        ("TABLE_NAME", ""),
        ("KEY_CACHE_SECONDS", "a minute"),
        ("LOG_LEVEL", "loud"),
        ("AWS_ENDPOINT_URL_DYNAMODB", "127.0.0.1:8000"),
        ("AWS_REGION", ""),
        ("AWS_USE_FIPS_ENDPOINT", "maybe"),
        ("AWS_USE_DUALSTACK_ENDPOINT", "maybe"),
        ("AWS_CA_BUNDLE", "/nowhere.pem"),
        ("AWS_CA_BUNDLE", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")),
    ];
    for (variable, value) in bad {
        let mut environment = database.environment_with(&[(variable, value)]).await;
        assert_eq!(environment.exited().await.code(), Some(1), "{variable}={value}");
        let output = environment.output();
        let line: Value = serde_json::from_str(output.lines().next().unwrap()).unwrap();
        assert_eq!(line["message"], "the function cannot run", "{output}");
        assert!(line["cause"].as_str().unwrap().contains(variable), "{output}");
    }
}

#[tokio::test]
async fn it_names_a_missing_variable_of_the_runtime() {
    let of_the_runtime = [
        ("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9"),
        ("AWS_LAMBDA_FUNCTION_NAME", "a-function"),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256"),
    ];
    for (missing, _) in of_the_runtime {
        let output = std::process::Command::new(BOOTSTRAP)
            .env_clear()
            .envs([("TABLE_NAME", "a-table"), ("AWS_REGION", "us-east-1")])
            .envs(of_the_runtime.iter().copied().filter(|(name, _)| *name != missing))
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1), "{missing}");
        let output = String::from_utf8(output.stdout).unwrap();
        let line: Value = serde_json::from_str(output.lines().next().unwrap()).unwrap();
        assert!(line["cause"].as_str().unwrap().starts_with(&format!("{missing} is not set")), "{output}");
    }
}

#[tokio::test]
async fn an_event_that_is_not_an_http_request_fails_the_invocation_and_not_the_process() {
    let database = DemoDatabase::start().await;
    let environment = database.environment().await;
    for event in ["{}", "[]", "1", "null", "\"raw-secret\"", "{\"a-secret-body\":1}"] {
        let (kind, message) = failed(environment.invoke(event, TIMEOUT).await);
        assert_eq!(kind, "NotAnHttpEvent", "{event}");
        assert_eq!(message, "The event is not an HTTP request of API Gateway.");
    }
    // The runtime itself refuses text that is not JSON.
    for not_json in ["", "{", "raw-secret", "{\"a-secret-body\"", "\u{0}"] {
        failed(environment.invoke(not_json, TIMEOUT).await);
    }
    assert_eq!(status(&environment.invoke(add("6105551212"), TIMEOUT).await), 200);
    assert_private(&environment.kill().await);
}

#[tokio::test]
async fn it_responds_to_events_that_lambda_http_cannot_convert() {
    let database = DemoDatabase::start().await;
    let environment = database.environment().await;
    let mut digits = 6_105_552_000_u64;
    for (header, value) in [("host", "no host name"), ("x-forwarded-proto", "h t"), ("x-other", "é\u{0}"), ("a b", "c")]
    {
        digits += 1;
        let mut event: Value = serde_json::from_str(&add(&digits.to_string())).unwrap();
        event["headers"][header] = value.into();
        event["rawQueryString"] = "a b=<c>".into();
        assert_eq!(status(&environment.invoke(event.to_string(), TIMEOUT).await), 200, "{header}");
    }
    let mut event: Value = serde_json::from_str(&add("6105551212")).unwrap();
    event["isBase64Encoded"] = true.into();
    event["body"] = "not base64: a-secret-body".into();
    assert_eq!(status(&environment.invoke(event.to_string(), TIMEOUT).await), 400);
    assert_private(&environment.kill().await);
}

#[tokio::test]
async fn concurrent_environments_keep_the_limits() {
    let database = DemoDatabase::start().await;
    let environments = futures_util::future::join_all((0..4).map(|_| database.environment())).await;
    // Four environments add 80 numbers to one record.
    let adds = environments.iter().enumerate().map(|(index, environment)| async move {
        let mut statuses = Vec::new();
        for number in 0..20 {
            let digits = format!("61055530{:02}", index * 20 + number);
            statuses.push(status(&environment.invoke(add(&digits), TIMEOUT).await));
        }
        statuses
    });
    let statuses = futures_util::future::join_all(adds).await.concat();
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 50);
    assert_eq!(statuses.iter().filter(|status| **status == 409).count(), 30);
    assert_eq!(database.phone_count(demo::CUSTOMER).await, "50");
}

#[tokio::test]
async fn sigterm_ends_it() {
    use std::os::unix::process::ExitStatusExt as _;

    let database = DemoDatabase::start().await;
    let mut environment = database.environment().await;
    assert_eq!(status(&environment.invoke(add("6105551212"), TIMEOUT).await), 200);
    environment.signal("TERM");
    assert_eq!(environment.exited().await.signal(), Some(15), "SIGTERM must end the process");
    assert_private(&environment.output());
}
