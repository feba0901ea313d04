//! Consent: it belongs to a number, whatever customer has it.

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Value, json};
use testkit::demo;

use crate::helpers::fault_connector::{Fault, temporary_faults};
use crate::helpers::{Request, TestApp, add, consent, create, customer, delete, number, phone, remove, send};

const NUMBER: &str = "6105551212";
const E164: &str = "+16105551212";

fn stating(ccid: &str, consent_type: &str) -> Request {
    add(ccid, NUMBER).body(json!({ "consent_type": consent_type }))
}

/// The consent of [`NUMBER`] as each operation shows it, which must be the same. `None` if none was stated.
async fn shown(app: &TestApp, ccids: &[&str]) -> Option<String> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let of_number = app.send(&phone(NUMBER)).await;
    let consent = text(&of_number.body["consent"]["consent_type"]);
    for ccid in ccids {
        let record = app.send(&customer(ccid)).await;
        let channels = record.body["notification_channels"].as_array().unwrap();
        let channel = channels.iter().find(|channel| channel["channel_addr"] == E164).unwrap();
        assert_eq!(text(&channel["consent_type"]), consent, "{ccid}");
    }
    consent
}

#[tokio::test]
async fn a_change_answers_with_the_consent() {
    let app = TestApp::new().await;
    let reply = app.send(&consent(demo::PHONE, "express")).await;
    assert_eq!(reply.status, 200);
    let updated_at = reply.body["consent"]["updated_at"].clone();
    assert!(updated_at.as_str().unwrap() > "2026");
    assert_eq!(
        reply.body,
        json!({ "consent": {
            "client_id": "demo-clinic", "channel_type": "sms", "channel_addr": "+16105551208", "consent_type": "express",
            "created_at": "2024-11-19T08:00:00.000Z", "updated_at": updated_at,
        }})
    );
    // A repeat changes nothing.
    let before = app.everything().await;
    for _ in 0..2 {
        assert_eq!(app.send_rest(&consent(demo::PHONE, "express")).await.body, reply.body);
    }
    assert_eq!(app.everything().await, before);
    assert_eq!(app.send(&phone(demo::PHONE)).await.body["consent"], reply.body["consent"]);
}

#[tokio::test]
async fn a_consent_holds_for_every_customer_of_the_number() {
    let app = TestApp::new().await;
    let ccids = [demo::CUSTOMER, demo::CUSTOMER_ODD];
    assert_eq!(app.send(&add(ccids[0], NUMBER)).await.status, 200);
    assert_eq!(shown(&app, &ccids[..1]).await, None, "a consent is never guessed");
    assert_eq!(app.send(&stating(ccids[1], "express")).await.status, 200);
    assert_eq!(shown(&app, &ccids).await.as_deref(), Some("express"));
    for consent_type in ["written", "stop", "express", "stop", "written", "express", "written"] {
        let reply = app.send(&consent(NUMBER, consent_type)).await;
        assert_eq!((reply.status, &reply.body["consent"]["consent_type"]), (200, &json!(consent_type)));
        assert_eq!(shown(&app, &ccids).await.as_deref(), Some(consent_type));
    }
    // Another client's consent is its own.
    let other = |request: Request| request.client(demo::OTHER_CLIENT).key(demo::OTHER_KEY);
    assert_eq!(app.send(&other(consent(NUMBER, "written"))).await.row(), (404, Some("phone_not_found")));
    assert_eq!(app.send(&other(consent(NUMBER, "stop"))).await.status, 200);
    assert_eq!(shown(&app, &ccids).await.as_deref(), Some("written"));
}

#[tokio::test]
async fn a_stop_is_taken_for_any_number_and_other_values_only_for_a_known_one() {
    let app = TestApp::new().await;
    for consent_type in ["written", "express"] {
        assert_eq!(app.send(&consent(NUMBER, consent_type)).await.row(), (404, Some("phone_not_found")));
    }
    assert_eq!(app.counter(E164).await, None);
    let reply = app.send(&consent(NUMBER, "stop")).await;
    let stopped = &reply.body["consent"];
    assert_eq!((reply.status, &stopped["created_at"]), (200, &stopped["updated_at"]));
    assert_eq!(number(&app.counter(E164).await.unwrap()["ccid_count"]), 0);
    // The item does not refuse later adds.
    assert_eq!(app.send(&stating(demo::CUSTOMER, "written")).await.status, 200);
    assert_eq!(shown(&app, &[demo::CUSTOMER]).await.as_deref(), Some("stop"));
    app.assert_consistent().await;
    // A number whose only customer removed it, without a consent, is unknown again.
    assert_eq!(app.send(&add(demo::CUSTOMER, "6105551213")).await.status, 200);
    assert_eq!(app.send(&remove(demo::CUSTOMER, "6105551213")).await.status, 200);
    assert_eq!(app.send(&consent("6105551213", "written")).await.row(), (404, Some("phone_not_found")));
    assert_eq!(app.send(&consent("6105551213", "stop")).await.status, 200);
    // A number with a stored consent is known, even if no customer has it.
    assert_eq!(app.send(&consent("6105551213", "written")).await.status, 200);
    app.assert_consistent().await;
}

#[tokio::test]
async fn an_add_states_the_consent_but_never_lifts_a_stop() {
    // Before, what the add states, after.
    let rows = [
        (None, None, None),
        (None, Some("written"), Some("written")),
        (None, Some("express"), Some("express")),
        (None, Some("stop"), Some("stop")),
        (Some("written"), None, Some("written")),
        (Some("written"), Some("written"), Some("written")),
        (Some("written"), Some("express"), Some("express")),
        (Some("written"), Some("stop"), Some("stop")),
        (Some("express"), None, Some("express")),
        (Some("express"), Some("written"), Some("written")),
        (Some("express"), Some("express"), Some("express")),
        (Some("express"), Some("stop"), Some("stop")),
        (Some("stop"), None, Some("stop")),
        (Some("stop"), Some("written"), Some("stop")),
        (Some("stop"), Some("express"), Some("stop")),
        (Some("stop"), Some("stop"), Some("stop")),
    ];
    for (before, stated, after) in rows {
        let app = TestApp::new().await;
        let with = |ccid, consent: Option<&str>| match consent {
            None => add(ccid, NUMBER),
            Some(consent) => stating(ccid, consent),
        };
        assert_eq!(app.send(&with(demo::CUSTOMER_ODD, before)).await.status, 200);
        let first = app.send(&phone(NUMBER)).await.body["consent"].clone();
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        assert_eq!(app.send(&with(demo::CUSTOMER, stated)).await.status, 200);
        let row = format!("{before:?} {stated:?}");
        assert_eq!(shown(&app, &[demo::CUSTOMER, demo::CUSTOMER_ODD]).await.as_deref(), after, "{row}");
        let second = app.send(&phone(NUMBER)).await.body["consent"].clone();
        if before == after {
            assert_eq!(second, first, "{row}: nothing changed");
        } else if before.is_some() {
            assert_eq!(second["created_at"], first["created_at"], "{row}");
            assert!(second["updated_at"].as_str() > first["updated_at"].as_str(), "{row}");
        }
    }
}

#[tokio::test]
async fn lifting_a_stop_removes_the_consent_of_adds_made_during_it() {
    let app = TestApp::new().await;
    assert_eq!(app.send(&stating(demo::CUSTOMER, "stop")).await.status, 200);
    assert_eq!(app.send(&stating(demo::CUSTOMER_ODD, "written")).await.status, 200);
    let lifted = app.send(&consent(NUMBER, "express")).await;
    assert_eq!(lifted.body["consent"]["consent_type"], "express");
    assert_eq!(shown(&app, &[demo::CUSTOMER, demo::CUSTOMER_ODD]).await.as_deref(), Some("express"));
    let item = app.counter(E164).await.unwrap();
    assert!(!item.contains_key("stop_at") && !item.contains_key("written_at"));
}

#[tokio::test]
async fn a_refused_or_replayed_add_changes_no_consent() {
    let app = TestApp::new().await;
    let keyed = |request: Request| request.header("idempotency-key", "key-1");
    assert_eq!(app.send(&keyed(stating(demo::CUSTOMER, "written"))).await.status, 200);
    assert_eq!(app.send(&consent(NUMBER, "express")).await.status, 200);
    let before = app.everything().await;
    let refused = [
        (keyed(stating(demo::CUSTOMER, "written")), 200),
        (keyed(stating(demo::CUSTOMER, "stop")), 409),
        (stating(demo::CUSTOMER, "stop"), 409),
        (stating("unknown", "stop"), 404),
        (stating(demo::CUSTOMER_WITH_50, "stop"), 409),
        (stating(demo::CUSTOMER_CORRUPT, "stop"), 500),
        (add(demo::CUSTOMER, demo::PHONE_ON_50).body(json!({ "consent_type": "stop" })), 409),
    ];
    for (request, status) in refused {
        assert_eq!(app.send(&request).await.status, status, "{request:?}");
        assert_eq!(app.everything().await, before, "{request:?}");
    }
}

#[tokio::test]
async fn every_form_of_a_number_changes_it() {
    let app = TestApp::new().await;
    assert_eq!(app.send(&add(demo::CUSTOMER, "0612345678").body(json!({ "country_code": "33" }))).await.status, 200);
    let body = |code: Option<&str>, consent_type: &str| match code {
        None => json!({ "consent_type": consent_type }),
        Some(code) => json!({ "consent_type": consent_type, "country_code": code }),
    };
    for (number, code) in [("0612345678", Some("33")), ("+33612345678", None), ("+33612345678", Some("+33"))] {
        for consent_type in ["written", "express"] {
            let request = consent(number, consent_type).body(body(code, consent_type));
            for reply in [app.send(&request).await, app.send_rest(&request).await] {
                assert_eq!(reply.status, 200, "{number} {code:?}");
                assert_eq!(reply.body["consent"]["channel_addr"], "+33612345678");
                assert_eq!(reply.body["consent"]["consent_type"], consent_type);
            }
        }
    }
}

/// A stop under another form would be stored beside the number, and would not stop it.
#[tokio::test]
async fn only_the_one_e164_form_of_a_number_is_accepted() {
    let app = TestApp::new().await;
    let before = app.everything().await;
    for other_form in ["+330612345678", "+116105551208", "+1610555120"] {
        for consent_type in ["stop", "written"] {
            let request = consent(other_form, consent_type);
            for reply in [app.send(&request).await, app.send_rest(&request).await] {
                let rule = "must be the number's E.164 form, without a trunk prefix";
                assert_eq!(reply.row(), (400, Some("invalid_request")), "{other_form}");
                assert_eq!(reply.body["errors"], json!([{ "field": "path.phone_number", "message": rule }]));
            }
        }
    }
    assert_eq!(app.everything().await, before);
}

#[tokio::test]
async fn every_bad_field_is_reported() {
    let app = TestApp::new().await;
    let before = app.everything().await;
    let every = consent("610", "verbal")
        .parameter("channel_type", "voice")
        .body(json!({ "consent_type": "verbal", "country_code": "x", "client_source": "web" }));
    let rows: [(Request, &[&str]); 9] = [
        (
            every,
            &["path.phone_number", "path.channel_type", "body.consent_type", "body.country_code", "body.client_source"],
        ),
        (consent(demo::PHONE, "stop").parameter("channel_type", "SMS"), &["path.channel_type"]),
        (consent(demo::PHONE, "stop").body("{}"), &["body.consent_type"]),
        (consent(demo::PHONE, "stop").body(""), &["body.consent_type"]),
        (consent(demo::PHONE, "stop").body(r#"{"consent_type":null}"#), &["body.consent_type"]),
        (consent(demo::PHONE, "stop").body(r#"{"consent_type":"stop","consent_type":"stop"}"#), &["body.consent_type"]),
        (consent(demo::PHONE, "stop").body("[]"), &["body.consent_type", "body"]),
        (
            consent("+16105551208", "stop").body(json!({ "consent_type": "stop", "country_code": "33" })),
            &["body.country_code"],
        ),
        (consent("26105551208", "stop"), &["path.phone_number"]),
    ];
    for (request, fields) in rows {
        for reply in [app.send(&request).await, app.send_rest(&request).await] {
            assert_eq!((reply.row(), reply.fields()), ((400, Some("invalid_request")), fields.to_vec()), "{request:?}");
        }
    }
    assert_eq!(app.send(&consent(demo::PHONE, "stop").no_key()).await.row(), (401, Some("unauthorized")));
    assert_eq!(app.everything().await, before);
}

/// A lift began under one stop. Before its write arrives, that stop is lifted and a newer stop is answered.
#[tokio::test]
async fn a_lift_that_met_a_newer_stop_reads_it_before_it_lifts_it() {
    for faults in [vec![], vec![Fault::LoseRequest]] {
        let app = TestApp::new().await;
        assert_eq!(app.send(&consent(demo::PHONE, "stop")).await.status, 200);
        let newer = [consent(demo::PHONE, "express"), consent(demo::PHONE, "stop")];
        app.faults.take_calls();
        let reply = app.raced(faults.clone(), &consent(demo::PHONE, "written"), &newer).await;
        assert_eq!((reply.status, &reply.body["consent"]["consent_type"]), (200, &json!("written")));
        let calls = app.faults.take_calls();
        let reads = calls.iter().filter(|call| call.operation == "GetItem").count();
        assert_eq!(reads, 2, "{faults:?}: it lifted a stop that it had read");
        assert_eq!(app.send(&phone(demo::PHONE)).await.body["consent"], reply.body["consent"]);
    }
}

/// The worst case: an attempt of a lift is still on its way when its request is answered with 500, and arrives after a newer
/// stop. DynamoDB refuses it, because it names the stop that it lifts.
#[tokio::test]
async fn an_attempt_that_arrives_late_never_undoes_a_newer_stop() {
    let app = TestApp::new().await;
    assert_eq!(app.send(&consent(demo::PHONE, "stop")).await.status, 200);
    app.faults.take_calls();
    app.faults.writes(std::iter::repeat_n(Fault::LoseRequest, 1000));
    let time = std::time::Duration::from_millis(1200);
    let reply = send(&app.handler, consent(demo::PHONE, "written").http_event(), time).await;
    assert_eq!(reply.row(), (500, Some("internal_error")));
    app.faults.clear();
    let late = app.faults.take_calls().into_iter().rfind(|call| call.operation == "TransactWriteItems").unwrap();

    for consent_type in ["express", "stop"] {
        assert_eq!(app.send(&consent(demo::PHONE, consent_type)).await.status, 200);
    }
    let before = app.everything().await;
    let refused = app.deliver(&late).await;
    assert_eq!(refused["CancellationReasons"][0]["Code"], "ConditionalCheckFailed", "{refused}");
    assert_eq!(app.everything().await, before);
}

#[tokio::test]
async fn a_change_happens_once_whatever_is_lost() {
    for faults in temporary_faults() {
        for consent_type in ["stop", "express"] {
            let app = TestApp::new().await;
            app.faults.writes(faults.clone());
            let reply = app.send(&consent(demo::PHONE, consent_type)).await;
            assert_eq!(
                (reply.status, &reply.body["consent"]["consent_type"]),
                (200, &json!(consent_type)),
                "{faults:?}"
            );
            assert_eq!(app.send(&phone(demo::PHONE)).await.body["consent"], reply.body["consent"], "{faults:?}");
        }
    }
}

/// The response to a change is lost, and another request changes the consent again before the repeat. The repeat does not
/// undo the newer change.
#[tokio::test]
async fn a_lost_change_is_not_repeated_over_a_newer_one() {
    for (first, newer) in [("stop", "written"), ("express", "stop")] {
        let app = TestApp::new().await;
        let reply =
            app.raced(vec![Fault::LoseResponse], &consent(demo::PHONE, first), &[consent(demo::PHONE, newer)]).await;
        assert_eq!((reply.status, &reply.body["consent"]["consent_type"]), (200, &json!(first)));
        assert_eq!(app.send(&phone(demo::PHONE)).await.body["consent"]["consent_type"], newer);
    }
}

/// What other requests can do between the read and the write of a change.
#[tokio::test]
async fn a_change_reads_again_if_the_number_changed() {
    // The number's last customer is gone, and no consent is stored.
    let app = TestApp::new().await;
    assert_eq!(app.send(&add(demo::CUSTOMER, NUMBER)).await.status, 200);
    let reply = app.raced(vec![], &consent(NUMBER, "written"), &[remove(demo::CUSTOMER, NUMBER)]).await;
    assert_eq!(reply.row(), (404, Some("phone_not_found")));
    // Another request made the same change.
    assert_eq!(app.send(&add(demo::CUSTOMER, NUMBER)).await.status, 200);
    let reply = app.raced(vec![], &consent(NUMBER, "written"), &[consent(NUMBER, "written")]).await;
    assert_eq!(reply.status, 200);
    assert_eq!(app.send(&phone(NUMBER)).await.body["consent"], reply.body["consent"]);
    // Counting does not disturb a change.
    app.faults.take_calls();
    let reply = app.raced(vec![], &consent(NUMBER, "stop"), &[add(demo::CUSTOMER_ODD, NUMBER)]).await;
    assert_eq!(reply.status, 200);
    assert_eq!(app.faults.take_calls().iter().filter(|call| call.operation == "TransactWriteItems").count(), 1);
    // An unknown number got its first customer while it was stopped.
    let reply = app.raced(vec![], &consent("6105551213", "stop"), &[add(demo::CUSTOMER, "6105551213")]).await;
    assert_eq!(reply.status, 200);
    assert_eq!(number(&app.counter("+16105551213").await.unwrap()["ccid_count"]), 1);
    app.assert_consistent().await;
}

#[tokio::test]
async fn a_corrupt_number_is_a_500() {
    let app = TestApp::new().await;
    let good = app.counter("+16105551208").await.unwrap();
    for name in ["stop_at", "written_at", "express_at", "first_at"] {
        let mut item = good.clone();
        item.insert(name.to_owned(), AttributeValue::S("1".to_owned()));
        app.put(item).await;
        let before = app.everything().await;
        for request in [consent(demo::PHONE, "express"), customer(demo::CUSTOMER_WITH_PHONE), phone(demo::PHONE)] {
            assert_eq!(app.send(&request).await.row(), (500, Some("internal_error")), "{name}");
        }
        assert_eq!(app.everything().await, before);
    }
    // A stop is stored even if the count is corrupt.
    let mut item = good;
    item.insert("ccid_count".to_owned(), AttributeValue::S("many".to_owned()));
    app.put(item).await;
    assert_eq!(app.send(&consent(demo::PHONE, "stop")).await.status, 200);
}

#[tokio::test]
async fn keys_that_a_batch_left_unprocessed_are_read_again() {
    let app = TestApp::new().await;
    assert_eq!(app.send(&consent("6105550001", "stop")).await.status, 200);
    assert_eq!(app.send(&consent("6105550050", "stop")).await.status, 200);
    app.faults.take_calls();
    app.faults.reads([
        Fault::Pass,
        Fault::Unprocessed(30),
        Fault::error(400, "ThrottlingException"),
        Fault::Unprocessed(1),
    ]);
    let reply = app.send(&customer(demo::CUSTOMER_WITH_50)).await;
    assert_eq!(reply.status, 200);
    let channels = reply.body["notification_channels"].as_array().unwrap();
    let stopped: Vec<_> = channels.iter().filter(|channel| channel["consent_type"] == "stop").collect();
    assert_eq!((channels.len(), stopped.len()), (50, 2));
    let calls = app.faults.take_calls();
    let keys: Vec<_> = calls
        .iter()
        .filter(|call| call.operation == "BatchGetItem")
        .map(|call| {
            let table = &call.request["RequestItems"][demo::TABLE];
            assert_eq!(table["ConsistentRead"], true);
            table["Keys"].as_array().unwrap().len()
        })
        .collect();
    assert_eq!(keys, [50, 30, 30, 1]);
    app.faults.reads([Fault::Pass]);
    app.faults.reads(std::iter::repeat_n(Fault::Unprocessed(50), 1000));
    assert_eq!(app.send(&customer(demo::CUSTOMER_WITH_50)).await.row(), (500, Some("try_again")));
}

/// Steps that change a number, and the consent after each.
async fn assert_consent_after_each_step(app: &TestApp, ccids: [&str; 3], faults: impl Fn() -> Vec<Fault>) {
    let [first, second, third] = ccids;
    let steps = [
        (stating(first, "written"), Some("written")),
        (stating(second, "express"), Some("express")),
        (stating(third, "written"), Some("written")),
        (consent(NUMBER, "stop"), Some("stop")),
        (remove(first, NUMBER), Some("stop")),
        (delete(second), Some("stop")),
        (stating(first, "written"), Some("stop")),
        (remove(first, NUMBER), Some("stop")),
        (remove(third, NUMBER), Some("stop")),
        (create(second), Some("stop")),
        (stating(second, "written"), Some("stop")),
        (consent(NUMBER, "written"), Some("written")),
    ];
    for (step, (request, after)) in steps.into_iter().enumerate() {
        app.faults.writes(faults());
        let reply = app.send(&request).await;
        assert!(reply.status < 300, "{step} {request:?}: {}", reply.body);
        let with_number: Vec<_> = {
            let body = app.send(&phone(NUMBER)).await.body;
            assert!(body["ccids"].is_array(), "{step} {request:?}: {body}");
            body["ccids"].as_array().unwrap().iter().map(|ccid| ccid.as_str().unwrap().to_owned()).collect()
        };
        let with_number: Vec<_> = with_number.iter().map(String::as_str).collect();
        assert_eq!(shown(app, &with_number).await.as_deref(), after, "{step} {request:?}");
        app.assert_consistent().await;
    }
}

#[tokio::test]
async fn the_consent_is_correct_after_every_step() {
    let ccids = [demo::CUSTOMER, demo::CUSTOMER_ODD, demo::CUSTOMER_WITH_PHONE];
    assert_consent_after_each_step(&TestApp::new().await, ccids, Vec::new).await;
    let faults: [fn() -> Vec<Fault>; 4] = [
        || vec![Fault::LoseResponse],
        || vec![Fault::LoseRequest, Fault::LoseResponse],
        || vec![Fault::cancelled_for(&[json!({ "Code": "TransactionConflict" })]), Fault::LoseResponse],
        || vec![Fault::Garbage(200, "<html>"), Fault::error(500, "InternalServerError")],
    ];
    for faults in faults {
        assert_consent_after_each_step(&TestApp::new().await, ccids, faults).await;
    }
}

/// Only a lift that begins after a stop was answered may undo it. No request here lifts, so every read that begins after the
/// answer shows the stop.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_that_was_answered_is_never_undone_by_races() {
    for seed in 0..10 {
        let app = TestApp::new().await;
        let mut random = fastrand::Rng::with_seed(seed);
        let ccids = [demo::CUSTOMER, demo::CUSTOMER_ODD, demo::CUSTOMER_WITH_PHONE];
        assert_eq!(app.send(&stating(demo::CUSTOMER_WITH_49, "written")).await.status, 200);
        let mut burst = vec![consent(NUMBER, "stop")];
        for _ in 0..30 {
            let ccid = ccids[random.usize(..ccids.len())];
            burst.push(match random.usize(..5) {
                0 => remove(ccid, NUMBER),
                1 => delete(ccid),
                2 => create(ccid),
                _ => stating(ccid, if random.bool() { "written" } else { "express" }),
            });
        }
        random.shuffle(&mut burst);
        let faults: Vec<_> = (0..20).map(|_| if random.bool() { Fault::Pass } else { Fault::LoseResponse }).collect();
        app.faults.writes(faults);
        let stopped = std::sync::atomic::AtomicBool::new(false);
        let each = burst.iter().map(|request| async {
            let before = stopped.load(std::sync::atomic::Ordering::SeqCst);
            let is_stop = request.is_change_to("stop");
            let reply = app.send(request).await;
            assert!(matches!(reply.status, 200 | 201 | 404 | 409), "{}", reply.body);
            if is_stop {
                stopped.store(true, std::sync::atomic::Ordering::SeqCst);
            }
            if before || is_stop {
                assert_eq!(app.send(&phone(NUMBER)).await.body["consent"]["consent_type"], "stop");
            }
        });
        futures_util::future::join_all(each).await;
        assert_eq!(app.send(&phone(NUMBER)).await.body["consent"]["consent_type"], "stop");
        app.assert_consistent().await;
    }
}
