//! What is wrong with items, and which repairs are certain. The functions are pure and total: every item gets a
//! plan.
//!
//! Every repair removes no evidence of who has a number or of what was consented to. So no plan removes a ccid from a
//! number's item, or changes a channel except to move its consent. A count that is wrong or cannot be read follows from the
//! list that it counts, and a time that cannot be read is replaced. Other findings need a person, and come with the
//! commands that resolve them.

#[cfg(test)]
pub(crate) mod corrupt_tables;
mod customer;
pub(crate) mod findings;
mod key;
mod number;
pub(crate) mod old_consent;
mod plan;

use aws_sdk_dynamodb::types::AttributeValue;
use cdm_lambda::domain::Phone;
use cdm_lambda::store::items::{self, Item};
use cdm_lambda::time::UnixMillis;

pub(crate) use self::number::number;
use self::plan::Plan;
use crate::table::change::{Change, MustHave};
use crate::table::corruption::{Subject, subject};
use crate::table::repair::findings::{Finding, item_command};

/// The findings of one item, and the state after its repair.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Planned {
    pub(crate) findings: Vec<Finding>,
    /// What a repair writes, together. Empty if nothing can be repaired.
    pub(crate) changes: Vec<Change>,
    /// What the repair requires of other items.
    pub(crate) must_have: Vec<MustHave>,
}

/// What a customer's record says about one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Record {
    /// The record has the number, whatever the entry says about it.
    Has,
    /// The record can be read and does not have the number.
    HasNot,
    /// Its channels cannot be read, so it may have the number.
    Unreadable,
    /// There is no record.
    Absent,
}

impl Record {
    pub(crate) fn from_item(record: Option<&Item>, phone: &Phone) -> Self {
        let Some(record) = record else { return Self::Absent };
        match record.get(items::NOTIFICATION_CHANNELS) {
            Some(AttributeValue::M(channels)) if channels.contains_key(phone.e164()) => Self::Has,
            Some(AttributeValue::M(_)) => Self::HasNot,
            _ => Self::Unreadable,
        }
    }
}

/// Plans the repair of an item by itself. It does not compare a number's item with the records: see [`number()`]. `numbers`
/// are the items of the numbers whose consent a record still holds: see [`old_consent::numbers`].
pub(crate) fn item(item: &Item, numbers: &[(Phone, Option<Item>)], now: UnixMillis) -> Planned {
    let mut plan = Plan::new(item);
    match subject(item) {
        Subject::Customer { client_id, ccid } => {
            customer::plan(&mut plan, item, &client_id, &ccid, now);
            old_consent::plan(&mut plan, &client_id, numbers);
        }
        Subject::Phone { client_id, phone } => return number(&client_id, &phone, Some(item), &[]),
        Subject::Key => key::plan(&mut plan, item, now),
        Subject::Malformed(kind) => {
            let commands = vec![item_command("show", item), item_command("delete", item)];
            plan.person(kind, "nothing reads this item: look at it, and delete it if it is not needed", commands);
        }
    }
    plan.done()
}

/// Whether a number's item is exactly what a removal leaves: no customers, a count of zero, no other attributes.
pub(crate) fn is_idle(item: &Item) -> bool {
    let known = [items::PK, items::SK, items::CCID_COUNT];
    matches!(subject(item), Subject::Phone { .. })
        && items::whole_number(item.get(items::CCID_COUNT)) == Some(0)
        && item.keys().all(|name| known.contains(&name.as_str()))
}

#[cfg(test)]
mod tests;
