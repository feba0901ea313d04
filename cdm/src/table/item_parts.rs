//! The customers in a number's item, and the numbers in a customer's record.

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

/// Whether the item's customers cannot be read.
pub(crate) fn has_unreadable_ccids(number: &Item) -> bool {
    number.get(items::CCIDS).is_some_and(|ccids| !ccids.is_ss())
}

/// The channels of the record, by their E.164 forms.
pub(crate) fn entries(record: &Item) -> Option<&Item> {
    match record.get(items::NOTIFICATION_CHANNELS) {
        Some(AttributeValue::M(channels)) => Some(channels),
        _ => None,
    }
}

/// The E.164 forms in the record.
pub(crate) fn channels(record: &Item) -> impl Iterator<Item = &str> {
    entries(record).into_iter().flat_map(Item::keys).map(String::as_str)
}
