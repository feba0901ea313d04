//! The change of a number's consent: one read, then a transaction of one update on what was read.

use aws_sdk_dynamodb::types::AttributeValue;

use crate::domain::{Consent, ConsentType, UpdateConsent};
use crate::store::cancellation::{Cancellation, read_update_consent};
use crate::store::items::{self, Item};
use crate::store::retry::Attempt;
use crate::store::stored_consent::{self, ATTRIBUTES, FIRST_AT, StoredConsent};
use crate::store::transaction::{Transaction, not_decided};
use crate::store::{CallContext, Cause, FailureDetail, Store, StoreError};

/// How one transaction ended.
#[derive(Debug, Clone, Copy)]
enum Update {
    Written,
    /// The item changed after it was read, so nothing was written.
    Changed,
}

impl Store {
    /// Changes the consent of a number for all of its customers. If the number already has this consent, nothing is written. A stop
    /// is stored for a number that no customer has, too.
    ///
    /// The condition of the update is the consent that was read. So an attempt that arrives late, after the request has
    /// been answered, never undoes a newer stop.
    ///
    /// # Errors
    /// [`StoreError::PhoneNotFound`] if no customer has the number and no consent is stored for it, unless the change is a
    /// stop. [`StoreError::TryAgain`] if nothing was written; [`StoreError::Internal`] if the outcome is unknown.
    pub async fn update_consent(
        &self,
        update: &UpdateConsent,
        context: &mut CallContext,
    ) -> Result<Consent, StoreError> {
        loop {
            let item = self.phone_item(&update.client_id, &update.phone, context).await?;
            let corrupt = || StoreError::Internal(FailureDetail::new(Cause::CorruptCounter));
            let seen = match &item {
                Some(item) => StoredConsent::from_item(item).ok_or_else(corrupt)?,
                None => StoredConsent::default(),
            };
            let Some(changed) = seen.changed_to(update.consent_type, context.now) else {
                return seen.consent().ok_or_else(corrupt);
            };
            if seen.consent().is_none() && update.consent_type != ConsentType::Stop {
                let item = item.as_ref().ok_or(StoreError::PhoneNotFound)?;
                if items::whole_number(item.get(items::CCID_COUNT)).ok_or_else(corrupt)? == 0 {
                    return Err(StoreError::PhoneNotFound);
                }
            }
            let written = self
                .consent_transaction(update, item.as_ref(), seen, changed)?
                .settle(context, Update::Written, |reasons, error| match read_update_consent(reasons) {
                    Cancellation::Changed => Attempt::Settled(Ok(Update::Changed)),
                    other => not_decided(other, error),
                })
                .await?;
            match written {
                Update::Written => return Ok(changed),
                // The token of the last transaction is settled, so the next one has a token of its own.
                Update::Changed => context.count_conflict()?,
            }
        }
    }

    fn consent_transaction(
        &self,
        update: &UpdateConsent,
        item: Option<&Item>,
        seen: StoredConsent,
        changed: Consent,
    ) -> Result<Transaction<'_>, StoreError> {
        let attribute = stored_consent::attribute(update.consent_type);
        let others: Vec<_> = ATTRIBUTES.into_iter().filter(|name| ![attribute, FIRST_AT].contains(name)).collect();
        let mut set = format!("SET {attribute} = :now, first_at = if_not_exists(first_at, :first)");
        let (mut condition, mut values) = seen.unchanged_condition();
        let zero = || (":zero".to_owned(), AttributeValue::N("0".to_owned()));
        if item.is_none() {
            // An item without a count would refuse every later add.
            set.push_str(", ccid_count = :zero");
            condition.push_str(" AND attribute_not_exists(pk)");
            values.push(zero());
        } else if seen.consent().is_none() && update.consent_type != ConsentType::Stop {
            condition.push_str(" AND ccid_count > :zero");
            values.push(zero());
        } else {
            condition.push_str(" AND attribute_exists(pk)");
        }
        values.push((":now".to_owned(), items::from_unix_millis(changed.updated_at)));
        values.push((":first".to_owned(), items::from_unix_millis(changed.created_at)));
        let update = self
            .update(items::phone_key(&update.client_id, &update.phone))
            .update_expression(format!("{set} REMOVE {}", others.join(", ")))
            .condition_expression(condition)
            .set_expression_attribute_values(Some(values.into_iter().collect()));
        self.transaction([update])
    }
}
