//! Reading a customer's record.

use crate::domain::{Ccid, ClientId, CustomerRecord};
use crate::store::failure::failed;
use crate::store::items::{self, Item};
use crate::store::retry::{Attempt, CallKind, retry};
use crate::store::{CallContext, Cause, FailureDetail, Store, StoreError};

/// Reads a record from its item. `None` if the item is incomplete or contradicts itself.
pub fn read_customer(item: &Item) -> Option<CustomerRecord> {
    let stored = item.get(items::NOTIFICATION_CHANNELS)?.as_m().ok()?;
    let channels: Option<Vec<_>> = stored.iter().map(|(e164, entry)| items::channel(e164, entry)).collect();
    let mut channels = channels?;
    channels.sort_by(|a, b| (a.created_at, a.phone.e164()).cmp(&(b.created_at, b.phone.e164())));
    let count = items::whole_number(item.get(items::PHONE_COUNT))?;
    let created_at = items::unix_millis(item.get(items::CREATED_AT))?;
    (u64::try_from(channels.len()) == Ok(count)).then_some(CustomerRecord { created_at, channels })
}

impl Store {
    /// The record, by one strongly consistent read. It contains every add that was answered before the read.
    ///
    /// # Errors
    /// [`StoreError::CustomerNotFound`]; [`StoreError::TryAgain`] if the table could not be read; [`StoreError::Internal`]
    /// if a repeat does not help.
    pub async fn customer(
        &self,
        client_id: &ClientId,
        ccid: &Ccid,
        context: &mut CallContext,
    ) -> Result<CustomerRecord, StoreError> {
        let get = self
            .client
            .get_item()
            .table_name(&self.table)
            .set_key(Some(items::customer_key(client_id, ccid)))
            .consistent_read(true);
        let attempt = |_| async {
            match get.clone().send().await {
                Ok(output) => Attempt::Settled(match output.item {
                    None => Err(StoreError::CustomerNotFound),
                    Some(item) => {
                        read_customer(&item).ok_or(StoreError::Internal(FailureDetail::new(Cause::CorruptRecord)))
                    }
                }),
                Err(error) => failed(&error),
            }
        };
        retry(CallKind::Read, self.sources(), context, attempt).await.result
    }
}
