//! The add: one transaction over the customer's record and the number's counter.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;

use crate::domain::{AddOutcome, AddPhone};
use crate::store::cancellation::{Cancellation, read_add};
use crate::store::retry::Attempt;
use crate::store::transaction::not_decided;
use crate::store::{CallContext, Store, StoreError, items, stored_consent};

impl Store {
    /// Adds the number once, even if responses of DynamoDB are lost. The consent that the add states becomes the number's,
    /// unless the number is stopped.
    ///
    /// # Errors
    /// [`StoreError::TryAgain`] if nothing was written; [`StoreError::Internal`] if the outcome is unknown. With every other
    /// error nothing was written.
    pub async fn add_phone(&self, add: &AddPhone, context: &mut CallContext) -> Result<AddOutcome, StoreError> {
        let e164 = add.channel.phone.e164();
        let record = self
            .update(items::customer_key(&add.client_id, &add.ccid))
            .update_expression("SET notification_channels.#e164 = :channel ADD phone_count :one")
            // The customer exists, the number is not on the record, and the record has room. The old item shows which
            // of the three failed.
            .condition_expression(
                "attribute_exists(pk) AND attribute_not_exists(notification_channels.#e164) AND phone_count < :limit",
            )
            .expression_attribute_names("#e164", e164)
            .set_expression_attribute_values(Some(HashMap::from([
                (":channel".to_owned(), items::from_channel(&add.channel)),
                (":one".to_owned(), AttributeValue::N("1".to_owned())),
                (":limit".to_owned(), AttributeValue::N(self.limits.phones_per_customer.to_string())),
            ])));
        let mut counter_values = HashMap::from([
            (":one".to_owned(), AttributeValue::N("1".to_owned())),
            (":limit".to_owned(), AttributeValue::N(self.limits.customers_per_phone.to_string())),
            (":ccid_set".to_owned(), AttributeValue::Ss(vec![add.ccid.as_str().to_owned()])),
        ]);
        let expression = match add.channel.consent_type {
            None => "ADD ccid_count :one, ccids :ccid_set",
            Some(consent_type) => {
                counter_values.insert(":now".to_owned(), items::from_unix_millis(add.channel.created_at));
                stored_consent::add_expression(consent_type)
            }
        };
        let counter = self
            .update(items::phone_key(&add.client_id, &add.channel.phone))
            .update_expression(expression)
            // The first customer with this number creates the counter.
            .condition_expression("attribute_not_exists(pk) OR ccid_count < :limit")
            .set_expression_attribute_values(Some(counter_values));
        self.transaction([record, counter])?
            .settle(context, AddOutcome::Added, |reasons, error| {
                Attempt::Settled(match read_add(reasons, e164, self.limits) {
                    Cancellation::NoRecord => Err(StoreError::CustomerNotFound),
                    Cancellation::HasPhone(stored) => match (stored, add.channel.fingerprint) {
                        (Some(stored), Some(own)) if stored == own => Ok(AddOutcome::Replayed),
                        (Some(stored), Some(own)) if stored.key == own.key => Err(StoreError::IdempotencyKeyReused),
                        _ => Err(StoreError::PhoneAlreadyAdded),
                    },
                    Cancellation::RecordFull => Err(StoreError::CustomerPhoneLimitReached),
                    Cancellation::PhoneFull => Err(StoreError::PhoneCustomerLimitReached),
                    other => return not_decided(other, error),
                })
            })
            .await
    }
}
