//! The API key's item.

use crate::domain::ClientId;
use crate::error::{Cause, Error, FailureDetail};
use crate::store::failure::failed;
use crate::store::retry::{Attempt, Call};
use crate::store::{CallStats, Deadline, Store, items};
use crate::time::UnixMillis;

/// What the table says of one API key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRecord {
    /// The one client that it is good for.
    pub client_id: ClientId,
    /// From this moment on it is refused.
    pub expires_at: Option<UnixMillis>,
    /// Whether an operator revoked it.
    pub revoked: bool,
}

impl KeyRecord {
    /// `None` where the item is not whole.
    fn read(item: &items::Item) -> Option<Self> {
        Some(Self {
            client_id: ClientId::parse(item.get(items::CLIENT_ID)?.as_s().ok()?).ok()?,
            expires_at: match item.get(items::EXPIRES_AT) {
                None => None,
                expires_at => Some(items::moment(expires_at)?),
            },
            revoked: item.contains_key(items::REVOKED_AT),
        })
    }
}

impl Store {
    /// The item of the key with this SHA-256 (lower-case hex), if there is one: one strongly consistent read, so that
    /// a key works from the moment it was issued.
    ///
    /// # Errors
    /// [`Error::TryAgain`] where the table could not be asked, [`Error::Internal`] where asking again will not help.
    pub async fn key(
        &self,
        sha256_hex: &str,
        deadline: Deadline,
        stats: &mut CallStats,
    ) -> Result<Option<KeyRecord>, Error> {
        let get = self
            .client
            .get_item()
            .table_name(&self.table)
            .set_key(Some(items::api_key_key(sha256_hex)))
            .consistent_read(true)
            // Not the label: an operator may have written anything into it.
            .projection_expression("client_id, expires_at, revoked_at");
        deadline
            .settle(Call::Read, stats, |_| async {
                match get.clone().send().await {
                    Ok(output) => Attempt::Settled(
                        output
                            .item
                            .as_ref()
                            .map(|item| {
                                KeyRecord::read(item).ok_or(Error::Internal(FailureDetail::new(Cause::CorruptKey)))
                            })
                            .transpose(),
                    ),
                    Err(error) => failed(&error),
                }
            })
            .await
            .answer
    }
}
