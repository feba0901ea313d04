//! Creating and deleting customers.

use aws_sdk_dynamodb::types::AttributeValue;
use cdm_lambda::time::UnixMillis;
use serde_json::json;
use testkit::demo;

use crate::helpers::fault_connector::{Fault, temporary_faults};
use crate::helpers::{TestApp, add, consent, create, customer, delete, number, phone, remove};

#[tokio::test]
async fn a_customer_is_created_once() {
    let app = TestApp::new().await;
    let before = UnixMillis::now().to_rfc3339();
    let reply = app.send(&create("NEW 1")).await;
    assert_eq!(reply.status, 201);
    assert_eq!(reply.body, json!({ "message": "Customer with ccid NEW 1 has been created for client demo-clinic." }));
    let shown = app.send(&customer("NEW 1")).await;
    assert_eq!(shown.status, 200);
    assert_eq!((&shown.body["phone_count"], &shown.body["notification_channels"]), (&json!(0), &json!([])));
    let created_at = shown.body["created_at"].as_str().unwrap();
    assert!(before.as_str() <= created_at && created_at <= UnixMillis::now().to_rfc3339().as_str());

    assert_eq!(app.send(&add("NEW 1", "6105551212")).await.status, 200);
    let everything = app.everything().await;
    let reply = app.send_rest(&create("NEW 1").body("{}")).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.body, json!({ "message": "Customer with ccid NEW 1 already exists for client demo-clinic." }));
    assert_eq!(app.everything().await, everything, "a repeat changes nothing");
    // It is a customer of one client.
    let other = create("NEW 1").client(demo::OTHER_CLIENT).key(demo::OTHER_KEY);
    assert_eq!(app.send(&other).await.status, 201);
}

#[tokio::test]
async fn a_creation_takes_no_fields() {
    let app = TestApp::new().await;
    let before = app.everything().await;
    for (body, field) in
        [(r#"{"created_at":"x"}"#, "body.created_at"), ("[]", "body"), ("{} {}", "body"), ("null", "body")]
    {
        let reply = app.send(&create("NEW").body(body)).await;
        assert_eq!((reply.row(), reply.fields()), ((400, Some("invalid_request")), vec![field]), "{body}");
    }
    for (ccid, fields) in [("..", ["path.ccid"]), ("a/b", ["path.ccid"]), ("a\u{7}", ["path.ccid"])] {
        assert_eq!(app.send(&create(ccid)).await.fields(), fields);
        assert_eq!(app.send(&delete(ccid)).await.fields(), fields);
    }
    for request in [create("NEW"), delete(demo::CUSTOMER)] {
        assert_eq!(app.send(&request.clone().no_key()).await.row(), (401, Some("unauthorized")));
        assert_eq!(app.send(&request.key(demo::OTHER_KEY)).await.row(), (401, Some("unauthorized")));
    }
    assert_eq!(app.everything().await, before);
}

#[tokio::test]
async fn a_deleted_customer_is_gone_from_every_number() {
    let app = TestApp::new().await;
    assert_eq!(app.send(&add(demo::CUSTOMER_WITH_PHONE, demo::PHONE_ON_49)).await.status, 200);
    let reply = app.send(&delete(demo::CUSTOMER_WITH_PHONE)).await;
    assert_eq!(reply.status, 200);
    assert_eq!(
        reply.body,
        json!({ "message": "Customer with ccid BAK-11984-008 has been deleted for client demo-clinic." })
    );
    assert_eq!(app.record(demo::CUSTOMER_WITH_PHONE).await, None);
    assert_eq!(number(&app.counter("+16105551208").await.unwrap()["ccid_count"]), 0);
    assert_eq!(number(&app.counter("+16105559949").await.unwrap()["ccid_count"]), 49);
    app.assert_consistent().await;
    // The number keeps its consent.
    let shown = app.send(&phone(demo::PHONE)).await;
    assert_eq!((shown.status, &shown.body["consent"]["consent_type"]), (200, &json!("written")));
    for request in [delete(demo::CUSTOMER_WITH_PHONE), customer(demo::CUSTOMER_WITH_PHONE), delete("unknown")] {
        assert_eq!(app.send(&request).await.row(), (404, Some("customer_not_found")));
    }
    // A new customer of the same ccid has none of its numbers.
    assert_eq!(app.send(&create(demo::CUSTOMER_WITH_PHONE)).await.status, 201);
    let again = app.send(&add(demo::CUSTOMER_WITH_PHONE, demo::PHONE)).await;
    assert_eq!(again.status, 200);
    let shown = app.send(&customer(demo::CUSTOMER_WITH_PHONE)).await;
    assert_eq!(shown.body["notification_channels"][0]["consent_type"], "written");
    app.assert_consistent().await;
}

#[tokio::test]
async fn customers_without_and_with_50_numbers_are_deleted() {
    let app = TestApp::new().await;
    for ccid in [demo::CUSTOMER, demo::CUSTOMER_WITH_49, demo::CUSTOMER_WITH_50, demo::CUSTOMER_ODD] {
        assert_eq!(app.send_rest(&delete(ccid)).await.status, 200, "{ccid}");
        app.assert_consistent().await;
    }
    let calls = app.faults.take_calls();
    assert!(calls.iter().all(|call| ["GetItem", "TransactWriteItems"].contains(&call.operation.as_str())));
}

#[tokio::test]
async fn a_creation_and_a_deletion_happen_once_whatever_is_lost() {
    for faults in temporary_faults() {
        let app = TestApp::new().await;
        app.faults.writes(faults.clone());
        assert_eq!(app.send(&create("NEW")).await.status, 201, "{faults:?}");
        assert_eq!(app.send(&add("NEW", demo::PHONE)).await.status, 200);
        app.faults.writes(faults.clone());
        assert_eq!(app.send(&delete("NEW")).await.status, 200, "{faults:?}");
        assert_eq!(app.record("NEW").await, None);
        app.assert_consistent().await;
    }
}

/// The response to the creation is lost, and another request deletes the customer before the repeat. The creation happened,
/// so the response is 201, and the repeat creates nothing.
#[tokio::test]
async fn a_lost_creation_is_not_repeated_after_a_deletion() {
    let app = TestApp::new().await;
    let reply = app.raced(vec![Fault::LoseResponse], &create("NEW"), &[delete("NEW")]).await;
    assert_eq!(reply.status, 201);
    assert_eq!(app.record("NEW").await, None);
}

/// What another request can do between a deletion's read and its write.
#[tokio::test]
async fn a_deletion_reads_again_if_the_record_changed() {
    let changes = [
        (add(demo::CUSTOMER_WITH_PHONE, "6105551212"), 200),
        (remove(demo::CUSTOMER_WITH_PHONE, demo::PHONE), 200),
        (delete(demo::CUSTOMER_WITH_PHONE), 404),
    ];
    for (change, status) in changes {
        for lost in [None, Some(Fault::LoseRequest)] {
            let app = TestApp::new().await;
            let faults = lost.iter().cloned().collect();
            let reply = app.raced(faults, &delete(demo::CUSTOMER_WITH_PHONE), std::slice::from_ref(&change)).await;
            assert_eq!(reply.status, status, "{change:?} {lost:?}");
            assert_eq!(app.record(demo::CUSTOMER_WITH_PHONE).await, None);
            app.assert_consistent().await;
            // Each transaction has a token of its own. If one was in doubt, its token was taken before the second read.
            let calls = app.faults.take_calls();
            let writes: Vec<_> = calls.iter().filter(|call| call.operation == "TransactWriteItems").collect();
            let tokens: std::collections::BTreeSet<_> =
                writes.iter().map(|call| call.request["ClientRequestToken"].to_string()).collect();
            assert_eq!(tokens.len(), if status == 200 { 2 } else { 1 });
            assert_eq!(writes.len(), tokens.len() + if lost.is_some() { 2 } else { 0 });
        }
    }
}

#[tokio::test]
async fn a_record_that_was_created_again_is_not_the_one_that_was_read() {
    let app = TestApp::new().await;
    let again = [delete(demo::CUSTOMER), create(demo::CUSTOMER)];
    let reply = app.raced(vec![], &delete(demo::CUSTOMER), &again).await;
    assert_eq!(reply.status, 200);
    // The first transaction was refused, and the second one deleted what the second read saw.
    let writes = app.faults.take_calls().into_iter().filter(|call| call.operation == "TransactWriteItems").count();
    assert_eq!((writes, app.record(demo::CUSTOMER).await), (2, None));
}

#[tokio::test]
async fn a_corrupt_customer_is_not_deleted() {
    let app = TestApp::new().await;
    assert_eq!(app.send(&delete(demo::CUSTOMER_CORRUPT)).await.row(), (500, Some("internal_error")));
    let mut counter = app.counter("+16105551208").await.unwrap();
    counter.insert("ccids".to_owned(), AttributeValue::Ss(vec!["another".to_owned()]));
    app.put(counter).await;
    let before = app.everything().await;
    assert_eq!(app.send(&delete(demo::CUSTOMER_WITH_PHONE)).await.row(), (500, Some("internal_error")));
    assert_eq!(app.everything().await, before);
}

#[tokio::test]
async fn contention_that_outlasts_the_request_wrote_nothing() {
    let app = TestApp::new().await;
    let before = app.everything().await;
    for request in [create("NEW"), delete(demo::CUSTOMER)] {
        let conflict = Fault::cancelled_for(&[json!({ "Code": "TransactionConflict" })]);
        app.faults.writes(std::iter::repeat_n(conflict, 1000));
        let reply = app.send(&request).await;
        assert_eq!(reply.row(), (500, Some("try_again")));
        app.faults.clear();
    }
    assert_eq!(app.everything().await, before);
}

#[tokio::test]
async fn a_write_in_doubt_is_an_internal_error() {
    let app = TestApp::new().await;
    for request in [create("NEW"), delete(demo::CUSTOMER)] {
        app.faults.writes(std::iter::repeat_n(Fault::LoseRequest, 1000));
        let time = std::time::Duration::from_millis(1200);
        let reply = crate::helpers::send(&app.handler, request.http_event(), time).await;
        assert_eq!(reply.row(), (500, Some("internal_error")));
        app.faults.clear();
    }
}

/// Adds, removals, creations and deletions race on few customers. After every burst, each count is correct and no number
/// lists a deleted customer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deletions_racing_adds_keep_every_count_correct() {
    let app = TestApp::new().await;
    let mut random = fastrand::Rng::with_seed(0x00C0_FFEE);
    let ccids = [demo::CUSTOMER, demo::CUSTOMER_ODD, demo::CUSTOMER_WITH_PHONE];
    let numbers = ["6105551208", "6105550001", "6105559950"];
    for _ in 0..40 {
        let burst: Vec<_> = (0..30)
            .map(|_| {
                let (ccid, digits) = (ccids[random.usize(..ccids.len())], numbers[random.usize(..numbers.len())]);
                match random.usize(..6) {
                    0 => create(ccid),
                    1 => delete(ccid),
                    2 => remove(ccid, digits),
                    3 => consent(digits, ["written", "express", "stop"][random.usize(..3)]),
                    _ => add(ccid, digits).body(json!({ "consent_type": "written" })),
                }
            })
            .collect();
        let replies = futures_util::future::join_all(burst.iter().map(|request| app.send(request))).await;
        for reply in replies {
            assert!(matches!(reply.status, 200 | 201 | 404 | 409), "{}", reply.body);
        }
        app.assert_consistent().await;
    }
}
