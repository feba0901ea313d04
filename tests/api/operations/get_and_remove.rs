//! Retrieving a customer, and removing a number.

use serde_json::json;
use testkit::demo;

use crate::helpers::fault_connector::Fault;
use crate::helpers::{TestApp, add, customer, number, remove};

#[tokio::test]
async fn a_customer_is_shown_with_its_channels_in_order() {
    let app = TestApp::new().await;
    let reply = app.send(&customer(demo::CUSTOMER_WITH_PHONE)).await;
    assert_eq!(reply.status, 200);
    assert_eq!(
        reply.body,
        json!({
            "client_id": "demo-clinic",
            "ccid": "BAK-11984-008",
            "created_at": "2024-11-19T08:00:00.000Z",
            "phone_count": 1,
            "notification_channels": [{
                "channel_type": "sms", "channel_addr": "+16105551208", "phone_number": "6105551208",
                "country_code": "1", "phone_type": "mobile", "consent_type": "written",
                "client_source": "internal", "created_at": "2024-11-19T08:00:00.000Z",
            }],
        })
    );
    // Channels of the same time are ordered by E.164 form. A later one comes last, whatever its number is.
    assert_eq!(app.send(&add(demo::CUSTOMER_WITH_49, "2015550000")).await.status, 200);
    let reply = app.send_rest(&customer(demo::CUSTOMER_WITH_49)).await;
    let channels = reply.body["notification_channels"].as_array().unwrap();
    let mut addresses: Vec<_> = channels.iter().map(|channel| channel["channel_addr"].as_str().unwrap()).collect();
    assert_eq!(addresses.pop(), Some("+12015550000"));
    assert!(addresses.len() == 49 && addresses.is_sorted());
    assert_eq!(reply.body["phone_count"], 50);
}

#[tokio::test]
async fn an_unknown_customer_is_a_404_and_a_corrupt_one_a_500() {
    let app = TestApp::new().await;
    assert_eq!(app.send(&customer("unknown")).await.row(), (404, Some("customer_not_found")));
    assert_eq!(app.send(&customer("a/b")).await.fields(), ["path.ccid"]);
    assert_eq!(app.send(&customer(demo::CUSTOMER_CORRUPT)).await.row(), (500, Some("internal_error")));
    assert_eq!(app.send(&customer(demo::CUSTOMER).no_key()).await.row(), (401, Some("unauthorized")));
    app.faults.reads(std::iter::repeat_n(Fault::LoseResponse, 1000));
    let event = customer(demo::CUSTOMER).http_event();
    let reply = crate::helpers::send(&app.handler, event, std::time::Duration::from_millis(900)).await;
    assert_eq!(reply.row(), (500, Some("try_again")), "a read writes nothing, so its loss is certain to be harmless");
}

#[tokio::test]
async fn a_removed_number_is_gone_from_both_sides() {
    let app = TestApp::new().await;
    let reply = app.send(&remove(demo::CUSTOMER_WITH_PHONE, demo::PHONE)).await;
    assert_eq!(reply.status, 200);
    assert_eq!(
        reply.message(),
        "Phone number 6105551208 has been removed from customer with ccid BAK-11984-008 for client demo-clinic."
    );
    assert_eq!(number(&app.record(demo::CUSTOMER_WITH_PHONE).await.unwrap()["phone_count"]), 0);
    assert_eq!(number(&app.counter("+16105551208").await.unwrap()["ccid_count"]), 0);
    app.assert_consistent().await;
    // The number can be added again, on a counter that is zero.
    assert_eq!(app.send(&add(demo::CUSTOMER, demo::PHONE)).await.status, 200);
    app.assert_consistent().await;
}

#[tokio::test]
async fn either_spelling_removes_it() {
    let app = TestApp::new().await;
    let reply = app.send_rest(&remove(demo::CUSTOMER_WITH_PHONE, "16105551208")).await;
    assert_eq!((reply.status, reply.message().contains("16105551208")), (200, true));
    let french = json!({ "country_code": "+33" });
    assert_eq!(app.send(&add(demo::CUSTOMER, "0612345678").body(&french)).await.status, 200);
    assert_eq!(app.send(&remove(demo::CUSTOMER, "0612345678")).await.row(), (404, Some("phone_not_found")));
    assert_eq!(app.send(&remove(demo::CUSTOMER, "0612345678").body(&french)).await.status, 200);
}

/// Every form that a record shows removes the number: the E.164 form in every event format, and the digits with
/// their country code.
#[tokio::test]
async fn every_form_that_a_record_shows_is_accepted() {
    let app = TestApp::new().await;
    let numbers = [
        ("6105551212", "1", "6105551212"),
        ("0612345678", "33", "0612345678"),
        ("0612345678", "39", "0612345678"),
        ("06201234567", "36", "06201234567"),
        ("9161234567", "7", "89161234567"),
        ("91123456789", "54", "91123456789"),
        ("4512345678", "45", "4512345678"),
        ("15123456789", "49", "15123456789"),
        ("2125551234", "52", "2125551234"),
    ];
    for form in ["channel_addr", "encoded", "phone_number"] {
        for (digits, code, shown) in numbers {
            let body = json!({ "country_code": code });
            assert_eq!(app.send(&add(demo::CUSTOMER, digits).body(&body)).await.status, 200, "{digits} {code}");
            let customer = app.send(&customer(demo::CUSTOMER)).await;
            let channel = customer.body["notification_channels"][0].clone();
            assert_eq!((&channel["phone_number"], &channel["country_code"]), (&json!(shown), &json!(code)));
            let text = |name: &str| channel[name].as_str().unwrap().to_owned();
            // An add of the shown digits is an add of the same number.
            let again = add(demo::CUSTOMER, shown).body(&body);
            assert_eq!(app.send(&again).await.row(), (409, Some("phone_already_added")), "{shown} {code}");
            let reply = match form {
                "channel_addr" => app.send(&remove(demo::CUSTOMER, &text("channel_addr"))).await,
                "encoded" => app.send_rest(&remove(demo::CUSTOMER, &text("channel_addr")).body(&body)).await,
                _ => app.send(&remove(demo::CUSTOMER, &text("phone_number")).body(&body)).await,
            };
            assert_eq!(reply.status, 200, "{form} {digits} {code}: {}", reply.body);
        }
    }
    app.assert_consistent().await;
}

#[tokio::test]
async fn an_e164_number_has_its_own_country_code() {
    let app = TestApp::new().await;
    let shown = format!("+1{}", demo::PHONE);
    let with = |code: &str| remove(demo::CUSTOMER_WITH_PHONE, &shown).body(json!({ "country_code": code }));
    assert_eq!(app.send(&with("33")).await.fields(), ["body.country_code"]);
    assert_eq!(app.send(&with("999")).await.fields(), ["body.country_code"]);
    assert_eq!(app.send(&with("+1")).await.status, 200);
    for bad in ["+", "+1", "+9996105551208", "+1610555120812345", "+1 6105551208", " 16105551208", "++16105551208"] {
        assert_eq!(app.send(&remove(demo::CUSTOMER, bad)).await.fields(), ["path.phone_number"], "{bad}");
    }
    assert_eq!(app.send(&remove(demo::CUSTOMER, "+33612345678")).await.row(), (404, Some("phone_not_found")));
    // The add accepts only the published page's form.
    assert_eq!(app.send(&add(demo::CUSTOMER, "+16105551212")).await.fields(), ["path.phone_number"]);
}

#[tokio::test]
async fn a_missing_number_cannot_be_removed() {
    let app = TestApp::new().await;
    let before = app.everything().await;
    assert_eq!(app.send(&remove("unknown", "6105551212")).await.row(), (404, Some("customer_not_found")));
    assert_eq!(app.send(&remove(demo::CUSTOMER, "6105551212")).await.row(), (404, Some("phone_not_found")));
    assert_eq!(app.send(&remove(demo::CUSTOMER_CORRUPT, "6105551212")).await.row(), (500, Some("internal_error")));
    assert_eq!(app.everything().await, before);
}

#[tokio::test]
async fn the_fields_of_a_removal_follow_the_same_rules() {
    let app = TestApp::new().await;
    let request = remove("a/b", "1").body(json!({ "country_code": "x", "client_source": "", "phone_type": "mobile" }));
    assert_eq!(
        app.send(&request).await.fields(),
        ["path.ccid", "path.phone_number", "body.country_code", "body.client_source", "body.phone_type"]
    );
    for (body, field) in [
        (json!({ "client_source": "" }), "body.client_source"),
        (json!({ "phone_type": "mobile" }), "body.phone_type"),
        (json!([]), "body"),
    ] {
        let reply = app.send(&remove(demo::CUSTOMER_WITH_PHONE, demo::PHONE).body(body)).await;
        assert_eq!((reply.row(), reply.fields()), ((400, Some("invalid_request")), vec![field]));
    }
    let request = remove(demo::CUSTOMER_WITH_PHONE, demo::PHONE).body(json!({ "client_source": "x" }));
    assert_eq!(app.send(&request).await.status, 200);
}

#[tokio::test]
async fn a_removal_is_repeated_after_a_lost_response() {
    let app = TestApp::new().await;
    app.faults.writes([Fault::LoseResponse]);
    assert_eq!(app.send(&remove(demo::CUSTOMER_WITH_PHONE, demo::PHONE)).await.status, 200);
    app.assert_consistent().await;
}

#[tokio::test]
async fn a_counter_that_lost_count_never_goes_below_zero() {
    let app = TestApp::new().await;
    let mut counter = app.counter("+16105551208").await.unwrap();
    counter.insert("ccid_count".to_owned(), aws_sdk_dynamodb::types::AttributeValue::N("0".to_owned()));
    app.put(counter).await;
    let before = app.everything().await;
    let reply = app.send(&remove(demo::CUSTOMER_WITH_PHONE, demo::PHONE)).await;
    assert_eq!(reply.row(), (500, Some("internal_error")));
    assert_eq!(app.faults.take_calls().iter().filter(|call| call.operation == "TransactWriteItems").count(), 2);
    assert_eq!(app.everything().await, before);
}

/// 1,500 operations, several at a time, on few records and numbers. Every count is checked after every
/// burst.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn adds_racing_removes_keep_every_count_true() {
    let app = TestApp::new().await;
    let mut random = fastrand::Rng::with_seed(0x00C0_FFEE);
    let ccids = [demo::CUSTOMER, demo::CUSTOMER_ODD, demo::CUSTOMER_WITH_PHONE, demo::CUSTOMER_WITH_49, "FAM-00050"];
    let numbers = ["6105551208", "16105551208", "6105550001", "6105559949", "6105559950", "6105550050"];
    for _ in 0..30 {
        let burst: Vec<_> = (0..50)
            .map(|_| {
                let (ccid, digits) = (ccids[random.usize(..ccids.len())], numbers[random.usize(..numbers.len())]);
                if random.bool() { add(ccid, digits) } else { remove(ccid, digits) }
            })
            .collect();
        let replies = futures_util::future::join_all(burst.iter().map(|request| app.send(request))).await;
        for reply in replies {
            assert!(matches!(reply.status, 200 | 404 | 409), "{}", reply.body);
        }
        app.assert_consistent().await;
    }
}
