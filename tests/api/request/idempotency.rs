//! `Idempotency-Key`: a repeat of the same request gets the same response, and writes nothing.

use serde_json::json;
use testkit::demo;

use crate::helpers::{Request, TestApp, add, number, remove};

fn keyed(key: &str) -> Request {
    add(demo::CUSTOMER, "6105551212").header("Idempotency-Key", key)
}

#[tokio::test]
async fn a_repeat_is_replayed_and_writes_nothing() {
    let app = TestApp::new().await;
    let first = app.send(&keyed("a key")).await;
    assert_eq!(first.status, 200);
    assert_eq!(first.headers.get("idempotency-replayed"), None);
    let before = app.everything().await;
    for _ in 0..3 {
        let repeat = app.send(&keyed("a key")).await;
        assert_eq!((repeat.status, &repeat.body), (200, &first.body));
        assert_eq!(repeat.headers["idempotency-replayed"], "true");
    }
    assert_eq!(app.everything().await, before);
}

#[tokio::test]
async fn two_spellings_of_a_request_are_one_request() {
    let app = TestApp::new().await;
    assert_eq!(app.send(&keyed("k")).await.status, 200);
    let spelled = [
        keyed("k").body(json!({})),
        keyed("k").body(json!({ "country_code": "+1", "phone_type": "unknown", "client_source": "internal" })),
        add(demo::CUSTOMER, "16105551212").header("idempotency-key", "k"),
    ];
    for request in spelled {
        let reply = app.send(&request).await;
        assert_eq!((reply.status, &reply.headers["idempotency-replayed"]), (200, &json!("true")));
    }
}

#[tokio::test]
async fn other_values_under_the_key_are_a_conflict() {
    let app = TestApp::new().await;
    assert_eq!(app.send(&keyed("k")).await.status, 200);
    let before = app.everything().await;
    for body in
        [json!({ "consent_type": "stop" }), json!({ "phone_type": "mobile" }), json!({ "client_source": "web" })]
    {
        let reply = app.send(&keyed("k").body(body)).await;
        assert_eq!(reply.row(), (409, Some("idempotency_key_reused")));
    }
    assert_eq!(app.everything().await, before);
}

#[tokio::test]
async fn without_the_key_a_repeat_is_a_409() {
    let app = TestApp::new().await;
    assert_eq!(app.send(&keyed("k")).await.status, 200);
    for request in [keyed("K"), keyed("another"), add(demo::CUSTOMER, "6105551212")] {
        assert_eq!(app.send(&request).await.row(), (409, Some("phone_already_added")));
    }
    // A request with a key after an add without one finds the number on the record, too.
    assert_eq!(app.send(&add(demo::CUSTOMER, "6105551213")).await.status, 200);
    let late = add(demo::CUSTOMER, "6105551213").header("idempotency-key", "k");
    assert_eq!(app.send(&late).await.row(), (409, Some("phone_already_added")));
}

#[tokio::test]
async fn a_key_is_of_one_record_and_number() {
    let app = TestApp::new().await;
    assert_eq!(app.send(&keyed("k")).await.status, 200);
    for request in [add(demo::CUSTOMER, "6105551213"), add(demo::CUSTOMER_ODD, "6105551212")] {
        let reply = app.send(&request.header("idempotency-key", "k").body(json!({ "consent_type": "stop" }))).await;
        assert_eq!((reply.status, reply.headers.get("idempotency-replayed")), (200, None));
    }
}

#[tokio::test]
async fn a_removal_forgets_the_key() {
    let app = TestApp::new().await;
    assert_eq!(app.send(&keyed("k")).await.status, 200);
    assert_eq!(app.send(&remove(demo::CUSTOMER, "6105551212")).await.status, 200);
    let other_values = app.send(&keyed("k").body(json!({ "consent_type": "stop" }))).await;
    assert_eq!((other_values.status, other_values.headers.get("idempotency-replayed")), (200, None));
}

#[tokio::test]
async fn a_replay_is_answered_on_a_full_record_and_for_a_full_number() {
    let app = TestApp::new().await;
    let on_record = add(demo::CUSTOMER_WITH_49, "6105551212").header("idempotency-key", "k");
    let on_number = add(demo::CUSTOMER, demo::PHONE_ON_49).header("idempotency-key", "k");
    for request in [on_record, on_number] {
        assert_eq!(app.send(&request).await.status, 200);
        assert_eq!(app.send(&request).await.headers["idempotency-replayed"], "true");
    }
}

#[tokio::test]
async fn racing_repeats_add_once() {
    let app = TestApp::new().await;
    let repeats = (0..50).map(|_| async { app.send(&keyed("k")).await });
    let replies = futures_util::future::join_all(repeats).await;
    assert!(replies.iter().all(|reply| reply.status == 200));
    let replayed = replies.iter().filter(|reply| reply.headers.get("idempotency-replayed").is_some()).count();
    assert_eq!(replayed, 49);
    assert_eq!(number(&app.record(demo::CUSTOMER).await.unwrap()["phone_count"]), 1);
}
