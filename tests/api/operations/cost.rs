//! The cost of a request at DynamoDB.

use aws_sdk_dynamodb::types::{AttributeValue, ReturnConsumedCapacity};
use cdm_lambda::store::client::DynamoDb;
use serde_json::json;
use testkit::demo;

use crate::helpers::{Request, TestApp, add, consent, create, customer, delete, phone, remove};

/// The operation and the units of each call of the request.
async fn calls(app: &TestApp, request: &Request) -> Vec<(String, f64)> {
    app.faults.take_calls();
    app.send(request).await;
    app.faults.take_calls().into_iter().map(|call| (call.operation, call.units)).collect()
}

fn call(operation: &str, units: f64) -> (String, f64) {
    (operation.to_owned(), units)
}

#[tokio::test]
async fn a_cold_add_is_two_calls_and_a_warm_one_is_one_of_4_units() {
    let app = TestApp::new().await;
    let cold = calls(&app, &add(demo::CUSTOMER, "6105551212")).await;
    assert_eq!(cold, [call("GetItem", 1.0), call("TransactWriteItems", 4.0)]);
    let warm = calls(&app, &add(demo::CUSTOMER, "6105551213")).await;
    assert_eq!(warm, [call("TransactWriteItems", 4.0)]);
}

#[tokio::test]
async fn the_50th_number_of_a_typical_record_costs_at_most_16_units() {
    let app = TestApp::new().await;
    let body = json!({ "consent_type": "written", "phone_type": "mobile", "client_source": "registration desk" });
    let mut last = Vec::new();
    for number in 0..50 {
        let request = add(demo::CUSTOMER, &format!("61055520{number:02}")).body(&body).header("idempotency-key", "k");
        last = calls(&app, &request).await;
    }
    assert_eq!(last.len(), 1);
    assert!(last[0].1 <= 16.0, "{last:?}");
}

#[tokio::test]
async fn an_add_that_states_consent_costs_what_any_add_costs() {
    let app = TestApp::new().await;
    calls(&app, &customer(demo::CUSTOMER)).await;
    for (number, consent) in ["written", "express", "stop"].into_iter().enumerate() {
        for ccid in [demo::CUSTOMER, demo::CUSTOMER_ODD] {
            let request = add(ccid, &format!("610555221{number}")).body(json!({ "consent_type": consent }));
            assert_eq!(calls(&app, &request).await, [call("TransactWriteItems", 4.0)], "{consent}");
        }
    }
}

#[tokio::test]
async fn the_other_operations_make_as_few_calls_as_they_can() {
    let app = TestApp::new().await;
    let mut costs = Vec::new();
    calls(&app, &customer("unknown")).await;
    for request in [
        create("NEW"),
        add("NEW", "6105551212"),
        customer("NEW"),
        phone("6105551212"),
        consent("6105551212", "written"),
        consent("6105551212", "written"),
        remove("NEW", "6105551212"),
        customer("NEW"),
        add("NEW", "6105551212"),
        delete("NEW"),
    ] {
        costs.push(calls(&app, &request).await);
    }
    let (get, write) = (call("GetItem", 1.0), |units| call("TransactWriteItems", units));
    let expected = [
        vec![write(2.0)],
        vec![write(4.0)],
        vec![get.clone(), call("BatchGetItem", 1.0)],
        vec![get.clone()],
        vec![get.clone(), write(2.0)],
        vec![get.clone()],
        vec![write(4.0)],
        // A record without numbers has no consents to read.
        vec![get.clone()],
        vec![write(4.0)],
        vec![get, write(4.0)],
    ];
    assert_eq!(costs, expected);
}

/// The worst case that docs/costs.md publishes: 50 numbers, each on 50 customers whose ccids have 400 bytes. One of the 50 is
/// the customer that is read.
#[tokio::test]
async fn the_largest_record_is_read_in_two_calls() {
    let app = TestApp::new().await;
    let mut ccids: Vec<_> =
        ('\u{1f600}'..).take(49).map(|first| format!("{first}{}", "\u{1f600}".repeat(99))).collect();
    assert!(ccids.iter().all(|ccid| ccid.len() == 400));
    ccids.push(demo::CUSTOMER_WITH_50.to_owned());
    for number in 1..=50 {
        let mut counter = app.counter(&format!("+161055500{number:02}")).await.unwrap();
        counter.insert("ccids".to_owned(), AttributeValue::Ss(ccids.clone()));
        counter.insert("ccid_count".to_owned(), AttributeValue::N("50".to_owned()));
        counter.insert("stop_at".to_owned(), AttributeValue::N("1732003200000".to_owned()));
        app.put(counter).await;
    }
    let calls = calls(&app, &customer(demo::CUSTOMER_WITH_50)).await;
    let calls: Vec<_> = calls.iter().filter(|(operation, _)| operation.contains("Get")).skip(1).collect();
    assert_eq!(calls.len(), 2, "{calls:?}");
    assert_eq!((calls[0].1, calls[1].1), (1.0, 250.0));
}

/// The connector adds a field to the handler's requests. Without the connector the units are the same.
#[tokio::test]
async fn the_connector_does_not_change_the_units() {
    let app = TestApp::new().await;
    let record = calls(&app, &customer("BAK-11984-007")).await.pop().unwrap();
    let direct = DynamoDb::new(&app.endpoint(), app.credentials()).await.unwrap();
    let got = direct
        .client
        .get_item()
        .table_name(demo::TABLE)
        .consistent_read(true)
        .key("pk", crate::helpers::text("CLIENT#demo-clinic#CUSTOMER#BAK-11984-007"))
        .key("sk", crate::helpers::text("CUSTOMER"))
        .return_consumed_capacity(ReturnConsumedCapacity::Total)
        .send()
        .await
        .unwrap();
    assert_eq!(got.consumed_capacity.unwrap().capacity_units, Some(record.1));
}
