//! What a request costs at DynamoDB, counted at the wire, and the one line that it leaves in the log.

use aws_sdk_dynamodb::types::ReturnConsumedCapacity;
use cdm::demo;
use serde_json::json;

use crate::log;
use crate::world::{TIMEOUT, World, add, customer, remove, send};

/// Operation and units of each call that the request makes.
async fn calls(world: &World, request: &crate::world::Request) -> Vec<(String, f64)> {
    world.wire.take_calls();
    world.send(request).await;
    world.wire.take_calls().into_iter().map(|call| (call.operation, call.units)).collect()
}

fn call(operation: &str, units: f64) -> (String, f64) {
    (operation.to_owned(), units)
}

#[tokio::test]
async fn a_cold_add_is_two_calls_and_a_warm_one_is_one_of_4_units() {
    let world = World::new().await;
    let cold = calls(&world, &add(demo::CUSTOMER, "6105551212")).await;
    assert_eq!(cold, [call("GetItem", 1.0), call("TransactWriteItems", 4.0)]);
    let warm = calls(&world, &add(demo::CUSTOMER, "6105551213")).await;
    assert_eq!(warm, [call("TransactWriteItems", 4.0)]);
}

#[tokio::test]
async fn the_50th_number_of_a_typical_record_costs_at_most_16_units() {
    let world = World::new().await;
    let body = json!({ "consent_type": "written", "phone_type": "mobile", "client_source": "registration desk" });
    let mut last = Vec::new();
    for number in 0..50 {
        let request = add(demo::CUSTOMER, &format!("61055520{number:02}")).body(&body).header("idempotency-key", "k");
        last = calls(&world, &request).await;
    }
    assert_eq!(last.len(), 1);
    assert!(last[0].1 <= 16.0, "{last:?}");
}

#[tokio::test]
async fn a_removal_and_a_retrieval_are_one_call_each() {
    let world = World::new().await;
    calls(&world, &add(demo::CUSTOMER, "6105551212")).await;
    assert_eq!(calls(&world, &customer(demo::CUSTOMER)).await, [call("GetItem", 1.0)]);
    assert_eq!(calls(&world, &remove(demo::CUSTOMER, "6105551212")).await, [call("TransactWriteItems", 4.0)]);
}

#[tokio::test]
async fn one_line_a_request_tells_what_an_operator_needs() {
    let world = World::new().await;
    let mut event = add(demo::CUSTOMER, "6105551212").http_event();
    event["requestContext"]["requestId"] = "one-line-a-request".into();
    for _ in 0..2 {
        send(&world.function, event.clone(), TIMEOUT).await;
    }
    let lines = log::lines_with("one-line-a-request");
    assert_eq!(lines.len(), 2);
    for (line, status, code, cold_start, round_trips) in
        [(&lines[0], 200, "ok", true, 2), (&lines[1], 409, "phone_already_added", false, 1)]
    {
        assert_eq!(line["status"], status);
        assert_eq!(line["code"], code);
        assert_eq!(line["cold_start"], cold_start);
        assert_eq!(line["round_trips"], round_trips);
        assert_eq!((&line["retries"], &line["conflicts"]), (&json!(0), &json!(0)));
        assert_eq!((&line["operation"], &line["client_id"]), (&json!("add_phone"), &json!("demo-clinic")));
        assert_eq!((&line["level"], &line["lambda_request_id"]), (&json!("INFO"), &json!("lambda-request")));
        assert!(line["duration_ms"].as_f64().unwrap() > 0.0);
        assert!(line["timestamp"].as_str().unwrap().ends_with('Z'));
    }
}

#[tokio::test]
async fn a_failure_tells_the_operator_and_not_the_caller_what_went_wrong() {
    let world = World::new().await;
    let mut event = add(demo::CUSTOMER_DAMAGED, "6105551212").http_event();
    event["requestContext"]["requestId"] = "a-damaged-record".into();
    let reply = send(&world.function, event, TIMEOUT).await;
    assert_eq!(reply.row(), (500, Some("internal_error")));
    let told = ["message", "code", "request_id"];
    assert!(reply.body.as_object().unwrap().keys().all(|name| told.contains(&name.as_str())));
    assert!(!reply.body.to_string().contains("damaged record"));
    let lines = log::lines_with("a-damaged-record");
    assert_eq!(lines[0]["level"], "ERROR");
    assert_eq!(lines[0]["what"], "the customer's record is damaged");
    assert_eq!(lines[0]["aws_code"], "TransactionCanceledException");
}

#[tokio::test]
async fn what_came_before_the_key_check_names_no_client() {
    let world = World::new().await;
    let mut event = add(demo::CUSTOMER, "6105551212").no_key().http_event();
    event["requestContext"]["requestId"] = "nobody-yet".into();
    send(&world.function, event, TIMEOUT).await;
    assert_eq!(log::lines_with("nobody-yet")[0].get("client_id"), None);
}

#[tokio::test]
async fn the_emulator_bills_as_the_wire_says() {
    // The wire adds the question to what the function sends; asked directly, the answer is the same.
    let world = World::new().await;
    let get = world.database.get_item().table_name(demo::TABLE).consistent_read(true);
    let got = get
        .key("pk", crate::world::text("CLIENT#demo-clinic#CUSTOMER#BAK-11984-007"))
        .key("sk", crate::world::text("CUSTOMER"))
        .return_consumed_capacity(ReturnConsumedCapacity::Total)
        .send()
        .await
        .unwrap();
    assert_eq!(got.consumed_capacity.unwrap().capacity_units, Some(1.0));
}
