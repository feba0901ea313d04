//! Writing a number's counter as a whole, where it cannot be counted up or down because it is damaged: always on
//! condition that it is still as it was read.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::types::AttributeValue;
use cdm_lambda::domain::{Ccid, CountryCode, Phone};
use cdm_lambda::store::items::{self, Item};

use crate::Failure;
use crate::connection::{Condition, Connection};

/// What a counter is made of.
const ATTRIBUTES: [&str; 2] = [items::CCID_COUNT, items::CCIDS];

/// How often a repair begins again because its item has changed under it.
pub(crate) const ROUNDS: usize = 10;

/// The customers that the counter names. Anything that is no set of strings names nobody.
pub(crate) fn ccids(counter: &Item) -> BTreeSet<String> {
    match counter.get(items::CCIDS) {
        Some(AttributeValue::Ss(ccids)) => ccids.iter().cloned().collect(),
        _ => BTreeSet::new(),
    }
}

/// Whether the counter stands at zero and names nobody, as a removal leaves it.
pub(crate) fn is_idle(counter: &Item) -> bool {
    items::whole_number(counter.get(items::CCID_COUNT)) == Some(0) && !counter.contains_key(items::CCIDS)
}

/// Makes the counter name these customers and no others; without any it is deleted. `false` where it is no longer as
/// it was `read`.
pub(crate) async fn write(
    connection: &Connection,
    key: Item,
    read: Option<&Item>,
    ccids: &BTreeSet<String>,
) -> Result<bool, Failure> {
    let condition = read.map_or_else(Condition::absent, |read| Condition::unchanged(read, &ATTRIBUTES));
    if ccids.is_empty() {
        return if read.is_some() { connection.delete(key, condition).await } else { Ok(true) };
    }
    let count = AttributeValue::N(ccids.len().to_string());
    let ccids = AttributeValue::Ss(ccids.iter().cloned().collect());
    connection.set(key, vec![(items::CCID_COUNT, Some(count)), (items::CCIDS, Some(ccids))], condition).await
}

/// Takes a customer out of the counter, whatever its count says.
pub(crate) async fn take_out(connection: &Connection, key: &Item, ccid: &Ccid) -> Result<(), Failure> {
    for _ in 0..ROUNDS {
        let Some(counter) = connection.item(key.clone()).await? else {
            return Ok(());
        };
        let mut ccids = ccids(&counter);
        if !ccids.remove(ccid.as_str()) || write(connection, key.clone(), Some(&counter), &ccids).await? {
            return Ok(());
        }
    }
    Err(Failure("a number's counter is being changed all the time: run the command again".to_owned()))
}

/// Deletes the counter if it stands at zero.
pub(crate) async fn delete_idle(connection: &Connection, key: Item) -> Result<bool, Failure> {
    let zero = Item::from([(items::CCID_COUNT.to_owned(), AttributeValue::N("0".to_owned()))]);
    connection.delete(key, Condition::unchanged(&zero, &ATTRIBUTES)).await
}

/// The number of a stored E.164 form. Calling codes are no prefixes of one another, so there is one reading at most.
pub(crate) fn phone(e164: &str) -> Option<Phone> {
    (2..=4).find_map(|end| Phone::from_stored(e164, CountryCode::parse(e164.get(1..end)?).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_form_has_one_reading() {
        for (e164, code) in [("+16105551212", 1), ("+33612345678", 33), ("+353861234567", 353), ("+80012345678", 800)] {
            assert_eq!(phone(e164).map(|phone| phone.country_code().number()), Some(code), "{e164}");
        }
        for bad in ["", "+", "16105551212", "+0123456789", "+99912345", "+1610555121212345", "+1é", "+1 610"] {
            assert_eq!(phone(bad), None, "{bad}");
        }
    }
}
