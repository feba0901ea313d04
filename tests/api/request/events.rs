//! Every file of `events/`, each on the demo data, against `events/expected.json`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use cdm_lambda::domain::Limits;
use cdm_lambda::error::ErrorCode;
use lambda_http::lambda_runtime::Diagnostic;
use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};

use crate::helpers::{TIMEOUT, TestApp, invoke};

/// What the function returns for an event: a response, or the error of an invocation that is not an HTTP request.
#[derive(Debug, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
enum Expected {
    Response { status: u16, code: Option<String>, message: Option<String> },
    Error { error_type: String },
}

fn file(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("events").join(name)).unwrap()
}

fn event(name: &str) -> Box<RawValue> {
    serde_json::from_str(&file(name)).unwrap()
}

fn expected() -> BTreeMap<String, Expected> {
    serde_json::from_str(&file("expected.json")).unwrap()
}

#[tokio::test]
async fn every_event_gets_its_expected_response() {
    // Refusals write nothing, so only a success needs fresh data after it.
    let mut app = TestApp::new().await;
    for (name, expected) in expected() {
        let result = invoke(&app.handler, event(&name), TIMEOUT).await;
        match expected {
            Expected::Response { status, code, message } => {
                let reply = result.expect(&name);
                let actual = (reply.row(), reply.message());
                assert_eq!(actual, ((status, code.as_deref()), message.as_deref().unwrap_or_default()), "{name}");
                if status < 300 {
                    app = TestApp::new().await;
                }
            }
            Expected::Error { error_type } => {
                let diagnostic: Diagnostic = result.expect_err(&name).into();
                assert_eq!(diagnostic.error_type, error_type, "{name}");
                assert_eq!(diagnostic.error_message, "The event is not an HTTP request of API Gateway.");
            }
        }
    }
}

#[test]
fn every_event_has_an_expected_response() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("events");
    let files = std::fs::read_dir(directory).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    // Not events: the variables for `sam local invoke`, and the expected responses.
    let files: BTreeSet<_> = files.filter(|name| name != "env.json" && name != "expected.json").collect();
    assert_eq!(files, expected().into_keys().collect());
}

/// Only a failing database causes `try_again`; the other codes have an event.
#[test]
fn every_code_has_an_event_and_every_event_a_code_of_the_table() {
    let mut shown = BTreeSet::from([ErrorCode::TryAgain.as_str().to_owned()]);
    for (name, expected) in expected() {
        let Expected::Response { status, code: Some(code), message } = expected else { continue };
        let known = ErrorCode::ALL.into_iter().find(|known| known.as_str() == code).expect(&name);
        assert_eq!((status, message.as_deref()), (known.status(), Some(&*known.message(Limits::CONTRACT))), "{name}");
        shown.insert(code);
    }
    assert_eq!(shown, ErrorCode::ALL.into_iter().map(|code| code.as_str().to_owned()).collect());
}

#[tokio::test]
async fn json_that_is_not_an_http_request_is_an_error() {
    let app = TestApp::new().await;
    for json in [json!(null), json!(1), json!("text"), json!([]), json!({ "Records": [] }), json!({ "version": "2.0" })]
    {
        assert!(invoke(&app.handler, to_raw_value(&json).unwrap(), TIMEOUT).await.is_err(), "{json}");
    }
}

/// Gateways send many members that the function does not use, and callers control some of them.
#[tokio::test]
async fn unused_members_of_an_event_do_not_matter() {
    let authorizer = json!({ "jwt": { "claims": { "sub": "a", "scope": [1, null] }, "scopes": null } });
    for name in ["http-200-added.json", "rest-200-added.json"] {
        let mut event: Value = serde_json::from_str(&file(name)).unwrap();
        event["cookies"] = json!(["a=b", "c"]);
        event["stageVariables"] = json!({ "name": "value" });
        event["rawQueryString"] = json!("a=<b> c&%zz");
        event["queryStringParameters"] = json!({ "a": "<b> c" });
        event["requestContext"]["authorizer"] = authorizer.clone();
        for headers in ["headers", "multiValueHeaders"] {
            if let Some(headers) = event[headers].as_object_mut() {
                headers.insert("X-Forwarded-Proto".to_owned(), json!("h t"));
                headers.insert("Host".to_owned(), json!("no host name"));
            }
        }
        let app = TestApp::new().await;
        let reply = invoke(&app.handler, to_raw_value(&event).unwrap(), TIMEOUT).await.expect(name);
        assert_eq!(reply.status, 200, "{name}: {}", reply.body);
    }
}
