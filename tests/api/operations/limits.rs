//! 50 numbers per customer and 50 customers per number, within each client, under any concurrency.

use futures_util::future::join_all;
use testkit::demo;

use crate::helpers::{Reply, Request, TestApp, add, number, remove};

/// Sends all requests at once. Repeats those with a 500, with the same `Idempotency-Key`, as the contract tells callers to. An
/// `internal_error` is one of them: on a busy machine an attempt can run out of time, and its outcome stays unknown.
async fn crowd(app: &TestApp, requests: Vec<Request>) -> Vec<Reply> {
    let settled = requests.into_iter().map(|request| async {
        let request = request.header("Idempotency-Key", "of this request alone");
        loop {
            let reply = app.send(&request).await;
            if reply.status != 500 {
                return reply;
            }
        }
    });
    join_all(settled).await
}

fn count(replies: &[Reply], row: (u16, Option<&str>)) -> usize {
    replies.iter().filter(|reply| reply.row() == row).count()
}

#[tokio::test]
async fn the_51st_number_of_a_customer_is_refused() {
    let app = TestApp::new().await;
    assert_eq!(app.send(&add(demo::CUSTOMER_WITH_49, "6105551212")).await.status, 200);
    let before = app.everything().await;
    let reply = app.send(&add(demo::CUSTOMER_WITH_49, "6105551213")).await;
    assert_eq!(reply.row(), (409, Some("customer_phone_limit_reached")));
    // A number that is on the record is reported as such, also on a full record.
    let there = app.send(&add(demo::CUSTOMER_WITH_49, "6105551212")).await;
    assert_eq!(there.row(), (409, Some("phone_already_added")));
    assert_eq!(app.everything().await, before);
    app.assert_consistent().await;
}

#[tokio::test]
async fn the_51st_customer_of_a_number_is_refused() {
    let app = TestApp::new().await;
    assert_eq!(app.send(&add(demo::CUSTOMER, demo::PHONE_ON_49)).await.status, 200);
    let before = app.everything().await;
    let reply = app.send(&add(demo::CUSTOMER_ODD, demo::PHONE_ON_49)).await;
    assert_eq!(reply.row(), (409, Some("phone_customer_limit_reached")));
    assert_eq!(app.everything().await, before);
    app.assert_consistent().await;
}

#[tokio::test]
async fn a_missing_customer_ranks_first_and_a_full_record_before_a_full_number() {
    let app = TestApp::new().await;
    assert_eq!(app.send(&add("unknown", demo::PHONE_ON_50)).await.row(), (404, Some("customer_not_found")));
    let both = app.send(&add(demo::CUSTOMER_WITH_50, demo::PHONE_ON_50)).await;
    assert_eq!(both.row(), (409, Some("customer_phone_limit_reached")));
    let there = app.send(&add("FAM-00001", demo::PHONE_ON_50)).await;
    assert_eq!(there.row(), (409, Some("phone_already_added")));
}

#[tokio::test]
async fn a_removal_frees_both_limits() {
    let app = TestApp::new().await;
    assert_eq!(app.send(&remove(demo::CUSTOMER_WITH_50, "6105550001")).await.status, 200);
    assert_eq!(app.send(&add(demo::CUSTOMER_WITH_50, "6105551212")).await.status, 200);
    assert_eq!(app.send(&remove("FAM-00001", demo::PHONE_ON_50)).await.status, 200);
    assert_eq!(app.send(&add(demo::CUSTOMER, demo::PHONE_ON_50)).await.status, 200);
    app.assert_consistent().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_1000_concurrent_adds_to_one_record_exactly_50_succeed() {
    let app = TestApp::new().await;
    let requests = (0..1000).map(|number| add(demo::CUSTOMER, &format!("6106{number:06}"))).collect();
    let replies = crowd(&app, requests).await;
    assert_eq!(count(&replies, (200, None)), 50);
    assert_eq!(count(&replies, (409, Some("customer_phone_limit_reached"))), 950);
    assert_eq!(number(&app.record(demo::CUSTOMER).await.unwrap()["phone_count"]), 50);
    app.assert_consistent().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_1000_concurrent_customers_for_one_number_exactly_50_get_it() {
    let app = TestApp::new().await;
    let ccids: Vec<_> = (0..1000).map(|number| format!("CROWD-{number:04}")).collect();
    for ccid in &ccids {
        let mut record = app.record(demo::CUSTOMER).await.unwrap();
        let pk = format!("CLIENT#{}#CUSTOMER#{ccid}", demo::CLIENT);
        record.insert("pk".to_owned(), crate::helpers::text(&pk));
        app.put(record).await;
    }
    let requests = ccids.iter().map(|ccid| add(ccid, "6105551212")).collect();
    let replies = crowd(&app, requests).await;
    assert_eq!(count(&replies, (200, None)), 50);
    assert_eq!(count(&replies, (409, Some("phone_customer_limit_reached"))), 950);
    assert_eq!(number(&app.counter("+16105551212").await.unwrap()["ccid_count"]), 50);
    app.assert_consistent().await;
}

#[tokio::test]
async fn clients_neither_see_nor_exhaust_each_other() {
    let app = TestApp::new().await;
    let theirs = |digits| add(demo::CUSTOMER, digits).client(demo::OTHER_CLIENT).key(demo::OTHER_KEY);
    // For the demo client, the first number is full and the second is on a record. For the other client both are new.
    for digits in [demo::PHONE_ON_50, demo::PHONE] {
        assert_eq!(app.send(&theirs(digits)).await.status, 200);
    }
    // The other client's record with the same ccid is a different record.
    assert_eq!(app.send(&add(demo::CUSTOMER, demo::PHONE)).await.status, 200);
    assert_eq!(number(&app.record(demo::CUSTOMER).await.unwrap()["phone_count"]), 1);
    // A customer that only the demo client has.
    let reply =
        app.send(&add(demo::CUSTOMER_WITH_50, "6105551212").client(demo::OTHER_CLIENT).key(demo::OTHER_KEY)).await;
    assert_eq!(reply.row(), (404, Some("customer_not_found")));
    app.assert_consistent().await;
}

#[tokio::test]
async fn nothing_is_written_by_any_refusal() {
    let app = TestApp::new().await;
    let before = app.everything().await;
    let refused = [
        (400, add(demo::CUSTOMER, "1")),
        (401, add(demo::CUSTOMER, "6105551212").no_key()),
        (404, add("unknown", "6105551212")),
        (405, add(demo::CUSTOMER, "6105551212").method("DELETE")),
        (409, add(demo::CUSTOMER_WITH_PHONE, demo::PHONE)),
        (409, add(demo::CUSTOMER_WITH_50, "6105551212")),
        (409, add(demo::CUSTOMER, demo::PHONE_ON_50)),
        (409, add(demo::CUSTOMER_WITH_PHONE, demo::PHONE).header("idempotency-key", demo::IDEMPOTENCY_KEY)),
        (404, remove("unknown", "6105551212")),
        (404, remove(demo::CUSTOMER, "6105551212")),
        (500, add(demo::CUSTOMER_CORRUPT, "6105551212")),
    ];
    for (status, request) in refused {
        assert_eq!(app.send(&request).await.status, status, "{request:?}");
    }
    assert_eq!(app.everything().await, before);
}
