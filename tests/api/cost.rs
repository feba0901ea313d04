//! The cost of a request at DynamoDB.

use aws_sdk_dynamodb::types::ReturnConsumedCapacity;
use serde_json::json;
use testkit::demo;

use crate::helpers::{Request, TestApp, add, customer, remove};

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
async fn a_removal_and_a_retrieval_are_one_call_each() {
    let app = TestApp::new().await;
    calls(&app, &add(demo::CUSTOMER, "6105551212")).await;
    assert_eq!(calls(&app, &customer(demo::CUSTOMER)).await, [call("GetItem", 1.0)]);
    assert_eq!(calls(&app, &remove(demo::CUSTOMER, "6105551212")).await, [call("TransactWriteItems", 4.0)]);
}

#[tokio::test]
async fn the_connector_does_not_change_the_units() {
    // The connector adds a field to the handler's requests; a direct request has the same result.
    let app = TestApp::new().await;
    let get = app.client.get_item().table_name(demo::TABLE).consistent_read(true);
    let got = get
        .key("pk", crate::helpers::text("CLIENT#demo-clinic#CUSTOMER#BAK-11984-007"))
        .key("sk", crate::helpers::text("CUSTOMER"))
        .return_consumed_capacity(ReturnConsumedCapacity::Total)
        .send()
        .await
        .unwrap();
    assert_eq!(got.consumed_capacity.unwrap().capacity_units, Some(1.0));
}
