//! `openapi.yaml`: every example in it is the handler's real response, and none is missing.

use std::collections::BTreeSet;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cdm_lambda::domain::CountryCode;
use lambda_http::http;
use serde_json::{Map, Value, json};
use testkit::demo;
use testkit::gateway::Gateway;
use tokio::task::JoinSet;

use crate::helpers::fault_connector::Fault;
use crate::helpers::{TestApp, encoded};

/// The contract's responses: operation, status, `code`.
const ROWS: [(&str, u16, Option<&str>); 61] = [
    ("addPhone", 200, None),
    ("addPhone", 400, Some("invalid_request")),
    ("addPhone", 401, Some("unauthorized")),
    ("addPhone", 404, Some("customer_not_found")),
    ("addPhone", 404, Some("route_not_found")),
    ("addPhone", 405, Some("method_not_allowed")),
    ("addPhone", 409, Some("customer_phone_limit_reached")),
    ("addPhone", 409, Some("idempotency_key_reused")),
    ("addPhone", 409, Some("phone_already_added")),
    ("addPhone", 409, Some("phone_customer_limit_reached")),
    ("addPhone", 500, Some("internal_error")),
    ("addPhone", 500, Some("try_again")),
    ("createCustomer", 200, None),
    ("createCustomer", 201, None),
    ("createCustomer", 400, Some("invalid_request")),
    ("createCustomer", 401, Some("unauthorized")),
    ("createCustomer", 404, Some("route_not_found")),
    ("createCustomer", 405, Some("method_not_allowed")),
    ("createCustomer", 500, Some("internal_error")),
    ("createCustomer", 500, Some("try_again")),
    ("deleteCustomer", 200, None),
    ("deleteCustomer", 400, Some("invalid_request")),
    ("deleteCustomer", 401, Some("unauthorized")),
    ("deleteCustomer", 404, Some("customer_not_found")),
    ("deleteCustomer", 404, Some("route_not_found")),
    ("deleteCustomer", 405, Some("method_not_allowed")),
    ("deleteCustomer", 500, Some("internal_error")),
    ("deleteCustomer", 500, Some("try_again")),
    ("getCustomer", 200, None),
    ("getCustomer", 400, Some("invalid_request")),
    ("getCustomer", 401, Some("unauthorized")),
    ("getCustomer", 404, Some("customer_not_found")),
    ("getCustomer", 404, Some("route_not_found")),
    ("getCustomer", 405, Some("method_not_allowed")),
    ("getCustomer", 500, Some("internal_error")),
    ("getCustomer", 500, Some("try_again")),
    ("removePhone", 200, None),
    ("removePhone", 400, Some("invalid_request")),
    ("removePhone", 401, Some("unauthorized")),
    ("removePhone", 404, Some("customer_not_found")),
    ("removePhone", 404, Some("phone_not_found")),
    ("removePhone", 404, Some("route_not_found")),
    ("removePhone", 405, Some("method_not_allowed")),
    ("removePhone", 500, Some("internal_error")),
    ("removePhone", 500, Some("try_again")),
    ("getPhone", 200, None),
    ("getPhone", 400, Some("invalid_request")),
    ("getPhone", 401, Some("unauthorized")),
    ("getPhone", 404, Some("phone_not_found")),
    ("getPhone", 404, Some("route_not_found")),
    ("getPhone", 405, Some("method_not_allowed")),
    ("getPhone", 500, Some("internal_error")),
    ("getPhone", 500, Some("try_again")),
    ("updateConsent", 200, None),
    ("updateConsent", 400, Some("invalid_request")),
    ("updateConsent", 401, Some("unauthorized")),
    ("updateConsent", 404, Some("phone_not_found")),
    ("updateConsent", 404, Some("route_not_found")),
    ("updateConsent", 405, Some("method_not_allowed")),
    ("updateConsent", 500, Some("internal_error")),
    ("updateConsent", 500, Some("try_again")),
];

/// The statuses that the gateway itself returns.
const GATEWAYS_OWN: [u16; 7] = [404, 413, 414, 429, 500, 503, 504];

#[tokio::test]
async fn every_example_is_a_real_response() {
    let document = document();
    // Refused requests change no data, so they can share one app.
    let shared = TestApp::new().await;
    let before = shared.everything().await;
    let mut rows = BTreeSet::new();
    let mut wrong = Vec::new();
    let mut apart = JoinSet::new();
    for operation in operations(&document) {
        for example in operation.examples() {
            if example.value["x-answered-by"] == "gateway" {
                continue;
            }
            rows.insert((operation.id.clone(), example.status, example.code()));
            let request = operation.request(&example.value["x-request"]);
            if example.status < 300 || !example.value["x-given"].is_null() {
                apart.spawn(async move { compare(&given(&example).await, request, &example).await });
            } else {
                wrong.extend(compare(&shared, request, &example).await.err());
            }
        }
    }
    wrong.extend(apart.join_all().await.into_iter().filter_map(Result::err));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(shared.everything().await, before);

    let expected: BTreeSet<_> =
        ROWS.into_iter().map(|(id, status, code)| (id.to_owned(), status, code.map(str::to_owned))).collect();
    assert_eq!(rows, expected);
}

#[tokio::test]
async fn every_example_of_a_body_is_accepted() {
    let document = document();
    let mut bodies = 0;
    for operation in operations(&document) {
        let media = &operation.value["requestBody"]["content"]["application/json"];
        for (name, example) in media["examples"].as_object().into_iter().flatten() {
            let app = TestApp::new().await;
            let request = operation.request(&json!({ "body": example["value"] }));
            let (status, _, body) = send(&app, request).await;
            assert!(status < 300, "{} {name}: {body}", operation.id);
            bodies += 1;
        }
    }
    assert!(bodies >= 6, "{bodies}");
}

#[test]
fn every_operation_lists_the_gateways_own_responses() {
    let document = document();
    for operation in operations(&document) {
        let own = operation.examples().into_iter().filter(|example| example.value["x-answered-by"] == "gateway");
        let mut statuses = BTreeSet::new();
        for example in own {
            let value = example.value["value"].as_object().unwrap();
            assert!(value.len() == 1 && value["message"].is_string(), "{}", example.name);
            assert_eq!(example.value["x-request"], Value::Null, "{}", example.name);
            statuses.insert(example.status);
        }
        // A GET has no body, so it is never too large.
        let expected = GATEWAYS_OWN.into_iter().filter(|status| operation.method != "GET" || *status != 413);
        assert_eq!(statuses, expected.collect(), "{}", operation.id);
    }
}

#[test]
fn the_document_has_every_operation() {
    let document = document();
    let documented = operations(&document);
    let documented = documented.iter().map(|operation| (operation.method.clone(), operation.path.to_owned())).collect();
    let functions: BTreeSet<_> = cdm_lambda::operations::ALL
        .iter()
        .map(|operation| (operation.route.method.to_owned(), operation.route.path.to_owned()))
        .collect();
    assert_eq!(functions, documented);
}

#[test]
fn the_document_lists_the_accepted_calling_codes() {
    let document = document();
    let pattern = document["components"]["schemas"]["CountryCode"]["pattern"].as_str().unwrap();
    let listed = pattern.strip_prefix("^[+]?(").and_then(|rest| rest.strip_suffix(")$")).unwrap();
    let listed: BTreeSet<_> = listed.split('|').map(str::to_owned).collect();
    let taken = (0..10_000).map(|code| code.to_string()).filter(|code| CountryCode::parse(code).is_ok());
    assert_eq!(listed, taken.collect());
}

/// The document, with every reference replaced by what it refers to.
fn document() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi.yaml");
    let text = std::fs::read_to_string(path).unwrap();
    let document: Value = serde_saphyr::from_str(&text).unwrap();
    resolved(&document, &document)
}

fn resolved(value: &Value, document: &Value) -> Value {
    match value {
        Value::Object(map) => {
            if let Some(reference) = map.get("$ref") {
                let pointer = reference.as_str().unwrap().strip_prefix('#').unwrap();
                let target = document.pointer(pointer).unwrap_or_else(|| panic!("nothing is at {reference}"));
                return resolved(target, document);
            }
            map.iter().map(|(name, value)| (name.clone(), resolved(value, document))).collect()
        }
        Value::Array(values) => values.iter().map(|value| resolved(value, document)).collect(),
        _ => value.clone(),
    }
}

struct Operation<'a> {
    id: String,
    method: String,
    path: &'a str,
    parameters: &'a Value,
    value: &'a Value,
}

struct Example {
    name: String,
    status: u16,
    /// The headers that the document lists.
    documented: BTreeSet<String>,
    value: Value,
}

impl Example {
    fn code(&self) -> Option<String> {
        Some(self.value["value"].get("code")?.as_str()?.to_owned())
    }
}

fn operations(document: &Value) -> Vec<Operation<'_>> {
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, value) in item.as_object().unwrap().iter().filter(|(name, _)| *name != "parameters") {
            let id = value["operationId"].as_str().unwrap().to_owned();
            operations.push(Operation {
                id,
                method: method.to_uppercase(),
                path,
                parameters: &item["parameters"],
                value,
            });
        }
    }
    assert_eq!(operations.len(), cdm_lambda::operations::ALL.len());
    operations
}

impl Operation<'_> {
    fn examples(&self) -> Vec<Example> {
        let mut examples = Vec::new();
        for (status, response) in self.value["responses"].as_object().unwrap() {
            let documented = response["headers"].as_object().into_iter().flatten();
            let documented: BTreeSet<_> = documented.map(|(name, _)| name.to_lowercase()).collect();
            let named = response["content"]["application/json"]["examples"].as_object();
            for (name, value) in named.unwrap_or_else(|| panic!("{} {status} has no example", self.id)) {
                examples.push(Example {
                    name: format!("{} {status} {name}", self.id),
                    status: status.parse().unwrap(),
                    documented: documented.clone(),
                    value: value.clone(),
                });
            }
        }
        examples
    }

    /// The HTTP request of an `x-request`.
    fn request(&self, described: &Value) -> http::Request<Vec<u8>> {
        let known = ["method", "path", "parameters", "headers", "query", "body", "text", "base64", "pad_to"];
        let none = Map::new();
        let described = described.as_object().unwrap_or(&none);
        let unknown: Vec<_> = described.keys().filter(|name| !known.contains(&name.as_str())).collect();
        assert!(unknown.is_empty(), "{} {unknown:?}", self.id);
        let text = |name| described.get(name).map(|value: &Value| value.as_str().unwrap().to_owned());

        let mut path = self.path.to_owned();
        for parameter in self.parameters.as_array().unwrap() {
            let name = parameter["name"].as_str().unwrap();
            let stated = described.get("parameters").and_then(|parameters| parameters.get(name));
            let value = stated.unwrap_or(&parameter["example"]).as_str().unwrap();
            path = path.replace(&format!("{{{name}}}"), &encoded(value));
        }
        if let Some(query) = text("query") {
            path = format!("{path}?{query}");
        }
        let mut headers = Map::from_iter([("x-relay-api-key".to_owned(), demo::KEY.into())]);
        headers.extend(described.get("headers").and_then(Value::as_object).cloned().unwrap_or_default());
        let mut body = match described.get("body") {
            Some(body) => body.to_string().into_bytes(),
            None => match text("base64") {
                Some(base64) => STANDARD.decode(base64).unwrap(),
                None => text("text").unwrap_or_default().into_bytes(),
            },
        };
        if let Some(size) = described.get("pad_to") {
            body.resize(size.as_u64().unwrap().try_into().unwrap(), b' ');
        }
        let mut request = http::Request::builder()
            .method(text("method").unwrap_or_else(|| self.method.clone()).as_str())
            .uri(text("path").unwrap_or(path));
        for (name, value) in headers.iter().filter(|(_, value)| !value.is_null()) {
            request = request.header(name, value.as_str().unwrap());
        }
        request.body(body).unwrap()
    }
}

async fn send(app: &TestApp, request: http::Request<Vec<u8>>) -> (u16, Map<String, Value>, Value) {
    let (parts, body) = request.into_parts();
    let response = Box::pin(Gateway::Http.serve(&app.handler, parts, &body)).await.response;
    let headers = response.headers().iter();
    let headers = headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().into())).collect();
    (response.status().as_u16(), headers, serde_json::from_str(response.body()).unwrap())
}

/// An app in the state that the example requires.
async fn given(example: &Example) -> TestApp {
    let app = TestApp::new().await;
    match example.value["x-given"].as_str() {
        None => {}
        Some("the database cannot be reached") => app.faults.reads(vec![Fault::Unreachable; 10_000]),
        Some("the database refuses access") => app.faults.reads([Fault::error(400, "AccessDeniedException")]),
        Some(other) => panic!("{}: unknown x-given: {other}", example.name),
    }
    app
}

async fn compare(app: &TestApp, request: http::Request<Vec<u8>>, example: &Example) -> Result<(), String> {
    let (status, mut headers, mut body) = send(app, request).await;

    let mut expected_headers = example.value["x-response-headers"].as_object().cloned().unwrap_or_default();
    let undocumented: Vec<_> = expected_headers.keys().filter(|name| !example.documented.contains(*name)).collect();
    assert!(undocumented.is_empty(), "{}: {undocumented:?}", example.name);
    expected_headers.insert("content-type".to_owned(), "application/json; charset=utf-8".into());
    assert!(example.documented.contains("cache-control"), "{}", example.name);
    expected_headers.insert("cache-control".to_owned(), "no-store".into());
    // The value differs each time, within the documented range.
    if let (Some(reported), Some(expected)) = (headers.get_mut("retry-after"), expected_headers.get("retry-after")) {
        assert!(
            reported.as_str().is_some_and(|reported| ["1", "2", "3", "4", "5"].contains(&reported)),
            "{}: {reported}",
            example.name
        );
        *reported = expected.clone();
    }

    let expected = &example.value["value"];
    // The value differs each time, but must be present.
    if let (Some(id), Some(expected)) = (body.get_mut("request_id"), expected.get("request_id")) {
        assert!(id.as_str().is_some_and(|id| !id.is_empty()), "{}", example.name);
        *id = expected.clone();
    }
    // The time of a change differs each time. The demo data's own times stay.
    for name in ["created_at", "updated_at"] {
        let (time, expected) =
            (body.pointer_mut(&format!("/consent/{name}")), expected.pointer(&format!("/consent/{name}")));
        if let (Some(time), Some(expected)) = (time, expected)
            && !expected.as_str().is_some_and(|expected| expected.starts_with("2024"))
        {
            assert!(time.as_str() > expected.as_str(), "{}: {time}", example.name);
            *time = expected.clone();
        }
    }
    if (status, &headers, &body) == (example.status, &expected_headers, expected) {
        Ok(())
    } else {
        let Example { name, status: expected_status, .. } = example;
        Err(format!(
            "{name}\n  expected {expected_status} {} {expected}\n  answered {status} {} {body}",
            Value::Object(expected_headers),
            Value::Object(headers),
        ))
    }
}
