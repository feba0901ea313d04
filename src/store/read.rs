//! One strongly consistent read of an item, repeated until it is settled.

use aws_sdk_dynamodb::operation::get_item::builders::GetItemFluentBuilder;

use super::failure::failed;
use super::items::Item;
use super::retry::{Attempt, CallKind, retry};
use super::{CallContext, Store, StoreError};

impl Store {
    /// The call that reads the item with this key.
    pub(super) fn get(&self, key: Item) -> GetItemFluentBuilder {
        self.client.get_item().table_name(&self.table).set_key(Some(key)).consistent_read(true)
    }

    /// Reads the item, or `None` if there is none.
    ///
    /// # Errors
    /// [`StoreError::TryAgain`] if the table could not be read; [`StoreError::Internal`] if a repeat does not help.
    pub(super) async fn read(
        &self,
        get: GetItemFluentBuilder,
        context: &mut CallContext,
    ) -> Result<Option<Item>, StoreError> {
        let attempt = |_| async {
            match get.clone().send().await {
                Ok(output) => Attempt::Settled(Ok(output.item)),
                Err(error) => failed(&error),
            }
        };
        // Boxed, because otherwise the types of the futures around it nest deeper than the compiler allows.
        Box::pin(retry(CallKind::Read, self.sources(), context, attempt)).await.result
    }
}
