//! The deletion of a customer: its record, and its place in the item of each of its numbers, in one transaction.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;

use super::get_customer::read_customer;
use crate::domain::{Ccid, ClientId};
use crate::store::cancellation::{Cancellation, read_delete};
use crate::store::items::{self, Item};
use crate::store::retry::Attempt;
use crate::store::transaction::{Transaction, not_decided};
use crate::store::{CallContext, Cause, FailureDetail, Store, StoreError};

/// How one transaction ended.
#[derive(Debug, Clone, Copy)]
enum Deletion {
    Deleted,
    /// The record changed after it was read, so nothing was deleted.
    Changed,
}

impl Store {
    /// Deletes the record and takes the customer out of each number's item, all or nothing. The numbers keep their consent.
    ///
    /// # Errors
    /// [`StoreError::TryAgain`] if nothing was written; [`StoreError::Internal`] if the outcome is unknown. With every other
    /// error nothing was written.
    pub async fn delete_customer(
        &self,
        client_id: &ClientId,
        ccid: &Ccid,
        context: &mut CallContext,
    ) -> Result<(), StoreError> {
        loop {
            let item = self.record_item(client_id, ccid, context).await?;
            let corrupt = || StoreError::Internal(FailureDetail::new(Cause::CorruptRecord));
            let (transaction, numbers) = self.deletion(client_id, ccid, &item)?.ok_or_else(corrupt)?;
            let deletion = transaction
                .settle(context, Deletion::Deleted, |reasons, error| match read_delete(reasons, numbers) {
                    Cancellation::Changed => Attempt::Settled(Ok(Deletion::Changed)),
                    other => not_decided(other, error),
                })
                .await?;
            match deletion {
                Deletion::Deleted => return Ok(()),
                // The token of the last transaction is settled, so the next one has a token of its own.
                Deletion::Changed => context.count_conflict()?,
            }
        }
    }

    /// The transaction that deletes this record, and the count of its numbers. `None` if the record is corrupt.
    fn deletion(
        &self,
        client_id: &ClientId,
        ccid: &Ccid,
        item: &Item,
    ) -> Result<Option<(Transaction<'_>, usize)>, StoreError> {
        let Some(record) = read_customer(item) else { return Ok(None) };
        let seen = |name: &str| item.get(name).cloned().unwrap_or(AttributeValue::Null(true));
        let delete = self
            .delete(items::customer_key(client_id, ccid))
            // The record that was read, and not one that was created after it.
            .condition_expression(
                "created_at = :created_at AND phone_count = :count AND notification_channels = :channels",
            )
            .set_expression_attribute_values(Some(HashMap::from([
                (":created_at".to_owned(), seen(items::CREATED_AT)),
                (":count".to_owned(), seen(items::PHONE_COUNT)),
                (":channels".to_owned(), seen(items::NOTIFICATION_CHANNELS)),
            ])));
        let counters = record.channels.iter().map(|channel| {
            self.update(items::phone_key(client_id, &channel.phone))
                .update_expression("ADD ccid_count :minus_one DELETE ccids :ccid_set")
                .condition_expression("contains(ccids, :ccid) AND ccid_count > :zero")
                .set_expression_attribute_values(Some(HashMap::from([
                    (":minus_one".to_owned(), AttributeValue::N("-1".to_owned())),
                    (":zero".to_owned(), AttributeValue::N("0".to_owned())),
                    (":ccid".to_owned(), AttributeValue::S(ccid.as_str().to_owned())),
                    (":ccid_set".to_owned(), AttributeValue::Ss(vec![ccid.as_str().to_owned()])),
                ])))
        });
        Ok(Some((self.transaction_with_delete(delete, counters)?, record.channels.len())))
    }
}
