//! What a request costs at DynamoDB, counted at the wire, and the one line that it leaves in the log.

use aws_sdk_dynamodb::types::ReturnConsumedCapacity;
use cdm::demo;
use serde_json::{Value, json};

use crate::log;
use crate::wire::{AWS_REQUEST_ID, Fate};
use crate::world::{Request, TIMEOUT, World, add, customer, remove, send};

/// Operation and units of each call that the request makes.
async fn calls(world: &World, request: &Request) -> Vec<(String, f64)> {
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
    let told = |line: &Value, name: &str| line[name].clone();
    for (name, values) in [
        ("status", [json!(200), json!(409)]),
        ("code", [json!("ok"), json!("phone_already_added")]),
        ("operation", [json!("add_phone"), json!("add_phone")]),
        ("message", [json!("request answered"), json!("request answered")]),
        ("replayed", [json!(false), json!(false)]),
        ("client_id", [json!("demo-clinic"), json!("demo-clinic")]),
        ("level", [json!("INFO"), json!("INFO")]),
        ("lambda_request_id", [json!("lambda-request"), json!("lambda-request")]),
        ("ColdStarts", [json!(1), json!(0)]),
        ("RoundTrips", [json!(2), json!(1)]),
        ("KeyCacheHits", [json!(0), json!(1)]),
        ("Retries", [json!(0), json!(0)]),
        ("Conflicts", [json!(0), json!(0)]),
        ("Requests", [json!(1), json!(1)]),
        ("Errors5xx", [json!(0), json!(0)]),
    ] {
        assert_eq!([told(&lines[0], name), told(&lines[1], name)], values, "{name}");
    }
    for line in lines {
        assert!(line["duration_ms"].as_f64().unwrap() > 0.0);
        assert!(line["timestamp"].as_str().unwrap().ends_with('Z'));
    }
}

#[tokio::test]
async fn the_line_counts_repeats_and_what_was_refused_for_others() {
    let world = World::new().await;
    let [conflict, passed] = ["TransactionConflict", "None"].map(|code| json!({ "Code": code }));
    world.wire.writes([
        Fate::cancelled(&conflict, &passed),
        Fate::LoseRequest,
        Fate::error(400, "ThrottlingException"),
        Fate::Unreachable,
    ]);
    let mut event = add(demo::CUSTOMER, "6105551212").http_event();
    event["requestContext"]["requestId"] = "a-line-of-repeats".into();
    assert_eq!(send(&world.function, event, TIMEOUT).await.status, 200);
    let line = &log::lines_with("a-line-of-repeats")[0];
    // The key, and five attempts of the write.
    let told = ["RoundTrips", "Retries", "Conflicts"].map(|name| line[name].as_u64());
    assert_eq!(told, [Some(6), Some(4), Some(2)]);
}

/// Names, by dimensions, of the metrics that a line makes; each must be a number of the line.
fn metrics(line: &Value) -> Value {
    let embedded = &line["_aws"];
    assert!(embedded["Timestamp"].as_u64().unwrap() > 1_700_000_000_000);
    let mut by_dimensions = serde_json::Map::new();
    for directive in embedded["CloudWatchMetrics"].as_array().unwrap() {
        assert_eq!(directive["Namespace"], "CdmPhones");
        let dimensions = directive["Dimensions"][0].as_array().unwrap();
        assert!(dimensions.iter().all(|name| line[name.as_str().unwrap()].is_string()));
        let metrics = directive["Metrics"].as_array().unwrap();
        assert!(metrics.iter().all(|metric| line[metric["Name"].as_str().unwrap()].is_u64()));
        let names: Vec<_> = metrics.iter().map(|metric| metric["Name"].as_str().unwrap()).collect();
        let dimensions: Vec<_> = dimensions.iter().map(|name| name.as_str().unwrap()).collect();
        by_dimensions.insert(dimensions.join(" "), names.join(" ").into());
    }
    Value::Object(by_dimensions)
}

#[tokio::test]
async fn the_line_is_the_requests_metrics_by_operation_and_never_by_client() {
    let world = World::new().await;
    let line = async |request: Request, id: &str| {
        let mut event = request.http_event();
        event["requestContext"]["requestId"] = id.into();
        send(&world.function, event, TIMEOUT).await;
        log::lines_with(id).remove(0)
    };
    assert_eq!(
        metrics(&line(add(demo::CUSTOMER, "6105551212"), "metrics-of-an-add").await),
        json!({
            "FunctionName operation code": "Requests",
            "FunctionName operation": "RoundTrips Retries Conflicts",
            "FunctionName": "Errors5xx ColdStarts KeyCacheHits",
        })
    );
    assert_eq!(
        metrics(&line(customer(demo::CUSTOMER), "metrics-of-a-read").await),
        json!({
            "FunctionName operation code": "Requests",
            "FunctionName operation": "RoundTrips Retries",
            "FunctionName": "Errors5xx ColdStarts KeyCacheHits",
        })
    );
    assert_eq!(
        metrics(&line(add(demo::CUSTOMER, "6105551212").method("POST"), "metrics-of-no-operation").await),
        json!({ "FunctionName operation code": "Requests", "FunctionName": "Errors5xx ColdStarts" })
    );
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

/// AWS documents it as a reason of the cancelled transaction; DynamoDB Local refuses the whole call.
#[tokio::test]
async fn an_item_that_the_write_does_not_fit_is_damage_however_dynamodb_says_so() {
    let world = World::new().await;
    world.wire.writes([Fate::error(400, "ValidationException")]);
    let mut event = add(demo::CUSTOMER, "6105551212").http_event();
    event["requestContext"]["requestId"] = "a-validation-error".into();
    let reply = send(&world.function, event, TIMEOUT).await;
    assert_eq!(reply.row(), (500, Some("internal_error")));
    let lines = log::lines_with("a-validation-error");
    assert_eq!(lines[0]["what"], "the customer's record or the number's counter is damaged");
    assert_eq!(lines[0]["aws_code"], "ValidationException");
    assert_eq!(lines[0]["aws_request_id"], AWS_REQUEST_ID);
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
