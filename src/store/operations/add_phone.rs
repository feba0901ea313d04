//! The add: one transaction over the customer's record and the number's counter.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;

use crate::domain::{CUSTOMERS_PER_PHONE, Ccid, Channel, ClientId, PHONES_PER_CUSTOMER};
use crate::error::Error;
use crate::store::cancellation::{Cancellation, read_add};
use crate::store::retry::Attempt;
use crate::store::transaction::{Transaction, judge};
use crate::store::{CallStats, Deadline, Store, items};

/// A number to be added to a customer's record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddPhone {
    /// Whose customer.
    pub client_id: ClientId,
    /// Which customer.
    pub ccid: Ccid,
    /// The number and what is said of it.
    pub channel: Channel,
}

/// How an add succeeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Added {
    /// The record has one number more.
    Now,
    /// An earlier request with the same idempotency key and values added it; this one wrote nothing.
    Before,
}

impl Store {
    /// Adds the number once, whatever becomes of the answers on the way.
    ///
    /// # Errors
    /// [`Error::CustomerNotFound`], [`Error::PhoneAlreadyAdded`], [`Error::IdempotencyKeyReused`],
    /// [`Error::CustomerPhoneLimitReached`], [`Error::PhoneCustomerLimitReached`], each with nothing written;
    /// [`Error::TryAgain`] with nothing written; [`Error::Internal`] with an unknown outcome.
    pub async fn add_phone(&self, add: &AddPhone, deadline: Deadline, stats: &mut CallStats) -> Result<Added, Error> {
        let record = self
            .update(items::customer_key(&add.client_id, &add.ccid))
            .update_expression("SET notification_channels.#e164 = :channel ADD phone_count :one")
            // Three conditions, told apart by the old item: the customer exists; the number is not there; there is room.
            .condition_expression(
                "attribute_exists(pk) AND attribute_not_exists(notification_channels.#e164) AND phone_count < :limit",
            )
            .expression_attribute_names("#e164", add.channel.phone.e164())
            .set_expression_attribute_values(Some(HashMap::from([
                (":channel".to_owned(), items::from_channel(&add.channel)),
                (":one".to_owned(), AttributeValue::N("1".to_owned())),
                (":limit".to_owned(), AttributeValue::N(PHONES_PER_CUSTOMER.to_string())),
            ])));
        let counter = self
            .update(items::phone_key(&add.client_id, &add.channel.phone))
            .update_expression("ADD ccid_count :one, ccids :ccid_set")
            // The first customer with this number makes the counter.
            .condition_expression("attribute_not_exists(pk) OR ccid_count < :limit")
            .set_expression_attribute_values(Some(HashMap::from([
                (":one".to_owned(), AttributeValue::N("1".to_owned())),
                (":limit".to_owned(), AttributeValue::N(CUSTOMERS_PER_PHONE.to_string())),
                (":ccid_set".to_owned(), AttributeValue::Ss(vec![add.ccid.as_str().to_owned()])),
            ])));
        let transaction = Transaction::new(&self.client, [record, counter], add.channel.phone.e164(), read_add)?;
        transaction
            .settle(deadline, stats, Added::Now, |cancellation, error| {
                Attempt::Settled(match cancellation {
                    Cancellation::NoRecord => Err(Error::CustomerNotFound),
                    Cancellation::HasPhone(earlier) => match (earlier, add.channel.fingerprint) {
                        (Some(earlier), Some(mine)) if earlier == mine => Ok(Added::Before),
                        (Some(earlier), Some(mine)) if earlier.key == mine.key => Err(Error::IdempotencyKeyReused),
                        _ => Err(Error::PhoneAlreadyAdded),
                    },
                    Cancellation::RecordFull => Err(Error::CustomerPhoneLimitReached),
                    Cancellation::PhoneFull => Err(Error::PhoneCustomerLimitReached),
                    other => return judge(other, error),
                })
            })
            .await
    }
}
