//! The simulated DynamoDB at work: it carries out the calls that arrive.

use super::transaction::transact;
use serde_json::json;

use crate::service::expression;
use crate::service::message::{Action, Call, Reply};
use crate::service::origin::Origin;
use crate::world::Simulation;

/// Carries out a call that arrived.
pub(crate) async fn handle(sim: &Simulation, origin: Origin, call: Call) -> Reply {
    match call {
        Call::Transaction(token, actions) => transact(sim, origin, token, actions).await,
        Call::Get(action) => {
            let service = sim.service();
            let item = service.tables.get(&action.item_key());
            let names = &action.expression_attribute_names;
            let attributes = expression::Attributes { names, values: &action.expression_attribute_values };
            let shown = match (item, &action.projection_expression) {
                (Some(item), Some(projection)) => match expression::project(projection, item, attributes) {
                    Ok(item) => Some(item),
                    Err(error) => return Reply::error(400, "ValidationException", json!({ "reason": error.0 })),
                },
                (item, _) => item.cloned(),
            };
            match shown {
                None => Reply::ok(&json!({}), "no item"),
                Some(item) => Reply::ok(&json!({ "Item": item }), "an item"),
            }
        }
        Call::Write(action) => write(sim, &action),
    }
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
