//! Malformed and malicious events. The function responds to each HTTP request with the contract's JSON and never with a
//! 5xx, refuses every other event, and never panics.

use std::fs;
use std::time::Duration;

use cdm_lambda::domain::Limits;
use cdm_lambda::handler::Handler;
use cdm_lambda::store::Store;
use cdm_lambda::time::UnixMillis;
use lambda_http::Context;
use lambda_http::lambda_runtime::LambdaEvent;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use testkit::database::Database;
use testkit::{TIMEOUT, demo};

use crate::is_full;

struct Target {
    handler: Handler,
    _database: Database,
}

impl Target {
    async fn start() -> Self {
        let database = Database::start().await;
        let client = database.client().await;
        demo::create(&client, demo::TABLE).await.unwrap();
        let store = Store::new(client, demo::TABLE.to_owned(), Limits::CONTRACT);
        Self { handler: Handler::new(store, Duration::from_secs(60)), _database: database }
    }

    /// Status and `code`. `None` if the handler refuses the event because it is not an HTTP request.
    async fn send(&self, event: &str) -> Option<(u16, Option<String>)> {
        // The runtime refuses text that is not JSON before the function receives it.
        let event: Box<RawValue> = serde_json::from_str(event).unwrap();
        let mut context = Context::default();
        context.deadline = UnixMillis::now().millis() + u64::try_from(TIMEOUT.as_millis()).unwrap();
        let response = self.handler.handle(LambdaEvent::new(event, context)).await.ok()?;
        assert!(response.headers.contains(&("content-type", "application/json; charset=utf-8".into())));
        let body: Value = serde_json::from_str(&response.body).unwrap();
        let is_answer = body["phone_count"].is_u64() || body["ccid_count"].is_u64() || body["consent"].is_object();
        assert!(body["message"].is_string() || is_answer, "{body}");
        let code = body["code"].as_str().map(str::to_owned);
        assert_eq!(code.is_none(), matches!(response.status_code, 200 | 201), "{body}");
        assert!(response.body.len() < 100_000, "the response must not grow with the request");
        Some((response.status_code, code))
    }

    async fn assert_response(&self, event: &Value, status: u16, code: &str) {
        let shown: String = event.to_string().chars().take(300).collect();
        assert_eq!(self.send(&event.to_string()).await, Some((status, Some(code.to_owned()))), "{shown}");
    }
}

/// An event of an add that succeeds.
fn add() -> Value {
    serde_json::from_str(&fs::read_to_string("events/http-200-added.json").unwrap()).unwrap()
}

fn with(change: impl FnOnce(&mut Value)) -> Value {
    let mut event = add();
    change(&mut event);
    event
}

#[tokio::test]
async fn bodies_of_any_size_and_depth() {
    let target = Target::start().await;
    let deep = |open: &str, close: &str| format!("{}{}", open.repeat(100_000), close.repeat(100_000));
    let bodies = [
        "x".repeat(6 << 20),
        format!("{{\"client_source\":\"{}\"}}", "x".repeat(6 << 20)),
        deep("[", "]"),
        deep("{\"a\":", "}"),
        "[".repeat(16_000),
        "{\"a\":".repeat(3_000),
        format!("{{\"consent_type\":{}}}", "9".repeat(10_000)),
        format!("{{\"consent_type\":-0.{}e{}}}", "9".repeat(5_000), "9".repeat(5_000)),
        format!("{{{}}}", vec!["\"a\":1"; 2_700].join(",")),
        "\u{0}".to_owned(),
        "{\"client_source\":\"\\ud800\"}".to_owned(),
        "{\"client_source\":\"a\"}\u{0}".to_owned(),
        "\u{feff}{}".to_owned(),
    ];
    for body in bodies {
        target.assert_response(&with(|event| event["body"] = body.clone().into()), 400, "invalid_request").await;
        let encoded = with(|event| {
            event["isBase64Encoded"] = true.into();
            event["body"] = body.into();
        });
        target.assert_response(&encoded, 400, "invalid_request").await;
    }
    for broken in ["=", "A", "e30", "e30=\n", "e3 0=", "e30==", "e31=", "_-==", "ÿ"] {
        let event = with(|event| {
            event["isBase64Encoded"] = true.into();
            event["body"] = broken.into();
        });
        target.assert_response(&event, 400, "invalid_request").await;
    }
}

#[tokio::test]
async fn headers_of_any_number_and_bytes() {
    let target = Target::start().await;
    let many = with(|event| {
        for n in 0..10_000 {
            event["headers"][format!("x-{n}")] = "v".repeat(100).into();
        }
        event["pathParameters"]["ccid"] = "unknown".into();
    });
    target.assert_response(&many, 404, "customer_not_found").await;
    for byte in 0..=255_u8 {
        let odd = format!("a{}b", char::from(byte));
        let anywhere = with(|event| {
            event["headers"]["x-odd"] = odd.clone().into();
            event["headers"][&odd] = "v".into();
            event["headers"]["x-relay-api-key"] = odd.clone().into();
        });
        target.assert_response(&anywhere, 401, "unauthorized").await;
        let key = with(|event| {
            event["headers"]["idempotency-key"] = odd.into();
            event["pathParameters"]["ccid"] = "unknown".into();
        });
        let printable = (b' '..=b'~').contains(&byte);
        let (status, code) = if printable { (404, "customer_not_found") } else { (400, "invalid_request") };
        target.assert_response(&key, status, code).await;
    }
}

#[tokio::test]
async fn paths_of_every_encoding() {
    let target = Target::start().await;
    let template: Value = serde_json::from_str(&fs::read_to_string("events/rest-200-added.json").unwrap()).unwrap();
    for byte in 0..=255_u8 {
        for ccid in [format!("none%{byte:02x}"), format!("none%25{byte:02X}"), format!("none%{}", char::from(byte))] {
            for as_parameter in [true, false] {
                let mut event = template.clone();
                let path = format!("/cdm/client/{}/customer/{ccid}/add_phone/6105551212", demo::CLIENT);
                event["path"] = path.clone().into();
                if as_parameter {
                    event["pathParameters"]["ccid"] = ccid.clone().into();
                } else {
                    event["resource"] = "/{proxy+}".into();
                    event["pathParameters"] = json!({ "proxy": path });
                }
                let (status, code) = target.send(&event.to_string()).await.unwrap();
                assert!((400..500).contains(&status), "{path}: {status} {code:?}");
            }
        }
    }
    for path in ["", "/", "//", "no slash", "/cdm", "/%", "/%%", "/\u{0}", "/..//cdm/client", &"/a".repeat(100_000)] {
        let event = with(|event| {
            event["rawPath"] = path.into();
            event["routeKey"] = "$default".into();
        });
        target.assert_response(&event, 404, "route_not_found").await;
    }
}

#[tokio::test]
async fn events_that_are_not_http_requests_are_refused() {
    let target = Target::start().await;
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let eventbridge = json!({ "version": "0", "id": "1", "detail-type": "Scheduled Event", "source": "aws.events",
        "account": "123456789012", "time": "2026-11-23T00:00:00Z", "region": "us-east-1", "resources": [], "detail": {} });
    let sqs = json!({ "Records": [{ "messageId": "1", "body": "{}", "eventSource": "aws:sqs" }] });
    let by_hand = [
        "null".to_owned(),
        "\"\"".to_owned(),
        "[]".to_owned(),
        "{}".to_owned(),
        "1e999999".to_owned(),
        "9".repeat(10_000),
        deep,
        eventbridge.to_string(),
        sqs.to_string(),
        json!({ "requestContext": null, "httpMethod": "PUT", "path": "/" }).to_string(),
        json!({ "requestContext": { "http": { "method": 1 } }, "rawPath": "/" }).to_string(),
        json!({ "requestContext": {}, "httpMethod": "PUT" }).to_string(),
    ];
    for event in by_hand {
        let shown: String = event.chars().take(80).collect();
        assert_eq!(target.send(&event).await, None, "{shown}");
    }
}

#[tokio::test]
async fn members_that_the_function_does_not_read_can_be_anything() {
    let target = Target::start().await;
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for odd in [deep, "9".repeat(10_000), "1e999999".to_owned(), "\"\\ud800\"".to_owned()] {
        let event = with(|event| event["pathParameters"]["ccid"] = "unknown".into()).to_string();
        let event = event.replacen('{', &format!("{{\"stageVariables\":{odd},"), 1);
        let response = target.send(&event).await;
        let shown: String = odd.chars().take(40).collect();
        assert_eq!(response, Some((404, Some("customer_not_found".to_owned()))), "{shown}");
    }
}

/// The events of `events/` with bytes changed, removed, duplicated, or copied from another event. The function responds to
/// or refuses each that is still JSON, and never with a 5xx.
#[tokio::test]
async fn mutated_events() {
    let target = Target::start().await;
    let mut files: Vec<_> = fs::read_dir("events").unwrap().map(|entry| entry.unwrap().path()).collect();
    // Skip the events of corrupt records, which are a 5xx.
    files.retain(|file| !file.to_string_lossy().contains("-500-"));
    files.sort();
    let events: Vec<_> = files.iter().map(|file| fs::read(file).unwrap()).collect();
    let mut random = fastrand::Rng::with_seed(1);
    let (mut sent, mut responses) = (0, 0);
    for _ in 0..if is_full() { 500_000 } else { 10_000 } {
        let mut event = events[random.usize(..events.len())].clone();
        for _ in 0..random.usize(1..4) {
            if event.is_empty() {
                break;
            }
            let at = random.usize(..event.len());
            let until = (at + random.usize(1..12)).min(event.len());
            match random.u32(..4) {
                0 => event[at] = random.u8(..),
                1 => drop(event.drain(at..until)),
                2 => event.splice(at..at, event[at..until].to_vec()).for_each(drop),
                _ => {
                    let other = &events[random.usize(..events.len())];
                    let from = random.usize(..other.len());
                    let part = other[from..(from + 40).min(other.len())].to_vec();
                    event.splice(at..until, part).for_each(drop);
                }
            }
        }
        let Ok(event) = String::from_utf8(event) else { continue };
        if serde_json::from_str::<&RawValue>(&event).is_err() {
            continue;
        }
        sent += 1;
        if let Some((status, code)) = target.send(&event).await {
            responses += 1;
            let is_corrupt_record = event.contains(demo::CUSTOMER_CORRUPT);
            assert!(status < 500 || is_corrupt_record, "{status} {code:?}: {event}");
        }
    }
    println!("{sent} mutated events that are JSON, {responses} of them HTTP requests");
    assert!(responses > 1_000);
}
