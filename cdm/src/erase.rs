//! Deleting a customer's record so that no number's count is ever wrong, on the way or after.

use std::collections::HashSet;

use aws_sdk_dynamodb::types::AttributeValue;
use cdm_lambda::domain::{Ccid, ClientId, Phone};
use cdm_lambda::error::Error;
use cdm_lambda::store::items::{self, Item};
use cdm_lambda::store::{Budget, RemovePhone, Tally};

use crate::connection::{Condition, Connection, PATIENCE};
use crate::counter::ROUNDS;
use crate::{Failure, counter, explain};

/// What went with a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Erased {
    /// How many numbers it had.
    pub(crate) numbers: usize,
    /// How many numbers nobody has any more.
    pub(crate) counters: u64,
}

/// Deletes the record: each number by the function's own removal first, which is whole at any stop; then what is left.
/// `None` where there was no record.
///
/// A damaged record must be erasable, too: where a removal fails on the damage, the customer is taken out of the
/// number's counter, and the number goes with the record.
pub(crate) async fn customer(
    connection: &Connection,
    client_id: &ClientId,
    ccid: &Ccid,
) -> Result<Option<Erased>, Failure> {
    let key = items::customer_key(client_id, ccid);
    let (mut numbers, mut counters) = (HashSet::new(), 0);
    let mut was_there = false;
    for _ in 0..ROUNDS {
        let Some(record) = connection.item(key.clone()).await? else {
            return Ok(was_there.then_some(Erased { numbers: numbers.len(), counters }));
        };
        was_there = true;
        let mut left = HashSet::new();
        for e164 in channels(&record) {
            // What is no number has no counter, and stays on the record to its end.
            let Some(phone) = counter::phone(e164) else {
                left.insert(e164.to_owned());
                continue;
            };
            let counter = items::phone_key(client_id, &phone);
            if !take_out(connection, client_id, ccid, phone).await? {
                counter::take_out(connection, &counter, ccid).await?;
                left.insert(e164.to_owned());
            }
            // The number in its key is personal data: with the last customer that had it, it goes.
            counters += u64::from(counter::delete_idle(connection, counter).await?);
            numbers.insert(e164.to_owned());
        }
        let Some(record) = connection.item(key.clone()).await? else {
            return Ok(Some(Erased { numbers: numbers.len(), counters }));
        };
        // A number that was added meanwhile is taken out in the next round.
        if channels(&record).all(|e164| left.contains(e164)) {
            let as_read = Condition::unchanged(&record, &[items::PHONE_COUNT, items::NOTIFICATION_CHANNELS]);
            if connection.delete(key.clone(), as_read).await? {
                return Ok(Some(Erased { numbers: numbers.len(), counters }));
            }
        }
    }
    Err(Failure("the record is being changed all the time: stop what changes it and run the command again".to_owned()))
}

/// The E.164 forms that the record names.
pub(crate) fn channels(record: &Item) -> impl Iterator<Item = &str> {
    let channels = match record.get(items::NOTIFICATION_CHANNELS) {
        Some(AttributeValue::M(channels)) => Some(channels.keys().map(String::as_str)),
        _ => None,
    };
    channels.into_iter().flatten()
}

/// Removes the number as the function does. `false` where it cannot because of damage.
async fn take_out(connection: &Connection, client_id: &ClientId, ccid: &Ccid, phone: Phone) -> Result<bool, Failure> {
    let remove = RemovePhone { client_id: client_id.clone(), ccid: ccid.clone(), phone };
    match connection.store.remove_phone(&remove, Budget::of(PATIENCE), &mut Tally::default()).await {
        Ok(()) | Err(Error::PhoneNotFound | Error::CustomerNotFound) => Ok(true),
        Err(Error::Internal(trouble)) if trouble.cause.is_corruption() => Ok(false),
        Err(error) => Err(explain::refusal(error, &connection.table)),
    }
}
