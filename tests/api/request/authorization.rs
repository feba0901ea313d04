//! The API key: one 401 for every reason, and a database failure is never reported as a 401.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use cdm_lambda::auth::ApiKey;
use cdm_lambda::time::UnixMillis;
use testkit::demo;

use crate::helpers::fault_connector::Fault;
use crate::helpers::{Request, TestApp, add, text};

fn request() -> Request {
    add(demo::CUSTOMER, "6105551212")
}

/// A valid key with appended characters.
fn longer(extra: usize) -> String {
    format!("{}{}", demo::KEY, "A".repeat(extra))
}

#[tokio::test]
async fn every_refusal_is_the_same_401() {
    let app = TestApp::new().await;
    let before = app.everything().await;
    let unissued = ApiKey::from_secret(&[7; 32]);
    let mistyped = demo::KEY.replace('I', "l");
    let refused = [
        ("no key", request().no_key()),
        ("an empty key", request().key("")),
        ("no key's shape", request().key("a-key-of-another-system")),
        ("a mistyped key", request().key(&mistyped)),
        ("a shorter key", request().key(&demo::KEY[..54])),
        ("a longer key", request().key(&longer(1))),
        ("a key longer than any", request().key(&longer(100_000))),
        ("a key with a space", request().key(&format!("{} ", demo::KEY))),
        ("two keys", request().key(&format!("{0},{0}", demo::KEY))),
        ("a key that is not ASCII", request().key("relay_é")),
        ("a key that was never issued", request().key(unissued.reveal())),
        ("a revoked key", request().key(demo::REVOKED_KEY)),
        ("an expired key", request().key(demo::EXPIRED_KEY)),
        ("a key of another client", request().key(demo::OTHER_KEY)),
        ("a client that does not exist", request().client("unknown")),
        ("a name that is no client's", request().client("a b")),
        ("an endless name", request().client(&"a".repeat(101))),
    ];
    let first = app.send(&refused[0].1).await;
    assert_eq!(first.row(), (401, Some("unauthorized")));
    for (what, request) in refused {
        assert_eq!(app.send(&request).await, first, "{what}");
        assert_eq!(app.send_rest(&request).await, first, "{what}");
    }
    assert_eq!(app.everything().await, before);
}

#[tokio::test]
async fn a_key_of_another_shape_costs_no_read() {
    let app = TestApp::new().await;
    for request in [request().no_key(), request().key(&longer(1)), request().key("x"), request().client("a b")] {
        assert_eq!(app.send(&request).await.status, 401);
    }
    assert!(app.faults.take_calls().is_empty());
}

/// The cost of a refusal reveals nothing about keys, clients or customers: it is one read of the presented key. (Later the
/// environment may have an expired key or another client's in its cache, which only a caller who has that key can notice.)
#[tokio::test]
async fn a_key_of_the_right_shape_costs_one_read_of_that_key_whatever_is_wrong() {
    let unissued = ApiKey::from_secret(&[7; 32]);
    for key in [unissued.reveal(), demo::REVOKED_KEY, demo::EXPIRED_KEY, demo::OTHER_KEY] {
        for request in [request(), request().client("unknown"), add("unknown", "6105551212"), add("a/b", "1")] {
            let app = TestApp::new().await;
            assert_eq!(app.send(&request.key(key)).await.status, 401);
            let calls = app.faults.take_calls();
            assert_eq!(calls.len(), 1);
            assert_eq!(calls[0].operation, "GetItem");
            let hash = ApiKey::parse(key).unwrap().sha256_hex();
            assert_eq!(calls[0].request["Key"]["pk"]["S"], format!("KEY#{hash}"));
        }
    }
}

#[tokio::test]
async fn the_key_comes_before_the_request_and_after_the_route() {
    let app = TestApp::new().await;
    let bad = add("a/b", "1").header("idempotency-key", "").body("{");
    assert_eq!(app.send(&bad.clone().no_key()).await.status, 401);
    assert_eq!(app.send(&bad.clone()).await.status, 400);
    assert_eq!(app.send(&bad.method("POST").no_key()).await.status, 405);
}

#[tokio::test]
async fn a_valid_key_is_read_once_a_minute() {
    let app = TestApp::new().await;
    for number in 0..3 {
        assert_eq!(app.send(&add(demo::CUSTOMER, &format!("610555120{number}"))).await.status, 200);
    }
    let calls = app.faults.take_calls();
    let operations: Vec<_> = calls.iter().map(|call| call.operation.as_str()).collect();
    assert_eq!(operations, ["GetItem", "TransactWriteItems", "TransactWriteItems", "TransactWriteItems"]);
}

#[tokio::test]
async fn without_a_cache_a_revocation_takes_effect_at_once() {
    let app = TestApp::with_key_cache(Duration::ZERO).await;
    assert_eq!(app.send(&request()).await.status, 200);
    let hash = ApiKey::parse(demo::KEY).unwrap().sha256_hex();
    let mut key = app.item(&format!("KEY#{hash}"), "KEY").await.unwrap();
    key.insert("revoked_at".to_owned(), AttributeValue::N("1".to_owned()));
    app.put(key).await;
    assert_eq!(app.send(&request()).await.status, 401);
}

#[tokio::test]
async fn an_expiry_takes_effect_at_once_even_for_a_cached_key() {
    let app = TestApp::new().await;
    let hash = ApiKey::parse(demo::KEY).unwrap().sha256_hex();
    let mut key = app.item(&format!("KEY#{hash}"), "KEY").await.unwrap();
    // However slow this machine is, a request that begins after the expiry gets a 401. The key must be cached before.
    let mut lifetime = 50;
    let mut is_cached = false;
    while !is_cached {
        let app = TestApp::new().await;
        let expires_at = UnixMillis::now().millis() + lifetime;
        key.insert("expires_at".to_owned(), AttributeValue::N(expires_at.to_string()));
        app.put(key.clone()).await;
        loop {
            let before = UnixMillis::now().millis();
            let status = app.send(&request()).await.status;
            if status == 401 {
                assert!(UnixMillis::now().millis() >= expires_at);
                break;
            }
            assert!(before < expires_at, "an expired key was taken");
            is_cached = true;
        }
        lifetime *= 2;
    }
}

#[tokio::test]
async fn a_corrupt_key_is_a_500_and_never_a_401() {
    let secret = ApiKey::from_secret(&[9; 32]);
    let good = HashMap::from([("client_id", text(demo::CLIENT))]);
    let corruption = [
        HashMap::new(),
        HashMap::from([("client_id", text("a b"))]),
        HashMap::from([("client_id", AttributeValue::N("1".to_owned()))]),
        good.clone().into_iter().chain([("expires_at", text("tomorrow"))]).collect(),
    ];
    let mut stored = 0;
    for attributes in corruption {
        let app = TestApp::new().await;
        let mut item = HashMap::from([
            ("pk".to_owned(), text(&format!("KEY#{}", secret.sha256_hex()))),
            ("sk".to_owned(), text("KEY")),
            ("label".to_owned(), text("a")),
        ]);
        item.extend(attributes.into_iter().map(|(name, value)| (name.to_owned(), value)));
        // The index rejects a client_id that is a number, so that item cannot exist.
        let put = app.client.put_item().table_name(demo::TABLE).set_item(Some(item)).send().await;
        if put.is_ok() {
            stored += 1;
            let reply = app.send(&request().key(secret.reveal())).await;
            assert_eq!(reply.row(), (500, Some("internal_error")), "{}", reply.body);
        }
    }
    assert_eq!(stored, 3);
}

#[tokio::test]
async fn a_key_that_cannot_be_looked_up_is_a_500_and_never_a_401() {
    let failures = [
        Fault::error(400, "ProvisionedThroughputExceededException"),
        Fault::error(500, "InternalServerError"),
        Fault::Unreachable,
        Fault::LoseResponse,
        Fault::Garbage(200, "<html>"),
    ];
    for failure in failures {
        let app = TestApp::new().await;
        app.faults.reads(std::iter::repeat_n(failure.clone(), 1000));
        let reply = crate::helpers::send(&app.handler, request().http_event(), Duration::from_millis(900)).await;
        assert_eq!(reply.row(), (500, Some("try_again")), "{failure:?}");
        assert!(reply.headers["retry-after"].is_string());
    }
    let app = TestApp::new().await;
    app.faults.reads([Fault::error(400, "AccessDeniedException")]);
    assert_eq!(app.send(&request()).await.row(), (500, Some("internal_error")));
}

#[tokio::test]
async fn a_read_that_fails_once_is_repeated() {
    for failure in
        [Fault::error(500, "InternalServerError"), Fault::Unreachable, Fault::LoseResponse, Fault::LoseRequest]
    {
        let app = TestApp::new().await;
        app.faults.reads([failure]);
        assert_eq!(app.send(&request()).await.status, 200);
    }
}
