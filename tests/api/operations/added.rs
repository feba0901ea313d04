//! A successful add: the response, and the record afterwards.

use serde_json::{Value, json};
use testkit::demo;

use crate::helpers::{TestApp, add, customer, number};

#[tokio::test]
async fn an_add_succeeds_and_the_message_repeats_the_request() {
    let app = TestApp::new().await;
    let reply = app.send(&add(demo::CUSTOMER, "16105551212")).await;
    assert_eq!(reply.status, 200);
    assert_eq!(
        reply.body,
        json!({ "message":
            "Phone number 16105551212 has been added to customer with ccid BAK-11984-007 for client demo-clinic." })
    );
    let headers = json!({ "content-type": "application/json; charset=utf-8", "cache-control": "no-store" });
    assert_eq!(reply.headers, headers);
    let record = app.record(demo::CUSTOMER).await.unwrap();
    assert_eq!(number(&record["phone_count"]), 1);
    let counter = app.counter("+16105551212").await.unwrap();
    assert_eq!(number(&counter["ccid_count"]), 1);
    assert_eq!(counter["ccids"].as_ss().unwrap(), &[demo::CUSTOMER.to_owned()]);
    app.assert_consistent().await;
}

async fn channel_after(body: Option<Value>, digits: &str) -> Value {
    let app = TestApp::new().await;
    let mut request = add(demo::CUSTOMER, digits);
    if let Some(body) = body {
        request = request.body(body);
    }
    let reply = app.send(&request).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    let mut channels = app.send(&customer(demo::CUSTOMER)).await.body["notification_channels"].take();
    let mut channel = channels[0].take();
    let created_at = channel["created_at"].take();
    let created_at = created_at.as_str().unwrap();
    assert_eq!((created_at.len(), &created_at[10..11], &created_at[23..]), (24, "T", "Z"), "{created_at}");
    channel.as_object_mut().unwrap().remove("created_at");
    channel
}

#[tokio::test]
async fn the_channel_has_every_value_that_was_sent() {
    let body = json!({
        "consent_type": "express", "phone_type": "landline", "country_code": "+1", "client_source": "Aufnahme Süd",
    });
    assert_eq!(
        channel_after(Some(body), "6105551212").await,
        json!({
            "channel_type": "sms", "channel_addr": "+16105551212", "phone_number": "6105551212", "country_code": "1",
            "phone_type": "landline", "consent_type": "express", "client_source": "Aufnahme Süd",
        })
    );
}

#[tokio::test]
async fn absent_values_get_their_defaults_and_no_consent() {
    let defaults = json!({
        "channel_type": "sms", "channel_addr": "+16105551212", "phone_number": "6105551212", "country_code": "1",
        "phone_type": "unknown", "client_source": "internal",
    });
    assert_eq!(channel_after(None, "6105551212").await, defaults);
    assert_eq!(channel_after(Some(json!({})), "16105551212").await, defaults);
}

#[tokio::test]
async fn other_countries_have_their_own_e164_form() {
    let channel = channel_after(Some(json!({ "country_code": "33" })), "0612345678").await;
    assert_eq!(channel["channel_addr"], "+33612345678");
    assert_eq!((&channel["phone_number"], &channel["country_code"]), (&json!("0612345678"), &json!("33")));
    let channel = channel_after(Some(json!({ "country_code": "39" })), "0612345678").await;
    assert_eq!(channel["channel_addr"], "+390612345678", "Italy keeps its zero");
}

#[tokio::test]
async fn two_spellings_are_one_number() {
    let app = TestApp::new().await;
    assert_eq!(app.send(&add(demo::CUSTOMER, "6105551212")).await.status, 200);
    let again = app.send(&add(demo::CUSTOMER, "16105551212")).await;
    assert_eq!(again.row(), (409, Some("phone_already_added")));
    let again = app.send(&add(demo::CUSTOMER, "6105551212").body(json!({ "country_code": "+1" }))).await;
    assert_eq!(again.row(), (409, Some("phone_already_added")));
    app.assert_consistent().await;
}

#[tokio::test]
async fn every_word_of_the_contract_is_accepted() {
    let app = TestApp::new().await;
    let words = [
        ("consent_type", ["written", "express", "stop"].as_slice()),
        ("phone_type", &["mobile", "landline", "unknown"]),
    ];
    let mut number = 6_105_551_300_u64;
    for (field, words) in words {
        for word in words {
            number += 1;
            let digits = number.to_string();
            let request = add(demo::CUSTOMER, &digits).body(json!({ field: word }));
            assert_eq!(app.send(&request).await.status, 200, "{field} {word}");
            let record = app.send(&customer(demo::CUSTOMER)).await;
            let channels = record.body["notification_channels"].as_array().unwrap();
            let channel = channels.iter().find(|channel| channel["phone_number"] == digits).unwrap();
            assert_eq!(channel[field], *word);
        }
    }
}
