//! DynamoDB refuses, fails, hangs or loses responses: the function's response, and what was written.

use std::collections::BTreeSet;
use std::time::Duration;

use cdm_lambda::domain::{Ccid, ClientId, CountryCode, Digits, Limits, Phone, RemovePhone};
use cdm_lambda::store::{CallContext, Store};
use serde_json::{Value, json};
use testkit::demo;

use crate::helpers::fault_connector::{Call, Fault};
use crate::helpers::{Reply, TestApp, add, number, remove, send};

/// Enough for a few attempts, and short for a test.
const SHORT: Duration = Duration::from_millis(900);

async fn add_with(app: &TestApp, time: Duration) -> Reply {
    send(&app.handler, add(demo::CUSTOMER, "6105551212").http_event(), time).await
}

async fn phones(app: &TestApp) -> usize {
    number(&app.record(demo::CUSTOMER).await.unwrap()["phone_count"])
}

fn passed() -> Value {
    json!({ "Code": "None" })
}

fn reason(code: &str) -> Value {
    json!({ "Code": code, "Message": "m" })
}

fn definite_refusals() -> Vec<Fault> {
    vec![
        Fault::cancelled(&reason("TransactionConflict"), &passed()),
        Fault::cancelled(&passed(), &reason("TransactionConflict")),
        Fault::cancelled(&reason("ThrottlingError"), &passed()),
        Fault::cancelled(&passed(), &reason("ProvisionedThroughputExceeded")),
        Fault::error(400, "ThrottlingException"),
        Fault::error(400, "ProvisionedThroughputExceededException"),
        Fault::error(400, "RequestLimitExceeded"),
        Fault::Unreachable,
    ]
}

fn unknown_outcomes() -> Vec<Fault> {
    vec![
        Fault::LoseResponse,
        Fault::LoseRequest,
        Fault::error(500, "InternalServerError"),
        Fault::error(503, "ServiceUnavailable"),
        Fault::error(400, "TransactionInProgressException"),
        Fault::Garbage(200, "<html>"),
        Fault::Garbage(200, "{\"half"),
        Fault::Garbage(400, "<html>"),
        Fault::Garbage(502, ""),
    ]
}

#[tokio::test]
async fn every_single_failure_is_repeated_and_adds_once() {
    for fault in definite_refusals().into_iter().chain(unknown_outcomes()) {
        let app = TestApp::new().await;
        app.faults.writes([fault.clone()]);
        let reply = add_with(&app, crate::helpers::TIMEOUT).await;
        assert_eq!(reply.status, 200, "{fault:?}: {}", reply.body);
        assert_eq!(phones(&app).await, 1, "{fault:?}");
        app.assert_consistent().await;
    }
}

#[tokio::test]
async fn a_refusal_that_outlasts_the_request_is_try_again_and_wrote_nothing() {
    for fault in definite_refusals() {
        let app = TestApp::new().await;
        let before = app.everything().await;
        app.faults.writes(std::iter::repeat_n(fault.clone(), 1000));
        let reply = add_with(&app, SHORT).await;
        assert_eq!(reply.row(), (500, Some("try_again")), "{fault:?}");
        assert!(["1", "2", "3", "4", "5"].contains(&reply.headers["retry-after"].as_str().unwrap()));
        assert_eq!(app.everything().await, before);
    }
}

/// Callers that were refused together must not come back together.
#[tokio::test]
async fn the_time_to_wait_is_spread() {
    let app = TestApp::new().await;
    let mut seconds = BTreeSet::new();
    // The chance that one of the five values is missing from 256 draws is less than one in 10^24.
    for _ in 0..256 {
        let reply = add_with(&app, Duration::from_millis(100)).await;
        seconds.insert(reply.headers["retry-after"].as_str().unwrap().to_owned());
    }
    assert_eq!(seconds, ["1", "2", "3", "4", "5"].map(str::to_owned).into());
}

#[tokio::test]
async fn one_unknown_outcome_among_refusals_is_an_internal_error() {
    for fault in unknown_outcomes() {
        let app = TestApp::new().await;
        app.faults.writes([Fault::error(400, "ThrottlingException"), fault.clone()]);
        app.faults.writes(std::iter::repeat_n(Fault::error(400, "ThrottlingException"), 1000));
        let reply = add_with(&app, SHORT).await;
        assert_eq!(reply.row(), (500, Some("internal_error")), "{fault:?}");
        assert_eq!(reply.headers.get("retry-after"), None);
        assert!(reply.message().contains("retry") && reply.message().contains("phone_already_added"));
    }
}

#[tokio::test]
async fn a_hanging_database_is_an_internal_error() {
    let app = TestApp::new().await;
    app.faults.writes(std::iter::repeat_n(Fault::Hang, 1000));
    let reply = add_with(&app, SHORT).await;
    assert_eq!(reply.row(), (500, Some("internal_error")));
}

#[tokio::test]
async fn without_time_no_attempt_begins() {
    let app = TestApp::new().await;
    let reply = add_with(&app, Duration::from_millis(100)).await;
    assert_eq!(reply.row(), (500, Some("try_again")));
    assert!(app.faults.take_calls().is_empty());
}

/// After a certain refusal nothing is in doubt, so the next attempt has a new token: AWS does not document whether
/// a cancelled transaction keeps its token. From the first attempt in doubt on, the token stays the same.
#[tokio::test]
async fn the_token_is_new_until_an_attempt_is_in_doubt() {
    let app = TestApp::new().await;
    app.faults.writes([
        Fault::cancelled(&reason("TransactionConflict"), &passed()),
        Fault::error(400, "ThrottlingException"),
        Fault::Unreachable,
        Fault::LoseRequest,
        Fault::error(400, "ThrottlingException"),
        Fault::cancelled(&reason("TransactionConflict"), &passed()),
        Fault::Unreachable,
        Fault::error(500, "InternalServerError"),
    ]);
    assert_eq!(add_with(&app, crate::helpers::TIMEOUT).await.status, 200);
    let mut writes = app.faults.take_calls();
    writes.retain(|call| call.operation == "TransactWriteItems");
    let token = |call: &Call| call.request["ClientRequestToken"].as_str().unwrap().to_owned();
    let tokens: Vec<_> = writes.iter().map(token).collect();
    assert!(tokens.iter().all(|token| (1..=36).contains(&token.len())));
    assert_eq!(tokens.len(), 9);
    let (certain, in_doubt) = tokens.split_at(4);
    assert_eq!(certain.iter().collect::<BTreeSet<_>>().len(), 4, "{tokens:?}");
    assert!(in_doubt.iter().all(|token| token == &certain[3]), "{tokens:?}");
    // Whatever the token is, each attempt sends the same transaction.
    let asked = |call: &Call| call.request["TransactItems"].clone();
    assert!(writes.iter().all(|call| asked(call) == asked(&writes[0])));
    // Another request has another token.
    app.send(&add(demo::CUSTOMER, "6105551213")).await;
    let next = app.faults.take_calls().pop().unwrap();
    assert!(!tokens.contains(&token(&next)));
}

/// The add is committed and its response lost. Before the next attempt, another request removes the number. It must
/// stay removed, and the add is still reported as successful.
#[tokio::test]
async fn a_number_removed_after_a_lost_response_does_not_come_back() {
    let app = TestApp::new().await;
    let lost = Fault::LoseResponse;
    // The second attempt hangs until it times out, which leaves time for the removal.
    app.faults.writes([lost, Fault::Hang]);
    let adding = add_with(&app, crate::helpers::TIMEOUT);
    let removing = async {
        let other = app.another_environment();
        loop {
            let reply = send(&other, remove(demo::CUSTOMER, "6105551212").http_event(), crate::helpers::TIMEOUT).await;
            if reply.status == 200 {
                break;
            }
            assert_eq!(reply.code(), Some("phone_not_found"), "not added yet");
        }
    };
    let (added, ()) = tokio::join!(adding, removing);
    assert_eq!(added.status, 200, "{}", added.body);
    assert_eq!(phones(&app).await, 0);
    app.assert_consistent().await;
}

#[tokio::test]
async fn a_permanent_refusal_is_not_repeated() {
    for name in [
        "AccessDeniedException",
        "ResourceNotFoundException",
        "ValidationException",
        "IdempotentParameterMismatchException",
    ] {
        let app = TestApp::new().await;
        app.faults.writes([Fault::error(400, name)]);
        let reply = add_with(&app, crate::helpers::TIMEOUT).await;
        assert_eq!(reply.row(), (500, Some("internal_error")), "{name}");
        assert!(!reply.body.to_string().contains(name));
        let writes = app.faults.take_calls().into_iter().filter(|call| call.operation == "TransactWriteItems").count();
        assert_eq!(writes, 1, "{name}");
        assert_eq!(phones(&app).await, 0);
    }
}

/// Every pair of reasons, through the whole handler: the response, and whether the transaction was repeated.
#[tokio::test]
async fn every_pair_of_reasons_has_its_response() {
    let full_record = json!({ "Code": "ConditionalCheckFailed", "Item": {
        "phone_count": { "N": "50" }, "notification_channels": { "M": {} } } });
    let has_phone = json!({ "Code": "ConditionalCheckFailed", "Item": {
        "phone_count": { "N": "1" }, "notification_channels": { "M": { "+16105551212": { "M": {} } } } } });
    let no_record = json!({ "Code": "ConditionalCheckFailed" });
    let corrupt = json!({ "Code": "ConditionalCheckFailed", "Item": {
        "phone_count": { "N": "1" }, "notification_channels": { "M": {} } } });
    let full_counter = json!({ "Code": "ConditionalCheckFailed", "Item": { "ccid_count": { "N": "50" } } });
    let conflict = reason("TransactionConflict");
    let throttled = reason("ThrottlingError");
    let other = reason("ItemCollectionSizeLimitExceeded");
    let seconds = [passed(), full_counter.clone(), conflict.clone(), throttled.clone(), other.clone()];

    let mut rows = Vec::new();
    // The record failed its condition: it alone decides.
    for second in &seconds {
        rows.push((full_record.clone(), second.clone(), Some("customer_phone_limit_reached"), 1));
        rows.push((has_phone.clone(), second.clone(), Some("phone_already_added"), 1));
        rows.push((no_record.clone(), second.clone(), Some("customer_not_found"), 1));
        rows.push((corrupt.clone(), second.clone(), Some("internal_error"), 1));
    }
    // The record met a conflict or a throttle: repeat, even if the counter failed. The repeat passes.
    for first in [&conflict, &throttled] {
        for second in &seconds {
            rows.push((first.clone(), second.clone(), None, 2));
        }
    }
    // The record passed.
    rows.push((passed(), full_counter, Some("phone_customer_limit_reached"), 1));
    rows.push((passed(), conflict, None, 2));
    rows.push((passed(), throttled, None, 2));
    rows.push((passed(), json!({ "Code": "ConditionalCheckFailed" }), None, 2));
    // Anything else.
    rows.push((passed(), passed(), Some("internal_error"), 1));
    rows.push((passed(), other.clone(), Some("internal_error"), 1));
    for second in seconds {
        rows.push((other.clone(), second, Some("internal_error"), 1));
    }

    let app = TestApp::new().await;
    for (place, (first, second, code, attempts)) in rows.into_iter().enumerate() {
        let digits = format!("6105557{place:03}");
        let ccid = format!("FAM-{:05}", 1 + place % 50);
        app.faults.take_calls();
        app.faults.writes([Fault::cancelled(&first, &second)]);
        // The scripted item has this number.
        let digits = if first == has_phone { "6105551212" } else { &digits };
        let reply = app.send(&add(&ccid, digits)).await;
        assert_eq!(reply.code(), code, "{first} {second}");
        let mut calls = app.faults.take_calls();
        calls.retain(|call| call.operation == "TransactWriteItems");
        assert_eq!(calls.len(), attempts, "{first} {second}");
    }
    app.assert_consistent().await;
}

/// The operator's tools continue after a corrupt item, and stop if the database fails.
#[tokio::test]
async fn corruption_is_distinguished_from_a_failing_database() {
    let app = TestApp::new().await;
    let phone = Phone::new(Digits::parse("6105551212").unwrap(), CountryCode::default()).unwrap();
    let [client_id, ccid] = [demo::CLIENT, demo::CUSTOMER_CORRUPT];
    let (client_id, ccid) = (ClientId::parse(client_id).unwrap(), Ccid::parse(ccid).unwrap());
    let remove = RemovePhone { client_id, ccid, phone };
    let context = || CallContext::within(crate::helpers::TIMEOUT);
    for (table, is_corruption) in [(demo::TABLE, true), ("no-such-table", false)] {
        let store = Store::new(app.client.clone(), table.to_owned(), Limits::CONTRACT);
        let removed = store.remove_phone(&remove, &mut context()).await.unwrap_err();
        let read = store.customer(&remove.client_id, &remove.ccid, &mut context()).await.unwrap_err();
        for error in [removed, read] {
            assert_eq!(error.into_detail().unwrap().cause.is_corruption(), is_corruption, "{table}");
        }
    }
}

#[tokio::test]
async fn a_counter_that_stays_unclear_is_corrupt() {
    let app = TestApp::new().await;
    let unclear = Fault::cancelled(
        &passed(),
        &json!({ "Code": "ConditionalCheckFailed", "Item": { "ccid_count": { "N": "7" } } }),
    );
    app.faults.writes([unclear.clone(), unclear.clone(), Fault::Pass]);
    assert_eq!(add_with(&app, crate::helpers::TIMEOUT).await.row(), (500, Some("internal_error")));
    assert_eq!(app.faults.take_calls().len(), 3, "the key, and two attempts");
}

/// A refusal after an attempt in doubt is final only after the token was taken. If DynamoDB reports that the
/// attempt in doubt took the token, the function sends its transaction again: 200 only if DynamoDB reports it as
/// committed.
#[tokio::test]
async fn a_refusal_after_an_attempt_in_doubt_is_settled_by_the_token() {
    let has_phone = json!({ "Code": "ConditionalCheckFailed", "Item": {
        "phone_count": { "N": "1" }, "notification_channels": { "M": { "+16105551212": { "M": {} } } } } });
    let refused = || Fault::cancelled(&has_phone, &passed());
    let mismatch = || Fault::error(400, "IdempotentParameterMismatchException");
    let throttled = || Fault::error(400, "ThrottlingException");
    let cancelled = |code: &str| Fault::cancelled_for(&[json!({ "Code": code })]);
    let of_the_record = |code: &str| Fault::cancelled(&json!({ "Code": code }), &passed());
    let rows = [
        // The token was free, so nothing was committed under it.
        (vec![Fault::LoseRequest, refused()], (409, Some("phone_already_added")), 0, 3),
        (
            vec![Fault::LoseRequest, refused(), throttled(), Fault::LoseRequest],
            (409, Some("phone_already_added")),
            0,
            5,
        ),
        // The transaction that takes the token is cancelled, because the table is throttled or because of another transaction.
        (vec![Fault::LoseRequest, refused(), cancelled("ThrottlingError")], (409, Some("phone_already_added")), 0, 4),
        (
            vec![Fault::LoseRequest, refused(), cancelled("ProvisionedThroughputExceeded")],
            (409, Some("phone_already_added")),
            0,
            4,
        ),
        (
            vec![Fault::LoseRequest, refused(), cancelled("TransactionConflict")],
            (409, Some("phone_already_added")),
            0,
            4,
        ),
        // The token was taken: the first attempt was committed, and its response was lost.
        (vec![Fault::LoseResponse, refused()], (200, None), 1, 4),
        (vec![Fault::LoseResponse, refused(), Fault::LoseResponse, throttled()], (200, None), 1, 6),
        // The repeat of the transaction meets another one, or its item is throttled.
        (vec![Fault::LoseResponse, refused(), Fault::Pass, of_the_record("ThrottlingError")], (200, None), 1, 5),
        (vec![Fault::LoseResponse, refused(), Fault::Pass, of_the_record("TransactionConflict")], (200, None), 1, 5),
        // DynamoDB contradicts itself.
        (vec![Fault::LoseRequest, refused(), mismatch(), refused()], (500, Some("internal_error")), 0, 4),
        (
            vec![Fault::LoseRequest, refused(), Fault::error(400, "AccessDeniedException")],
            (500, Some("internal_error")),
            0,
            3,
        ),
    ];
    for (faults, reported, phone_count, writes) in rows {
        let app = TestApp::new().await;
        app.faults.writes(faults.clone());
        let reply = add_with(&app, crate::helpers::TIMEOUT).await;
        assert_eq!((reply.row(), phones(&app).await), (reported, phone_count), "{faults:?}");
        let calls = app.faults.take_calls();
        let calls: Vec<_> = calls.iter().filter(|call| call.operation == "TransactWriteItems").collect();
        assert_eq!(calls.len(), writes, "{faults:?}");
        let token = &calls[0].request["ClientRequestToken"];
        assert!(calls.iter().all(|call| &call.request["ClientRequestToken"] == token), "{faults:?}");
    }
    // The call that settles the token is throttled until the deadline, so the refusal is not final.
    for faults in [vec![Fault::LoseRequest, refused()], vec![Fault::LoseRequest, refused(), mismatch()]] {
        let app = TestApp::new().await;
        app.faults.writes(faults.into_iter().chain(std::iter::repeat_n(throttled(), 1000)));
        let reply = add_with(&app, Duration::from_millis(2_500)).await;
        assert_eq!(reply.row(), (500, Some("internal_error")));
    }
}
