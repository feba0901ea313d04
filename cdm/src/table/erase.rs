//! Removes a number from a customer, and deletes a customer, without making the count of any number wrong.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use cdm_lambda::domain::{Ccid, ClientId, Phone};
use cdm_lambda::store::StoreError;
use cdm_lambda::store::items::{self, Item};

use crate::table::call_failure;
use crate::table::change::{self, Change, ROUNDS};
use crate::table::connection::Connection;
use crate::table::corruption::{Subject, subject};
use crate::table::item_parts;
use crate::table::saved::{self, Shared, lock};
use crate::table::scan::{Filter, Scan, concurrently};
use crate::ui::Failure;

/// What was deleted with a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Erased {
    /// How many numbers it had.
    pub(crate) numbers: usize,
    /// How many items of numbers were deleted, because nothing was left in them.
    pub(crate) counters: u64,
}

/// Why a number cannot be removed from a customer.
#[derive(Debug, PartialEq, Eq)]
enum Refusal {
    NoCustomer,
    NoPhone,
    CorruptRecord,
    CorruptNumber,
}

/// What a deletion does if it cannot read the item of one of the customer's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CorruptNumbers {
    /// Write nothing, because the customer would stay in that item.
    Refuse,
    /// Continue, because the caller deletes every number's item of the client afterwards.
    Leave,
}

/// The number's item without the customer. `None` if the item does not name the customer in a readable form.
fn without(number: &Item, ccid: &Ccid) -> Option<Item> {
    let mut ccids = item_parts::ccids(number);
    if !ccids.remove(ccid.as_str()) {
        return None;
    }
    let mut after = number.clone();
    after.insert(items::CCID_COUNT.to_owned(), AttributeValue::N(ccids.len().to_string()));
    if ccids.is_empty() {
        after.remove(items::CCIDS);
    } else {
        after.insert(items::CCIDS.to_owned(), AttributeValue::Ss(ccids.into_iter().collect()));
    }
    Some(after)
}

/// Plans a removal. It also removes a number that only the record or only the number's item shows.
fn removal(record: Option<&Item>, number: Option<&Item>, ccid: &Ccid, phone: &Phone) -> Result<Vec<Change>, Refusal> {
    let mut changes = Vec::new();
    if let Some(record) = record {
        let Some(AttributeValue::M(channels)) = record.get(items::NOTIFICATION_CHANNELS) else {
            return Err(Refusal::CorruptRecord);
        };
        let mut channels = channels.clone();
        if channels.remove(phone.e164()).is_some() {
            let mut after = record.clone();
            after.insert(items::PHONE_COUNT.to_owned(), AttributeValue::N(channels.len().to_string()));
            after.insert(items::NOTIFICATION_CHANNELS.to_owned(), AttributeValue::M(channels));
            changes.extend(Change::new(Some(record.clone()), Some(after)));
        }
    }
    if let Some(number) = number {
        if item_parts::has_unreadable_ccids(number) {
            return Err(Refusal::CorruptNumber);
        }
        changes.extend(without(number, ccid).and_then(|after| Change::new(Some(number.clone()), Some(after))));
    }
    match (changes.is_empty(), record) {
        (false, _) => Ok(changes),
        (true, Some(_)) => Err(Refusal::NoPhone),
        (true, None) => Err(Refusal::NoCustomer),
    }
}

/// Removes the number from the customer on both sides at once. Saves the old items first.
pub(crate) async fn number(
    connection: &Connection,
    client_id: &ClientId,
    ccid: &Ccid,
    phone: &Phone,
    saving: &Shared,
) -> Result<(), Failure> {
    for round in 0..ROUNDS {
        pause(round).await;
        let record = connection.item(items::customer_key(client_id, ccid)).await?;
        let number = connection.item(items::phone_key(client_id, phone)).await?;
        let changes = removal(record.as_ref(), number.as_ref(), ccid, phone).map_err(|refusal| {
            let corrupt = |what| Failure(format!("{what} is corrupt: `cdm check` says what to do about it"));
            match refusal {
                Refusal::NoCustomer => call_failure::refusal(StoreError::CustomerNotFound, &connection.table),
                Refusal::NoPhone => call_failure::refusal(StoreError::PhoneNotFound, &connection.table),
                Refusal::CorruptRecord => corrupt("the customer's record"),
                Refusal::CorruptNumber => corrupt("the number's item"),
            }
        })?;
        let items = lock(saving).save(&changes)?;
        if saved::write(connection, saving, items, &changes, &[]).await? {
            return Ok(());
        }
    }
    Err(busy())
}

/// Plans the deletion of a record: first the record, then the items of its numbers.
fn deletion(record: Item, numbers: &[Item], ccid: &Ccid) -> Vec<Change> {
    let mut changes: Vec<_> = Change::new(Some(record), None).into_iter().collect();
    for number in numbers {
        if let Some(after) = without(number, ccid) {
            // The key contains the number, which is personal data. So delete the item if it holds nothing else. A consent is
            // something else.
            let after = if crate::table::repair::is_idle(&after) { None } else { Some(after) };
            changes.extend(Change::new(Some(number.clone()), after));
        }
    }
    changes
}

/// Deletes the record, and removes the customer from the item of every number, in one transaction. Saves the old
/// items first. Returns `None` if there was no record.
///
/// A corrupt record must be erasable, too. If its numbers cannot be read, the whole table is searched for them.
pub(crate) async fn customer(
    connection: &Connection,
    client_id: &ClientId,
    ccid: &Ccid,
    corrupt: CorruptNumbers,
    saving: &Shared,
) -> Result<Option<Erased>, Failure> {
    let key = items::customer_key(client_id, ccid);
    let mut was_there = false;
    let (mut numbers, mut counters) = (0, 0);
    for round in 0..ROUNDS {
        pause(round).await;
        let Some(record) = connection.item(key.clone()).await? else {
            return Ok(was_there.then_some(Erased { numbers, counters }));
        };
        was_there = true;
        let mut of_numbers = numbers_of(connection, &record, client_id, ccid).await?;
        if corrupt == CorruptNumbers::Refuse && of_numbers.iter().any(item_parts::has_unreadable_ccids) {
            return Err(Failure(
                "the item of a number is corrupt, so the customer cannot be taken out of it: `cdm check` says what to do"
                    .to_owned(),
            ));
        }
        of_numbers.retain(|number| item_parts::ccids(number).contains(ccid.as_str()));
        numbers = item_parts::channels(&record).count().max(of_numbers.len());
        let mut changes = deletion(record, &of_numbers, ccid);
        let items = lock(saving).save(&changes)?;
        let mut are_done = true;
        // Only a corrupt record can need more than one transaction. The record is in the last one.
        while are_done && !changes.is_empty() {
            let together = changes.split_off(changes.len().saturating_sub(change::MOST));
            let first = items.start + changes.len() as u64;
            let items = first..first + together.len() as u64;
            are_done = saved::write(connection, saving, items, &together, &[]).await?;
            counters +=
                if are_done { together.iter().filter(|change| is_number_deleted(change)).count() as u64 } else { 0 };
        }
        if are_done {
            return Ok(Some(Erased { numbers, counters }));
        }
    }
    Err(busy())
}

fn is_number_deleted(change: &Change) -> bool {
    change.after.is_none() && matches!(subject(&change.key()), Subject::Phone { .. })
}

/// The items of the record's numbers. Some may not name the customer, or may be unreadable.
async fn numbers_of(
    connection: &Connection,
    record: &Item,
    client_id: &ClientId,
    ccid: &Ccid,
) -> Result<Vec<Item>, Failure> {
    let is_readable = record.get(items::NOTIFICATION_CHANNELS).is_some_and(AttributeValue::is_m)
        && item_parts::channels(record).all(|e164| Phone::from_e164(e164).is_some());
    if is_readable {
        let phones: Vec<_> = item_parts::channels(record).filter_map(Phone::from_e164).collect();
        let (connection, client_id) = (connection.clone(), client_id.clone());
        let read = move |phone: Phone| {
            let (connection, key) = (connection.clone(), items::phone_key(&client_id, &phone));
            async move { connection.item(key).await }
        };
        Ok(concurrently(8, phones, read).await?.into_iter().flatten().collect())
    } else {
        search(connection, client_id, ccid).await
    }
}

/// Reads the whole table for the client's number items that name the customer, or whose customers cannot be read.
async fn search(connection: &Connection, client_id: &ClientId, ccid: &Ccid) -> Result<Vec<Item>, Failure> {
    let filter = Filter {
        expression: "begins_with(pk, :prefix) AND attribute_exists(ccids) \
                 AND (contains(ccids, :ccid) OR NOT attribute_type(ccids, :set))",
        values: [
            (":prefix".to_owned(), AttributeValue::S(format!("CLIENT#{}#PHONE#", client_id.as_str()))),
            (":ccid".to_owned(), AttributeValue::S(ccid.as_str().to_owned())),
            (":set".to_owned(), AttributeValue::S("SS".to_owned())),
        ]
        .into(),
    };
    let keys = Arc::new(Mutex::new(BTreeMap::new()));
    let found = Arc::clone(&keys);
    let each = move |item: Item| {
        let key = change::key_of(&item);
        found.lock().unwrap_or_else(PoisonError::into_inner).insert(format!("{:?}", key.get(items::PK)), key);
        async { Ok(()) }
    };
    Scan::default().each(connection, Some(filter), each).await?;
    // Read the items again, because a scan may return an older state.
    let keys: Vec<_> =
        std::mem::take(&mut *keys.lock().unwrap_or_else(PoisonError::into_inner)).into_values().collect();
    let mut numbers = Vec::new();
    for key in keys {
        numbers.extend(connection.item(key).await?);
    }
    Ok(numbers)
}

/// What became of one item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deletion {
    Deleted,
    /// There was no such item.
    Absent,
    /// Other programs keep changing the item.
    Busy,
}

/// Deletes any item, if it still exists. Saves the old item first.
pub(crate) async fn item(connection: &Connection, key: Item, saving: &Shared) -> Result<Deletion, Failure> {
    for round in 0..ROUNDS {
        pause(round).await;
        let Some(change) = Change::new(connection.item(key.clone()).await?, None) else {
            return Ok(Deletion::Absent);
        };
        let items = lock(saving).save(std::slice::from_ref(&change))?;
        if saved::write(connection, saving, items, &[change], &[]).await? {
            return Ok(Deletion::Deleted);
        }
    }
    Ok(Deletion::Busy)
}

/// A random pause between two rounds, so that commands which change the same item do not collide again.
pub(crate) async fn pause(round: usize) {
    if round > 0 {
        let most = Duration::from_millis(20).saturating_mul(1 << round.min(8));
        tokio::time::sleep(most.mul_f64(fastrand::f64())).await;
    }
}

fn busy() -> Failure {
    Failure("other programs keep changing the items: stop those programs and run the command again".to_owned())
}
