//! Reading a customer's record.

use crate::domain::{Ccid, Channel, ClientId};
use crate::error::{Cause, Error, FailureDetail};
use crate::store::failure::failed;
use crate::store::items::{self, Item};
use crate::store::retry::{Attempt, Call};
use crate::store::{CallStats, Deadline, Store};
use crate::time::UnixMillis;

/// A customer's record: whole, and in agreement with itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustomerRecord {
    /// When an operator made it.
    pub created_at: UnixMillis,
    /// Its numbers, by time, then by E.164. Their count is the record's `phone_count`.
    pub channels: Vec<Channel>,
}

impl CustomerRecord {
    /// `None` where the item is not whole or contradicts itself.
    pub fn read(item: &Item) -> Option<Self> {
        let stored = item.get(items::NOTIFICATION_CHANNELS)?.as_m().ok()?;
        let channels: Option<Vec<_>> = stored.iter().map(|(e164, entry)| items::channel(e164, entry)).collect();
        let mut channels = channels?;
        channels.sort_by(|a, b| (a.created_at, a.phone.e164()).cmp(&(b.created_at, b.phone.e164())));
        let count = items::whole_number(item.get(items::PHONE_COUNT))?;
        (u64::try_from(channels.len()) == Ok(count))
            .then_some(Self { created_at: items::moment(item.get(items::CREATED_AT))?, channels })
    }
}

impl Store {
    /// The record as it stands: one strongly consistent read, so every add that was answered before is in it.
    ///
    /// # Errors
    /// [`Error::CustomerNotFound`]; [`Error::TryAgain`] where the table could not be asked; [`Error::Internal`] where
    /// asking again will not help.
    pub async fn customer(
        &self,
        client_id: &ClientId,
        ccid: &Ccid,
        deadline: Deadline,
        stats: &mut CallStats,
    ) -> Result<CustomerRecord, Error> {
        let get = self
            .client
            .get_item()
            .table_name(&self.table)
            .set_key(Some(items::customer_key(client_id, ccid)))
            .consistent_read(true);
        deadline
            .settle(Call::Read, stats, |_| async {
                match get.clone().send().await {
                    Ok(output) => Attempt::Settled(match output.item {
                        None => Err(Error::CustomerNotFound),
                        Some(item) => {
                            CustomerRecord::read(&item).ok_or(Error::Internal(FailureDetail::new(Cause::CorruptRecord)))
                        }
                    }),
                    Err(error) => failed(&error),
                }
            })
            .await
            .answer
    }
}
