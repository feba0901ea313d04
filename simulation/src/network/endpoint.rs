//! The simulated DynamoDB at work: it carries out the calls that arrive.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;

use super::transaction::transact;
use crate::plan::draw::{Draw, Purpose};
use crate::service::expression::{self, Invalid};
use crate::service::message::{Action, Call, Reason, Reply};
use crate::service::origin::Origin;
use crate::service::value::Item;
use crate::world::Simulation;

/// Carries out a call that arrived.
pub(crate) async fn handle(sim: &Simulation, origin: Origin, call: Call) -> Reply {
    match call {
        Call::Transaction(token, actions) => transact(sim, origin, token, actions).await,
        Call::Get(action) => match read(sim, origin, &action) {
            Err(error) => Reply::error(400, "ValidationException", json!({ "reason": error.0 })),
            Ok(None) => Reply::ok(&json!({}), "no item"),
            Ok(Some(item)) => Reply::ok(&json!({ "Item": item }), "an item"),
        },
        Call::Batch(actions) => batch(sim, origin, actions).await,
        Call::TransactGet(actions) => transact_get(sim, &actions),
        Call::Scan(scan) => {
            let service = sim.service();
            let (items, last) = service.tables.scan(&scan);
            let key = last.map(|key| json!({ "pk": { "S": key.pk }, "sk": { "S": key.sk } }));
            let count = items.len();
            Reply::ok(&json!({ "Items": items, "Count": count, "LastEvaluatedKey": key }), format!("{count} items"))
        }
        Call::Write(action) => write(sim, &action),
    }
}

/// The items at one moment, if no transaction holds one of them.
fn transact_get(sim: &Simulation, actions: &[Action]) -> Reply {
    let service = sim.service();
    let reason = |action: &Action| if service.is_held(&action.item_key()) { Reason::CONFLICT } else { Reason::PASSED };
    let reasons: Vec<_> = actions.iter().map(reason).collect();
    if reasons.contains(&Reason::CONFLICT) {
        return Reply::cancelled(&reasons);
    }
    let item = |action: &Action| match service.tables.get(&action.item_key()) {
        Some(item) => json!({ "Item": item }),
        None => json!({}),
    };
    let responses: Vec<_> = actions.iter().map(item).collect();
    Reply::ok(&json!({ "Responses": responses }), "items of one moment")
}

/// The item, or the part of it that is asked for. `GetItem` and `BatchGetItem` must ask for a consistent read. A scan is
/// eventually consistent on purpose.
fn read(sim: &Simulation, origin: Origin, action: &Action) -> Result<Option<Item>, Invalid> {
    let key = action.item_key();
    if !action.consistent_read {
        sim.violation(format_args!("{origin}: a read that is not consistent: {key}"));
    }
    sim.read(origin, &key);
    let service = sim.service();
    let item = service.tables.get(&key);
    let names = &action.expression_attribute_names;
    let attributes = expression::Attributes { names, values: &action.expression_attribute_values };
    match (item, &action.projection_expression) {
        (Some(item), Some(projection)) => expression::project(projection, item, attributes).map(Some),
        (item, _) => Ok(item.cloned()),
    }
}

/// Reads the items one after another. Sometimes a part of the keys stays unprocessed.
async fn batch(sim: &Simulation, origin: Origin, actions: Vec<Action>) -> Reply {
    let key = [u64::from(origin.request), u64::from(origin.call)];
    let mut draw = Draw::new(sim.plan.seed, Purpose::Batch, &key);
    // DynamoDB processes at least one. If it can process none, it refuses the call.
    let most = if draw.chance(1, 20) { draw.range(1, actions.len() as u64) } else { u64::MAX };
    let (mut items, mut left) = (BTreeMap::<_, Vec<_>>::new(), BTreeMap::<_, Vec<_>>::new());
    // What is left unprocessed has the form of the request.
    let mut form = serde_json::Map::new();
    for (index, action) in (0..).zip(actions) {
        let table = action.table_name.clone();
        if index >= most {
            form.insert("ConsistentRead".to_owned(), json!(action.consistent_read));
            form.insert("ProjectionExpression".to_owned(), json!(action.projection_expression));
            form.insert("ExpressionAttributeNames".to_owned(), json!(action.expression_attribute_names));
            left.entry(table).or_default().push(action.key);
            continue;
        }
        if draw.chance(1, 4) {
            sleep(Duration::from_millis(draw.range(1, 3))).await;
        }
        match read(sim, origin, &action) {
            Err(error) => return Reply::error(400, "ValidationException", json!({ "reason": error.0 })),
            Ok(item) => items.entry(table).or_default().extend(item),
        }
    }
    let summary = if left.is_empty() { "items" } else { "a part of the items" };
    let with_form = |keys: Vec<_>| {
        let mut request = form.clone();
        request.insert("Keys".to_owned(), json!(keys));
        request
    };
    let left: BTreeMap<_, _> = left.into_iter().map(|(table, keys)| (table, with_form(keys))).collect();
    Reply::ok(&json!({ "Responses": items, "UnprocessedKeys": left }), summary)
}

/// A put, an update or a deletion of one item.
fn write(sim: &Simulation, action: &Action) -> Reply {
    let mut service = sim.service();
    let key = action.item_key();
    if service.is_held(&key) {
        return Reply::error(400, "TransactionConflictException", json!({}));
    }
    match service.tables.prepare(action) {
        Err(reason) if reason.code == "ConditionalCheckFailed" => {
            Reply::error(400, "ConditionalCheckFailedException", json!({ "Item": reason.item }))
        }
        Err(_) => Reply::error(400, "ValidationException", json!({})),
        Ok(new) => {
            let attributes = action.return_values.as_deref().filter(|values| *values == "ALL_NEW").and(new.clone());
            service.tables.set(key.clone(), new);
            drop(service);
            sim.written(&key);
            match attributes {
                Some(attributes) => Reply::ok(&json!({ "Attributes": attributes }), "written"),
                None => Reply::ok(&json!({}), "written"),
            }
        }
    }
}
