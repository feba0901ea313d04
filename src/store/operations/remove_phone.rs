//! The removal: one transaction over the same two items as the add.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;

use crate::domain::RemovePhone;
use crate::store::cancellation::{Cancellation, read_remove};
use crate::store::retry::Attempt;
use crate::store::transaction::not_decided;
use crate::store::{CallContext, Store, StoreError, items};

impl Store {
    /// Removes the number once, even if responses of DynamoDB are lost. The number keeps its consent.
    ///
    /// # Errors
    /// [`StoreError::TryAgain`] if nothing was written; [`StoreError::Internal`] if the outcome is unknown. With every other
    /// error nothing was written.
    pub async fn remove_phone(&self, remove: &RemovePhone, context: &mut CallContext) -> Result<(), StoreError> {
        let e164 = remove.phone.e164();
        let minus_one = || (":minus_one".to_owned(), AttributeValue::N("-1".to_owned()));
        let record = self
            .update(items::customer_key(&remove.client_id, &remove.ccid))
            .update_expression("REMOVE notification_channels.#e164 ADD phone_count :minus_one")
            .condition_expression("attribute_exists(notification_channels.#e164)")
            .expression_attribute_names("#e164", e164)
            .set_expression_attribute_values(Some(HashMap::from([minus_one()])));
        let counter = self
            .update(items::phone_key(&remove.client_id, &remove.phone))
            .update_expression("ADD ccid_count :minus_one DELETE ccids :ccid_set")
            // A count never goes below zero. An item at zero stays. The operator's check deletes it if it has no consent.
            .condition_expression("ccid_count > :zero")
            .set_expression_attribute_values(Some(HashMap::from([
                minus_one(),
                (":zero".to_owned(), AttributeValue::N("0".to_owned())),
                (":ccid_set".to_owned(), AttributeValue::Ss(vec![remove.ccid.as_str().to_owned()])),
            ])));
        self.transaction([record, counter])?
            .settle(context, (), |reasons, error| match read_remove(reasons, e164) {
                Cancellation::NoRecord => Attempt::Settled(Err(StoreError::CustomerNotFound)),
                Cancellation::NoPhone => Attempt::Settled(Err(StoreError::PhoneNotFound)),
                other => not_decided(other, error),
            })
            .await
    }
}
