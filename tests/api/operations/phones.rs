//! Reading a phone number.

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::json;
use testkit::demo;

use crate::helpers::fault_connector::Fault;
use crate::helpers::{Request, TestApp, add, consent, phone, remove};

#[tokio::test]
async fn a_number_is_shown_with_its_customers_and_its_consent() {
    let app = TestApp::new().await;
    assert_eq!(app.send(&add(demo::CUSTOMER, demo::PHONE)).await.status, 200);
    let reply = app.send(&phone(demo::PHONE)).await;
    assert_eq!(reply.status, 200);
    assert_eq!(
        reply.body,
        json!({
            "client_id": "demo-clinic", "channel_addr": "+16105551208", "phone_number": "6105551208", "country_code": "1",
            "ccid_count": 2, "ccids": ["BAK-11984-007", "BAK-11984-008"],
            "consent": {
                "client_id": "demo-clinic", "channel_type": "sms", "channel_addr": "+16105551208",
                "consent_type": "written",
                "created_at": "2024-11-19T08:00:00.000Z", "updated_at": "2024-11-19T08:00:00.000Z",
            },
        })
    );
    let unstated = app.send(&phone(demo::PHONE_ON_50)).await;
    assert_eq!((unstated.status, unstated.body.get("consent")), (200, None));
}

#[tokio::test]
async fn ccids_are_in_byte_order() {
    let app = TestApp::new().await;
    for ccid in ["b", "a", "é", "Z", "a0", "𝄞"] {
        assert_eq!(app.send(&crate::helpers::create(ccid)).await.status, 201);
        assert_eq!(app.send(&add(ccid, "6105551212")).await.status, 200);
    }
    let reply = app.send_rest(&phone("6105551212")).await;
    assert_eq!(reply.body["ccids"], json!(["Z", "a", "a0", "b", "é", "𝄞"]));
    let family: Vec<_> = (1..=50).map(|number| format!("FAM-{number:05}")).collect();
    let full = app.send(&phone(demo::PHONE_ON_50)).await;
    assert_eq!((&full.body["ccids"], &full.body["ccid_count"]), (&json!(family), &json!(50)));
}

#[tokio::test]
async fn a_number_without_customers_and_consent_is_a_404() {
    let app = TestApp::new().await;
    let not_found = (404, Some("phone_not_found"));
    assert_eq!(app.send(&phone("6105551212")).await.row(), not_found);
    assert_eq!(app.send(&add(demo::CUSTOMER, "6105551212")).await.status, 200);
    assert_eq!(app.send(&remove(demo::CUSTOMER, "6105551212")).await.status, 200);
    assert_eq!(app.send(&phone("6105551212")).await.row(), not_found, "a counter at zero is not shown");
    // A consent alone is shown.
    assert_eq!(app.send(&consent("6105551212", "stop")).await.status, 200);
    let reply = app.send(&phone("6105551212")).await;
    assert_eq!((reply.status, &reply.body["ccids"], &reply.body["ccid_count"]), (200, &json!([]), &json!(0)));
    assert_eq!(reply.body["consent"]["consent_type"], "stop");
    // It belongs to one client.
    let other = phone("6105551212").client(demo::OTHER_CLIENT).key(demo::OTHER_KEY);
    assert_eq!(app.send(&other).await.row(), not_found);
    assert_eq!(app.send(&phone(demo::PHONE).no_key()).await.row(), (401, Some("unauthorized")));
}

#[tokio::test]
async fn every_form_of_a_number_finds_it() {
    let app = TestApp::new().await;
    let french = json!({ "country_code": "33" });
    assert_eq!(app.send(&add(demo::CUSTOMER, "0612345678").body(french)).await.status, 200);
    let forms: [(&str, &[&str]); 3] = [
        ("0612345678", &["country_code=33", "country_code=%2B33", "country_code=+33", "x=1&country_code=33&y"]),
        ("+33612345678", &["", "country_code=33", "country_code=+33", "other=%ff"]),
        // The names of parameters are case-sensitive, and empty pairs are skipped.
        ("0612345678", &["country_code=33&Country_Code=1", "&country_code=33&"]),
    ];
    for (number, queries) in forms {
        for query in queries {
            for reply in [app.send(&phone(number).query(query)).await, app.send_rest(&phone(number).query(query)).await]
            {
                assert_eq!(
                    (reply.status, &reply.body["channel_addr"]),
                    (200, &json!("+33612345678")),
                    "{number} {query}"
                );
                assert_eq!(reply.body["phone_number"], "0612345678");
            }
        }
    }
    assert_eq!(app.send(&phone("0612345678")).await.row(), (404, Some("phone_not_found")));
}

#[tokio::test]
async fn a_bad_or_repeated_country_code_is_a_400_of_the_query() {
    let app = TestApp::new().await;
    let bad: [(Request, &[&str]); 9] = [
        (phone(demo::PHONE).query("country_code="), &["query.country_code"]),
        (phone(demo::PHONE).query("country_code"), &["query.country_code"]),
        (phone(demo::PHONE).query("country_code=999"), &["query.country_code"]),
        (phone(demo::PHONE).query("country_code=01"), &["query.country_code"]),
        (phone(demo::PHONE).query("country_code=1&country_code=1"), &["query.country_code"]),
        (phone("+16105551208").query("country_code=33"), &["query.country_code"]),
        (phone("610").query("country_code=x"), &["path.phone_number", "query.country_code"]),
        (phone("610"), &["path.phone_number"]),
        (phone("26105551208").query("country_code=1"), &["path.phone_number"]),
    ];
    for (request, fields) in bad {
        for reply in [app.send(&request).await, app.send_rest(&request).await] {
            assert_eq!((reply.row(), reply.fields()), ((400, Some("invalid_request")), fields.to_vec()), "{request:?}");
        }
    }
    let not_utf_8 = app.send(&phone(demo::PHONE).query("country_code=%ff")).await;
    assert_eq!(not_utf_8.fields(), ["query.country_code"]);
    // The body of a GET is not read, and a removal does not read the query.
    assert_eq!(app.send(&phone(demo::PHONE).body("[")).await.status, 200);
    assert_eq!(app.send(&remove(demo::CUSTOMER_WITH_PHONE, demo::PHONE).query("country_code=999")).await.status, 200);
}

#[tokio::test]
async fn a_corrupt_item_is_a_500() {
    let app = TestApp::new().await;
    let good = app.counter("+16105551208").await.unwrap();
    for (name, bad) in [
        ("ccid_count", AttributeValue::N("2".to_owned())),
        ("ccid_count", AttributeValue::S("1".to_owned())),
        ("ccids", AttributeValue::S("BAK-11984-008".to_owned())),
        ("written_at", AttributeValue::S("yesterday".to_owned())),
        ("stop_at", AttributeValue::Bool(true)),
    ] {
        let mut item = good.clone();
        item.insert(name.to_owned(), bad);
        app.put(item).await;
        assert_eq!(app.send(&phone(demo::PHONE)).await.row(), (500, Some("internal_error")), "{name}");
    }
}

#[tokio::test]
async fn a_failed_read_is_repeated_and_then_says_try_again() {
    let app = TestApp::new().await;
    assert_eq!(app.send(&phone(demo::PHONE)).await.status, 200);
    app.faults.reads([Fault::LoseResponse, Fault::error(500, "InternalServerError"), Fault::Garbage(200, "<html>")]);
    assert_eq!(app.send(&phone(demo::PHONE)).await.status, 200);
    app.faults.reads(std::iter::repeat_n(Fault::error(400, "ThrottlingException"), 1000));
    let reply = app.send(&phone(demo::PHONE)).await;
    assert_eq!(reply.row(), (500, Some("try_again")));
    assert!(reply.headers["retry-after"].is_string());
}
