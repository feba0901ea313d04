//! Events of an add: a file of `events/`, with another number and customer each time.

use serde_json::Value;

use crate::Result;

const ADD: &str = include_str!("../../../events/http-200-added.json");

/// The SHA-256 of the API key in the event.
pub const API_KEY_SHA256: &str = "2b11c50396615a4247f02b42b7eb9728fe7d7589984ec72c86f212c501d40da5";

/// The first number that is added. The next adds count up.
pub const FIRST_NUMBER: u64 = 6_100_000_000;

/// `count` adds of the numbers from `first`, to the customers in turn.
pub fn adds(customers: &[String], first: u64, count: usize) -> Result<Vec<String>> {
    // Without spaces, as Lambda sends it.
    let template = serde_json::from_str::<Value>(ADD)?.to_string();
    let event = |index: usize| {
        let customer = customers.get(index % customers.len().max(1)).map_or("BAK-11984-007", String::as_str);
        let number = format!("{}", first + index as u64);
        template.replace("6105551212", &number).replace("BAK-11984-007", customer)
    };
    Ok((0..count).map(event).collect())
}

/// `count` ccids that begin with `prefix`.
pub fn customers(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|index| format!("{prefix}-{index:05}")).collect()
}

/// Customers that begin with no phone number, for [`crate::database::embedded`].
pub fn without_numbers(customers: &[String]) -> Vec<(String, usize)> {
    customers.iter().map(|customer| (customer.clone(), 0)).collect()
}
