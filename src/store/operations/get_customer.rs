//! Reading a customer's record, and the consents of its numbers.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use aws_sdk_dynamodb::types::KeysAndAttributes;

use crate::domain::{Ccid, ClientId, Consent, CustomerRecord};
use crate::store::failure::failed;
use crate::store::items::{self, Item};
use crate::store::retry::{Attempt, CallKind, retry};
use crate::store::stored_consent::StoredConsent;
use crate::store::{CallContext, Cause, FailureDetail, Store, StoreError};

/// Reads a record from its item, without the consents, which its numbers' items hold. `None` if the item is incomplete or
/// contradicts itself.
pub fn read_customer(item: &Item) -> Option<CustomerRecord> {
    let stored = item.get(items::NOTIFICATION_CHANNELS)?.as_m().ok()?;
    let channels: Option<Vec<_>> = stored.iter().map(|(e164, entry)| items::channel(e164, entry)).collect();
    let mut channels = channels?;
    channels.sort_by(|a, b| (a.created_at, a.phone.e164()).cmp(&(b.created_at, b.phone.e164())));
    let count = items::whole_number(item.get(items::PHONE_COUNT))?;
    let created_at = items::unix_millis(item.get(items::CREATED_AT))?;
    (u64::try_from(channels.len()) == Ok(count)).then_some(CustomerRecord { created_at, channels })
}

/// The consents that a batch has read so far, by E.164 form, and the keys that it has not read yet.
struct Batch {
    consents: HashMap<String, Consent>,
    remaining: Vec<Item>,
}

impl Store {
    /// The record, by one strongly consistent read, then the consents of its numbers, by another. It contains every add
    /// and every change of consent that was answered before. It is no snapshot: a transaction would conflict with adds, and
    /// cost twice as much.
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
        let item = self.record_item(client_id, ccid, context).await?;
        let corrupt = StoreError::Internal(FailureDetail::new(Cause::CorruptRecord));
        let mut record = read_customer(&item).ok_or(corrupt)?;
        let consents = self.consents(client_id, &record, context).await?;
        for channel in &mut record.channels {
            channel.consent_type = consents.get(channel.phone.e164()).map(|consent| consent.consent_type);
        }
        Ok(record)
    }

    /// The item of a record, by one strongly consistent read.
    pub(super) async fn record_item(
        &self,
        client_id: &ClientId,
        ccid: &Ccid,
        context: &mut CallContext,
    ) -> Result<Item, StoreError> {
        let item = self.read(self.get(items::customer_key(client_id, ccid)), context).await?;
        item.ok_or(StoreError::CustomerNotFound)
    }

    /// The consents of a record's numbers, by E.164 form. DynamoDB may leave keys of a batch unprocessed; the next attempt
    /// asks for these only.
    async fn consents(
        &self,
        client_id: &ClientId,
        record: &CustomerRecord,
        context: &mut CallContext,
    ) -> Result<HashMap<String, Consent>, StoreError> {
        if record.channels.is_empty() {
            return Ok(HashMap::new());
        }
        let remaining = record.channels.iter().map(|channel| items::phone_key(client_id, &channel.phone)).collect();
        let batch = Mutex::new(Batch { consents: HashMap::new(), remaining });
        let lock = || batch.lock().unwrap_or_else(PoisonError::into_inner);
        let attempt = |_| async {
            let keys = KeysAndAttributes::builder()
                .set_keys(Some(lock().remaining.clone()))
                .consistent_read(true)
                // Without the ccids, which make up most of the item.
                .projection_expression("pk, stop_at, written_at, express_at, first_at");
            let Ok(keys) = keys.build() else {
                return Attempt::Settled(Err(StoreError::Internal(FailureDetail::new(Cause::NotBuilt))));
            };
            match self.client.batch_get_item().request_items(&self.table, keys).send().await {
                Ok(output) => {
                    let mut batch = lock();
                    for item in output.responses.iter().flatten().flat_map(|(_, items)| items) {
                        match read_consent(item) {
                            None => {
                                let corrupt = FailureDetail::new(Cause::CorruptCounter);
                                return Attempt::Settled(Err(StoreError::Internal(corrupt)));
                            }
                            Some((_, None)) => {}
                            Some((e164, Some(consent))) => drop(batch.consents.insert(e164.to_owned(), consent)),
                        }
                    }
                    match output.unprocessed_keys.and_then(|mut tables| tables.remove(&self.table)) {
                        None => Attempt::Settled(Ok(())),
                        Some(unprocessed) => {
                            batch.remaining = unprocessed.keys;
                            Attempt::Contended(FailureDetail::new(Cause::Throttled))
                        }
                    }
                }
                Err(error) => failed(&error),
            }
        };
        retry(CallKind::Read, self.sources(), context, attempt).await.result?;
        Ok(batch.into_inner().unwrap_or_else(PoisonError::into_inner).consents)
    }
}

/// The E.164 form and the consent of a number's item. `None` if the item is corrupt.
fn read_consent(item: &Item) -> Option<(&str, Option<Consent>)> {
    let e164 = items::e164_of_key(item.get(items::PK)?.as_s().ok()?)?;
    Some((e164, StoredConsent::from_item(item)?.consent()))
}
