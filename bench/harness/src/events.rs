//! Events as API Gateway sends them: one of the repository's own fixtures, with another number and customer each time.

use serde_json::Value;

use crate::Result;

const ADD: &str = include_str!("../../../events/http-200-added.json");

/// Of the demo API key that the fixtures carry.
pub const API_KEY_SHA256: &str = "2b11c50396615a4247f02b42b7eb9728fe7d7589984ec72c86f212c501d40da5";

/// `count` adds, number after number from `first`, to the customers in turn.
pub fn adds(customers: &[String], first: u64, count: usize) -> Result<Vec<String>> {
    // Compact, as Lambda sends it.
    let template = serde_json::from_str::<Value>(ADD)?.to_string();
    let event = |index: usize| {
        let customer = customers.get(index % customers.len().max(1)).map_or("BAK-11984-007", String::as_str);
        let number = format!("{}", first + index as u64);
        template.replace("6105551212", &number).replace("BAK-11984-007", customer)
    };
    Ok((0..count).map(event).collect())
}
