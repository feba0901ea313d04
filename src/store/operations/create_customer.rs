//! The creation of a customer's record: a transaction of one update, if the record is absent.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;

use crate::domain::{Ccid, ClientId, CreateOutcome};
use crate::store::cancellation::{Cancellation, read_create};
use crate::store::retry::Attempt;
use crate::store::transaction::not_decided;
use crate::store::{CallContext, Store, StoreError, items};

impl Store {
    /// Creates the record once, even if responses of DynamoDB are lost. An update creates an absent item, so the function
    /// needs no right to put items.
    ///
    /// # Errors
    /// [`StoreError::TryAgain`] if nothing was written; [`StoreError::Internal`] if the outcome is unknown.
    pub async fn create_customer(
        &self,
        client_id: &ClientId,
        ccid: &Ccid,
        context: &mut CallContext,
    ) -> Result<CreateOutcome, StoreError> {
        let record = self
            .update(items::customer_key(client_id, ccid))
            .update_expression("SET phone_count = :zero, notification_channels = :empty, created_at = :now")
            .condition_expression("attribute_not_exists(pk)")
            .set_expression_attribute_values(Some(HashMap::from([
                (":zero".to_owned(), AttributeValue::N("0".to_owned())),
                (":empty".to_owned(), AttributeValue::M(HashMap::new())),
                (":now".to_owned(), items::from_unix_millis(context.now)),
            ])));
        self.transaction([record])?
            .settle(context, CreateOutcome::Created, |reasons, error| match read_create(reasons) {
                Cancellation::HasRecord => Attempt::Settled(Ok(CreateOutcome::AlreadyExists)),
                other => not_decided(other, error),
            })
            .await
    }
}
