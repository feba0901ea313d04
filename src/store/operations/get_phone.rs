//! Reading a phone number: its customers and its consent.

use crate::domain::{ClientId, Phone, PhoneRecord};
use crate::store::items::{self, Item};
use crate::store::stored_consent::StoredConsent;
use crate::store::{CallContext, Cause, FailureDetail, Store, StoreError};

/// Reads a number from its item. `None` if the item is corrupt.
pub fn read_phone(item: &Item) -> Option<PhoneRecord> {
    let mut ccids = match item.get(items::CCIDS) {
        None => Vec::new(),
        Some(ccids) => ccids.as_ss().ok()?.clone(),
    };
    // DynamoDB keeps no order in a set.
    ccids.sort_unstable();
    let count = items::whole_number(item.get(items::CCID_COUNT))?;
    let consent = StoredConsent::from_item(item)?.consent();
    (u64::try_from(ccids.len()) == Ok(count)).then_some(PhoneRecord { ccids, consent })
}

impl Store {
    /// The number, by one strongly consistent read.
    ///
    /// # Errors
    /// [`StoreError::PhoneNotFound`] if no customer has the number and no consent is stored for it;
    /// [`StoreError::TryAgain`] if the table could not be read; [`StoreError::Internal`] if a repeat does not help.
    pub async fn phone(
        &self,
        client_id: &ClientId,
        phone: &Phone,
        context: &mut CallContext,
    ) -> Result<PhoneRecord, StoreError> {
        let item = self.phone_item(client_id, phone, context).await?.ok_or(StoreError::PhoneNotFound)?;
        let record = read_phone(&item).ok_or(StoreError::Internal(FailureDetail::new(Cause::CorruptCounter)))?;
        if record.ccids.is_empty() && record.consent.is_none() { Err(StoreError::PhoneNotFound) } else { Ok(record) }
    }

    /// The item of a number, by one strongly consistent read.
    pub(super) async fn phone_item(
        &self,
        client_id: &ClientId,
        phone: &Phone,
        context: &mut CallContext,
    ) -> Result<Option<Item>, StoreError> {
        self.read(self.get(items::phone_key(client_id, phone)), context).await
    }
}
