//! The simulated service's items and expressions against the embedded engine: the same calls, the same replies.

use std::collections::BTreeMap;

use dynoxide::Database;
use serde_json::{Value as Json, from_slice, from_value, json, to_value};
use simulation::plan::generate;
use simulation::runner::run;
use simulation::service::value::Item;
use simulation::world::Exchange;
use simulation::world::trace::Keep;

const REQUESTS: u32 = 150;

fn engine(items: &[Item]) -> Database {
    let database = Database::memory().unwrap();
    let key = |name: &str, kind: &str| json!({ "AttributeName": name, "KeyType": kind });
    let table = json!({
        "TableName": "table-0",
        "BillingMode": "PAY_PER_REQUEST",
        "KeySchema": [key("pk", "HASH"), key("sk", "RANGE")],
        "AttributeDefinitions": [
            { "AttributeName": "pk", "AttributeType": "S" },
            { "AttributeName": "sk", "AttributeType": "S" },
        ],
    });
    database.create_table(from_value(table).unwrap()).unwrap();
    for item in items {
        database.put_item(from_value(json!({ "TableName": "table-0", "Item": item })).unwrap()).unwrap();
    }
    database
}

/// What of a reply must agree: its code and its items.
#[derive(Debug, PartialEq)]
struct Essence {
    code: Option<String>,
    item: Option<Item>,
    /// The items of a batch, a transaction or a scan, sorted.
    items: Vec<Item>,
    reasons: Vec<(String, Option<Item>)>,
}

fn essence(body: &Json) -> Essence {
    let item =
        |holder: &Json| holder.get("Item").filter(|item| !item.is_null()).map(|item| from_value(item.clone()).unwrap());
    let code = body.get("__type").map(|code| code.as_str().unwrap().rsplit('#').next().unwrap().to_owned());
    let reasons = body.get("CancellationReasons").and_then(Json::as_array).into_iter().flatten();
    let reasons = reasons.map(|reason| (reason["Code"].as_str().unwrap().to_owned(), item(reason))).collect();
    // The operators ignore the item of a condition that failed.
    let is_read = code.is_none();
    let of_transaction = |response: &Json| response.get("Item").cloned().unwrap_or_default();
    let items = match (body.pointer("/Responses/table-0"), body.get("Responses"), body.get("Items")) {
        (Some(Json::Array(of_batch)), ..) | (None, None, Some(Json::Array(of_batch))) => of_batch.clone(),
        (None, Some(Json::Array(responses)), _) => responses.iter().map(of_transaction).collect(),
        _ => Vec::new(),
    };
    let items = items.into_iter().filter(|item| !item.is_null());
    let mut items: Vec<Item> = items.map(|item| from_value(item).unwrap()).collect();
    items.sort_by_key(|item| format!("{item:?}"));
    Essence { code, item: item(body).filter(|_| is_read), items, reasons }
}

fn repeat(database: &Database, exchange: &Exchange) -> Json {
    let body = &exchange.body;
    let replied = match exchange.operation.as_str() {
        "DynamoDB_20120810.GetItem" => {
            database.get_item(from_slice(body).unwrap()).map(|reply| to_value(reply).unwrap())
        }
        "DynamoDB_20120810.BatchGetItem" => {
            database.batch_get_item(from_slice(body).unwrap()).map(|reply| to_value(reply).unwrap())
        }
        "DynamoDB_20120810.TransactGetItems" => {
            database.transact_get_items(from_slice(body).unwrap()).map(|reply| to_value(reply).unwrap())
        }
        // Each service divides a table into parts in its own way, so the engine reads the whole table.
        "DynamoDB_20120810.Scan" => {
            database.scan(from_value(json!({ "TableName": "table-0" })).unwrap()).map(|reply| to_value(reply).unwrap())
        }
        "DynamoDB_20120810.PutItem" => {
            database.put_item(from_slice(body).unwrap()).map(|reply| to_value(reply).unwrap())
        }
        "DynamoDB_20120810.UpdateItem" => {
            database.update_item(from_slice(body).unwrap()).map(|reply| to_value(reply).unwrap())
        }
        "DynamoDB_20120810.TransactWriteItems" => {
            database.transact_write_items(from_slice(body).unwrap()).map(|reply| to_value(reply).unwrap())
        }
        other => panic!("{other}"),
    };
    replied.unwrap_or_else(|error| serde_json::from_str(&error.to_json()).unwrap())
}

/// Not compared: the order of items in a reply, how a scan divides the table, and partial batches. A scan must return only
/// items of the table.
#[test]
fn every_call_has_the_reply_of_the_embedded_engine() {
    let mut compared = BTreeMap::new();
    for seed in 0..3 {
        let mut plan = generate::plan(seed, REQUESTS);
        // One request at a time: the engine has no conflicts.
        plan.environments = 1;
        plan.events.retain(|event| {
            use simulation::plan::EventKind::{Check, IssueKey, RevokeKey};
            matches!(event.kind, Check | IssueKey { .. } | RevokeKey { .. })
        });
        (plan.call_faults, plan.invocation_faults) = (Vec::new(), Vec::new());
        plan.requests.iter_mut().zip(0..).for_each(|(request, number)| request.at = number * 1_000);
        let outcome = run(plan, Keep::Calls);
        assert_eq!(outcome.violations, Vec::<String>::new());
        let (first, exchanges) = outcome.calls;
        let database = engine(&first);
        // The engine leaves no key of a batch unprocessed, so such replies are not compared.
        let is_whole = |exchange: &&Exchange| exchange.reply.summary != "a part of the items";
        for exchange in exchanges.iter().filter(is_whole) {
            let expected = essence(&repeat(&database, exchange));
            let mut actual = essence(&serde_json::from_str(&exchange.reply.body).unwrap());
            if exchange.operation.ends_with(".Scan") {
                assert!(actual.items.iter().all(|item| expected.items.contains(item)), "{actual:?}");
                actual.items.clone_from(&expected.items);
            }
            assert_eq!(actual, expected, "{}", String::from_utf8_lossy(&exchange.body));
            let codes = expected.reasons.iter().map(|(code, _)| code.clone()).collect::<Vec<_>>().join(",");
            *compared.entry((exchange.operation.clone(), codes)).or_insert(0) += 1;
        }
    }
    println!("{compared:?}");
    assert!(compared.len() >= 5, "too few kinds of calls: {compared:?}");
}
