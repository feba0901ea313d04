//! The add as most people would write it in Rust, with lambda_http, the SDK and all defaults.
//! `TUTORIAL_ITEMS=3` selects the design of most tutorials: the number is a separate item, next to two counters.

use std::collections::HashMap;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use aws_sdk_dynamodb::types::{AttributeValue, Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update};
use lambda_http::{Body, Error, Request, RequestExt, Response, run, service_fn};
use regex::Regex;
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest, Sha256};

#[derive(Deserialize, Default)]
struct AddPhone {
    consent_type: Option<String>,
    phone_type: Option<String>,
    client_source: Option<String>,
}

struct App {
    client: Client,
    table: String,
    three_items: bool,
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    tracing_subscriber::fmt().json().with_env_filter(tracing_subscriber::EnvFilter::new("info")).init();
    let config = aws_config::load_from_env().await;
    let app = App {
        client: Client::new(&config),
        table: std::env::var("TABLE_NAME")?,
        three_items: std::env::var("TUTORIAL_ITEMS").is_ok_and(|items| items == "3"),
    };
    run(service_fn(|request: Request| handle(&app, request))).await
}

fn respond(status: u16, body: serde_json::Value) -> Result<Response<Body>, Error> {
    tracing::info!(status, "request answered");
    Ok(Response::builder().status(status).header("content-type", "application/json").body(body.to_string().into())?)
}

fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

fn number(value: u64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

fn key(pk: String, sk: &str) -> HashMap<String, AttributeValue> {
    HashMap::from([("pk".to_owned(), AttributeValue::S(pk)), ("sk".to_owned(), text(sk))])
}

async fn handle(app: &App, request: Request) -> Result<Response<Body>, Error> {
    let parameters = request.path_parameters();
    let (Some(client_id), Some(ccid), Some(phone)) =
        (parameters.first("client_id"), parameters.first("ccid"), parameters.first("phone_number"))
    else {
        return respond(404, json!({"message": "No such route."}));
    };
    let api_key = request.headers().get("x-relay-api-key").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let hash: String = Sha256::digest(api_key).iter().map(|byte| format!("{byte:02x}")).collect();
    let found = app
        .client
        .get_item()
        .table_name(&app.table)
        .set_key(Some(key(format!("KEY#{hash}"), "KEY")))
        .consistent_read(true)
        .send()
        .await?;
    if found.item().and_then(|item| item.get("client_id")).and_then(|client| client.as_s().ok()).map(String::as_str)
        != Some(client_id)
    {
        return respond(401, json!({"message": "Unauthorized."}));
    }
    let body: AddPhone = match request.body() {
        Body::Empty => AddPhone::default(),
        body => match serde_json::from_slice(body) {
            Ok(body) => body,
            Err(_) => return respond(400, json!({"message": "The body is invalid."})),
        },
    };
    let valid = Regex::new("^[0-9]{10,11}$")?.is_match(phone)
        && (1..=100).contains(&ccid.chars().count())
        && body.phone_type.as_deref().is_none_or(|word| ["mobile", "landline", "unknown"].contains(&word))
        && body.consent_type.as_deref().is_none_or(|word| ["written", "express", "stop"].contains(&word))
        && body.client_source.as_deref().is_none_or(|source| (1..=100).contains(&source.chars().count()));
    if !valid {
        return respond(400, json!({"message": "The request is invalid."}));
    }
    let e164 = if phone.len() == 10 { format!("+1{phone}") } else { format!("+{phone}") };
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as u64;
    let mut channel = HashMap::from([("t".to_owned(), number(now))]);
    for (name, value) in [("p", body.phone_type), ("c", body.consent_type), ("s", body.client_source)] {
        channel.extend(value.map(|value| (name.to_owned(), AttributeValue::S(value))));
    }

    let record_key = key(format!("CLIENT#{client_id}#CUSTOMER#{ccid}"), "CUSTOMER");
    let counter_key = key(format!("CLIENT#{client_id}#PHONE#{e164}"), "PHONE");
    let update = || {
        Update::builder()
            .table_name(&app.table)
            .expression_attribute_values(":one", number(1))
            .expression_attribute_values(":limit", number(50))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
    };
    let transaction = app.client.transact_write_items();
    let transaction = if app.three_items {
        let mut item = key(format!("CLIENT#{client_id}#CUSTOMER#{ccid}"), &format!("PHONE#{e164}"));
        item.extend(channel);
        let channel = Put::builder()
            .table_name(&app.table)
            .set_item(Some(item))
            .condition_expression("attribute_not_exists(pk)")
            .build()?;
        let record = update()
            .set_key(Some(record_key))
            .update_expression("ADD phone_count :one")
            .condition_expression("attribute_exists(pk) AND phone_count < :limit")
            .build()?;
        let counter = update()
            .set_key(Some(counter_key))
            .update_expression("ADD ccid_count :one")
            .condition_expression("attribute_not_exists(pk) OR ccid_count < :limit")
            .build()?;
        transaction
            .transact_items(TransactWriteItem::builder().put(channel).build())
            .transact_items(TransactWriteItem::builder().update(record).build())
            .transact_items(TransactWriteItem::builder().update(counter).build())
    } else {
        let record = update()
            .set_key(Some(record_key))
            .update_expression("SET notification_channels.#e164 = :channel ADD phone_count :one")
            .condition_expression(
                "attribute_exists(pk) AND attribute_not_exists(notification_channels.#e164) AND phone_count < :limit",
            )
            .expression_attribute_names("#e164", &e164)
            .expression_attribute_values(":channel", AttributeValue::M(channel))
            .build()?;
        let counter = update()
            .set_key(Some(counter_key))
            .update_expression("ADD ccid_count :one, ccids :ccid_set")
            .condition_expression("attribute_not_exists(pk) OR ccid_count < :limit")
            .expression_attribute_values(":ccid_set", AttributeValue::Ss(vec![ccid.to_owned()]))
            .build()?;
        transaction
            .transact_items(TransactWriteItem::builder().update(record).build())
            .transact_items(TransactWriteItem::builder().update(counter).build())
    };
    match transaction.send().await {
        Ok(_) => {
            let message =
                format!("Phone number {phone} has been added to customer with ccid {ccid} for client {client_id}.");
            respond(200, json!({"message": message}))
        }
        Err(error) if error.code() == Some("TransactionCanceledException") => {
            respond(409, json!({"message": "The phone number cannot be added."}))
        }
        Err(_) => respond(500, json!({"message": "Please retry your request."})),
    }
}
