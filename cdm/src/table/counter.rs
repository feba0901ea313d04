//! The ccids of a number's item.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::types::AttributeValue;
use cdm_lambda::store::items::{self, Item};

/// The customers that the item names. Anything but a set of strings names no customer.
pub(crate) fn ccids(counter: &Item) -> BTreeSet<String> {
    match counter.get(items::CCIDS) {
        Some(AttributeValue::Ss(ccids)) => ccids.iter().cloned().collect(),
        _ => BTreeSet::new(),
    }
}
