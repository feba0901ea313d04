//! A number's item: whom it names.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::types::AttributeValue;
use cdm_lambda::store::items::{self, Item};

/// The customers that the item names. Anything that is not a set of strings names no one.
pub(crate) fn ccids(counter: &Item) -> BTreeSet<String> {
    match counter.get(items::CCIDS) {
        Some(AttributeValue::Ss(ccids)) => ccids.iter().cloned().collect(),
        _ => BTreeSet::new(),
    }
}
