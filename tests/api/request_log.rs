//! The log line of a request, and the metrics in it.

use std::iter::repeat_n;
use std::time::Duration;

use cdm_lambda::auth::ApiKey;
use cdm_lambda::store::Cause;
use serde_json::{Value, json};
use testkit::demo;

use crate::helpers::fault_connector::{AWS_REQUEST_ID, Fault};
use crate::helpers::log;
use crate::helpers::{Request, TIMEOUT, TRACE_ID, TestApp, add, customer, send};

#[tokio::test]
async fn a_request_writes_one_line_for_operators() {
    let app = TestApp::new().await;
    let mut event = add(demo::CUSTOMER, "6105551212").http_event();
    event["requestContext"]["requestId"] = "one-line-a-request".into();
    for _ in 0..2 {
        send(&app.handler, event.clone(), TIMEOUT).await;
    }
    let lines = log::lines_with("one-line-a-request");
    assert_eq!(lines.len(), 2);
    let reported = |line: &Value, name: &str| line[name].clone();
    let hash = ApiKey::parse(demo::KEY).unwrap().sha256_hex();
    let fingerprint = &hash[..12];
    for (name, values) in [
        ("status", [json!(200), json!(409)]),
        ("code", [json!("ok"), json!("phone_already_added")]),
        ("operation", [json!("add_phone"), json!("add_phone")]),
        ("message", [json!("request answered"), json!("request answered")]),
        ("replayed", [json!(false), json!(false)]),
        ("client_id", [json!("demo-clinic"), json!("demo-clinic")]),
        ("level", [json!("INFO"), json!("INFO")]),
        ("lambda_request_id", [json!("lambda-request"), json!("lambda-request")]),
        ("ColdStarts", [json!(1), json!(0)]),
        ("RoundTrips", [json!(2), json!(1)]),
        ("KeyCacheHits", [json!(0), json!(1)]),
        ("Retries", [json!(0), json!(0)]),
        ("Throttles", [json!(0), json!(0)]),
        ("key_fingerprint", [json!(fingerprint), json!(fingerprint)]),
        ("trace_id", [json!(TRACE_ID), json!(TRACE_ID)]),
        ("Conflicts", [json!(0), json!(0)]),
        ("Requests", [json!(1), json!(1)]),
        ("Errors5xx", [json!(0), json!(0)]),
    ] {
        assert_eq!([reported(&lines[0], name), reported(&lines[1], name)], values, "{name}");
    }
    for line in lines {
        assert!(line["duration_ms"].as_f64().unwrap() > 0.0);
        assert!(line["timestamp"].as_str().unwrap().ends_with('Z'));
    }
}

#[tokio::test]
async fn the_line_counts_retries_and_conflicts() {
    let app = TestApp::new().await;
    let [conflict, passed] = ["TransactionConflict", "None"].map(|code| json!({ "Code": code }));
    app.faults.writes([
        Fault::cancelled(&conflict, &passed),
        Fault::LoseRequest,
        Fault::error(400, "ThrottlingException"),
        Fault::Unreachable,
    ]);
    let mut event = add(demo::CUSTOMER, "6105551212").http_event();
    event["requestContext"]["requestId"] = "a-line-of-repeats".into();
    assert_eq!(send(&app.handler, event, TIMEOUT).await.status, 200);
    let line = &log::lines_with("a-line-of-repeats")[0];
    // The key look-up, and five attempts of the write.
    let reported = ["RoundTrips", "Retries", "Conflicts", "Throttles"].map(|name| line[name].as_u64());
    assert_eq!(reported, [Some(6), Some(4), Some(1), Some(1)]);
}

/// The metrics of a line, by dimensions. Each must be a number in the line.
fn metrics(line: &Value) -> Value {
    let embedded = &line["_aws"];
    assert!(embedded["Timestamp"].as_u64().unwrap() > 1_700_000_000_000);
    let mut by_dimensions = serde_json::Map::new();
    for directive in embedded["CloudWatchMetrics"].as_array().unwrap() {
        assert_eq!(directive["Namespace"], "CdmPhones");
        let dimensions = directive["Dimensions"][0].as_array().unwrap();
        assert!(dimensions.iter().all(|name| line[name.as_str().unwrap()].is_string()));
        let metrics = directive["Metrics"].as_array().unwrap();
        assert!(metrics.iter().all(|metric| line[metric["Name"].as_str().unwrap()].is_u64()));
        let names: Vec<_> = metrics.iter().map(|metric| metric["Name"].as_str().unwrap()).collect();
        let dimensions: Vec<_> = dimensions.iter().map(|name| name.as_str().unwrap()).collect();
        by_dimensions.insert(dimensions.join(" "), names.join(" ").into());
    }
    Value::Object(by_dimensions)
}

#[tokio::test]
async fn the_metrics_of_the_line_are_split_by_operation_and_never_by_client() {
    let app = TestApp::new().await;
    let line = async |request: Request, id: &str| {
        let mut event = request.http_event();
        event["requestContext"]["requestId"] = id.into();
        send(&app.handler, event, TIMEOUT).await;
        log::lines_with(id).remove(0)
    };
    assert_eq!(
        metrics(&line(add(demo::CUSTOMER, "6105551212"), "metrics-of-an-add").await),
        json!({
            "FunctionName operation code": "Requests",
            "FunctionName operation": "RoundTrips Retries Conflicts Throttles",
            "FunctionName": "Errors5xx SlowRequests ColdStarts KeyCacheHits",
        })
    );
    assert_eq!(
        metrics(&line(customer(demo::CUSTOMER), "metrics-of-a-read").await),
        json!({
            "FunctionName operation code": "Requests",
            "FunctionName operation": "RoundTrips Retries Throttles",
            "FunctionName": "Errors5xx SlowRequests ColdStarts KeyCacheHits",
        })
    );
    assert_eq!(
        metrics(&line(add(demo::CUSTOMER, "6105551212").method("POST"), "metrics-of-no-operation").await),
        json!({ "FunctionName operation code": "Requests", "FunctionName": "Errors5xx SlowRequests ColdStarts" })
    );
}

#[tokio::test]
async fn the_cause_of_a_failure_is_logged_and_not_returned() {
    let app = TestApp::new().await;
    let mut event = add(demo::CUSTOMER_CORRUPT, "6105551212").http_event();
    event["requestContext"]["requestId"] = "a-corrupt-record".into();
    let reply = send(&app.handler, event, TIMEOUT).await;
    assert_eq!(reply.row(), (500, Some("internal_error")));
    let reported = ["message", "code", "request_id"];
    assert!(reply.body.as_object().unwrap().keys().all(|name| reported.contains(&name.as_str())));
    assert!(!reply.body["message"].as_str().unwrap().contains("corrupt"));
    let lines = log::lines_with("a-corrupt-record");
    assert_eq!(lines[0]["level"], "ERROR");
    assert_eq!(lines[0]["message"], "the customer's record is corrupt");
    assert_eq!(lines[0]["cause"], "corrupt_record");
    assert_eq!(lines[0]["aws_code"], "TransactionCanceledException");
}

/// AWS documents it as a reason of the cancelled transaction; DynamoDB Local refuses the whole call.
#[tokio::test]
async fn a_validation_error_of_a_write_is_a_corrupt_item() {
    let app = TestApp::new().await;
    app.faults.writes([Fault::error(400, "ValidationException")]);
    let mut event = add(demo::CUSTOMER, "6105551212").http_event();
    event["requestContext"]["requestId"] = "a-validation-error".into();
    let reply = send(&app.handler, event, TIMEOUT).await;
    assert_eq!(reply.row(), (500, Some("internal_error")));
    let lines = log::lines_with("a-validation-error");
    assert_eq!(lines[0]["message"], "the customer's record or the number's counter is corrupt");
    assert_eq!(lines[0]["aws_code"], "ValidationException");
    assert_eq!(lines[0]["aws_request_id"], AWS_REQUEST_ID);
}

#[tokio::test]
async fn a_request_that_fails_before_the_key_check_logs_no_client() {
    let app = TestApp::new().await;
    let mut event = add(demo::CUSTOMER, "6105551212").no_key().http_event();
    event["requestContext"]["requestId"] = "no-client-yet".into();
    send(&app.handler, event, TIMEOUT).await;
    assert_eq!(log::lines_with("no-client-yet")[0].get("client_id"), None);
}

/// The line of an add. All its writes have this fault or, if `reads` is set, all its reads.
async fn failed_line(id: &str, fault: &Fault, reads: bool) -> Value {
    let app = TestApp::new().await;
    let faults = repeat_n(fault.clone(), 1000);
    if reads {
        app.faults.reads(faults);
    } else {
        app.faults.writes(faults);
    }
    let mut event = add(demo::CUSTOMER, "6105551212").http_event();
    event["requestContext"]["requestId"] = id.into();
    assert_eq!(send(&app.handler, event, Duration::from_millis(900)).await.status, 500);
    log::lines_with(id).remove(0)
}

#[tokio::test]
async fn a_failure_names_its_cause() {
    let [conflict, throttled, exceeded, passed] =
        ["TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded", "None"]
            .map(|code| json!({ "Code": code }));
    let rows = [
        (Fault::cancelled(&conflict, &passed), "conflict"),
        (Fault::cancelled(&passed, &conflict), "conflict"),
        (Fault::cancelled(&throttled, &passed), "throttled"),
        (Fault::cancelled(&passed, &exceeded), "throttled"),
        (Fault::error(400, "ThrottlingException"), "throttled"),
        (Fault::error(400, "ProvisionedThroughputExceededException"), "throttled"),
        (Fault::error(400, "RequestLimitExceeded"), "throttled"),
        (Fault::error(400, "TransactionInProgressException"), "earlier_attempt_running"),
        (Fault::error(400, "AccessDeniedException"), "refused"),
        (Fault::error(500, "InternalServerError"), "service_failed"),
        (Fault::Unreachable, "no_connection"),
        (Fault::LoseResponse, "connection_lost"),
        (Fault::Garbage(200, "<html>"), "unreadable_answer"),
        (Fault::Hang, "timed_out"),
    ];
    for (place, (fault, cause)) in rows.into_iter().enumerate() {
        let line = failed_line(&format!("a-cause-{place}."), &fault, false).await;
        assert_eq!(line["cause"], cause, "{fault:?}: {line}");
        assert!(line["message"].as_str().is_some_and(|message| message != "request answered"), "{line}");
        // A throttle is not counted as a conflict: no other transaction held the item.
        let counted = ["Conflicts", "Throttles"].map(|name| line[name].as_u64() > Some(0));
        assert_eq!(counted, [cause == "conflict", cause == "throttled"], "{line}");
    }
}

/// An operator looks the cause up there.
#[test]
fn every_cause_is_explained_in_the_operators_guide() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operate.md");
    let guide = std::fs::read_to_string(path).unwrap();
    let (_, section) = guide.split_once("### ServerErrors").unwrap();
    let (section, _) = section.split_once("\n### ").unwrap();
    for cause in Cause::ALL {
        assert!(section.contains(&format!("`{}`", cause.as_str())), "{} is not explained", cause.as_str());
    }
}

#[tokio::test]
async fn a_throttled_key_lookup_is_counted_too() {
    let line = failed_line("a-throttled-read", &Fault::error(400, "ThrottlingException"), true).await;
    assert_eq!((&line["cause"], line["Throttles"].as_u64() > Some(0)), (&json!("throttled"), true), "{line}");
}

#[tokio::test]
async fn the_line_has_dynamodbs_throttling_reason_without_its_resource() {
    for (place, code) in ["ThrottlingException", "ProvisionedThroughputExceededException"].into_iter().enumerate() {
        let Fault::Response(status, mut body) = Fault::error(400, code) else {
            panic!("`Fault::error` makes a response")
        };
        body["throttlingReasons"] = json!([{
            "reason": "TableWriteMaxOnDemandThroughputExceeded",
            "resource": "arn:aws:dynamodb:us-east-1:111122223333:table/phones",
        }]);
        body["ThrottlingReasons"] = body["throttlingReasons"].clone();
        for reads in [false, true] {
            let line =
                failed_line(&format!("a-reason-{place}-{reads}"), &Fault::Response(status, body.clone()), reads).await;
            assert_eq!(line["throttling_reason"], "TableWriteMaxOnDemandThroughputExceeded", "{line}");
            assert!(!line.to_string().contains("arn:"), "{line}");
        }
    }
}

#[tokio::test]
async fn a_refused_key_is_logged_by_its_fingerprint() {
    let app = TestApp::new().await;
    let unknown = ApiKey::from_secret(&[9; 32]);
    for (id, key, hash) in [
        ("an-unknown-key", unknown.reveal(), Some(unknown.sha256_hex())),
        ("a-revoked-key", demo::REVOKED_KEY, ApiKey::parse(demo::REVOKED_KEY).map(|key| key.sha256_hex())),
        ("no-key-at-all", "relay_no-key", None),
    ] {
        let mut event = add(demo::CUSTOMER, "6105551212").key(key).http_event();
        event["requestContext"]["requestId"] = id.into();
        assert_eq!(send(&app.handler, event, TIMEOUT).await.status, 401);
        let line = log::lines_with(id).remove(0);
        assert_eq!(line["key_fingerprint"].as_str(), hash.as_deref().map(|hash| &hash[..12]), "{line}");
    }
}

#[tokio::test]
async fn a_request_that_takes_longer_than_a_second_is_slow() {
    let app = TestApp::new().await;
    // The first attempt times out after a second and a half.
    app.faults.writes([Fault::Hang]);
    let mut event = add(demo::CUSTOMER, "6105551212").http_event();
    event["requestContext"]["requestId"] = "a-slow-request".into();
    assert_eq!(send(&app.handler, event, TIMEOUT).await.status, 200);
    assert_eq!(log::lines_with("a-slow-request")[0]["SlowRequests"], 1);
}
