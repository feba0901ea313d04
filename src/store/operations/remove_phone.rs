//! The removal: the add's two items, the other way round.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;

use crate::domain::{Ccid, ClientId, Phone};
use crate::error::Error;
use crate::store::cancellation::{Cancellation, read_remove};
use crate::store::retry::Attempt;
use crate::store::transaction::{Transaction, judge};
use crate::store::{CallStats, Deadline, Store, items};

/// A number to be removed from a customer's record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemovePhone {
    /// Whose customer.
    pub client_id: ClientId,
    /// Which customer.
    pub ccid: Ccid,
    /// The number.
    pub phone: Phone,
}

impl Store {
    /// Removes the number; it is at once free for others. Client tokens are as for the add: see [`super::transaction`].
    ///
    /// # Errors
    /// [`Error::CustomerNotFound`], [`Error::PhoneNotFound`], each with nothing written; [`Error::TryAgain`] with nothing
    /// written; [`Error::Internal`] with an unknown outcome.
    pub async fn remove_phone(
        &self,
        remove: &RemovePhone,
        deadline: Deadline,
        stats: &mut CallStats,
    ) -> Result<(), Error> {
        let one_less = || (":minus_one".to_owned(), AttributeValue::N("-1".to_owned()));
        let record = self
            .update(items::customer_key(&remove.client_id, &remove.ccid))
            .update_expression("REMOVE notification_channels.#e164 ADD phone_count :minus_one")
            .condition_expression("attribute_exists(notification_channels.#e164)")
            .expression_attribute_names("#e164", remove.phone.e164())
            .set_expression_attribute_values(Some(HashMap::from([one_less()])));
        let counter = self
            .update(items::phone_key(&remove.client_id, &remove.phone))
            .update_expression("ADD ccid_count :minus_one DELETE ccids :ccid_set")
            // A count never goes below zero. A counter at zero is left for the operator's check to delete.
            .condition_expression("ccid_count > :zero")
            .set_expression_attribute_values(Some(HashMap::from([
                one_less(),
                (":zero".to_owned(), AttributeValue::N("0".to_owned())),
                (":ccid_set".to_owned(), AttributeValue::Ss(vec![remove.ccid.as_str().to_owned()])),
            ])));
        let transaction = Transaction::new(&self.client, [record, counter], remove.phone.e164(), read_remove)?;
        transaction
            .settle(deadline, stats, (), |cancellation, error| match cancellation {
                Cancellation::NoRecord => Attempt::Settled(Err(Error::CustomerNotFound)),
                Cancellation::NoPhone => Attempt::Settled(Err(Error::PhoneNotFound)),
                other => judge(other, error),
            })
            .await
    }
}
