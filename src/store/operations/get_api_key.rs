//! Reading an API key's item.

use crate::domain::ClientId;
use crate::store::items::{self, Item};
use crate::store::{CallContext, Cause, FailureDetail, Store, StoreError};
use crate::time::UnixMillis;

/// What the table stores about an API key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRecord {
    /// The client that the key belongs to.
    pub client_id: ClientId,
    /// When the key expires.
    pub expires_at: Option<UnixMillis>,
    /// Whether an operator revoked the key.
    pub revoked: bool,
}

impl KeyRecord {
    /// `None` if the item is incomplete.
    fn from_item(item: &Item) -> Option<Self> {
        Some(Self {
            client_id: ClientId::parse(item.get(items::CLIENT_ID)?.as_s().ok()?).ok()?,
            expires_at: match item.get(items::EXPIRES_AT) {
                None => None,
                expires_at => Some(items::unix_millis(expires_at)?),
            },
            revoked: item.contains_key(items::REVOKED_AT),
        })
    }
}

impl Store {
    /// Reads the API key with this SHA-256 (lower-case hex). The read is strongly consistent, so a key works from the
    /// moment it is issued.
    ///
    /// # Errors
    /// [`StoreError::TryAgain`] if the table could not be read; [`StoreError::Internal`] if a repeat does not help.
    pub async fn api_key(&self, sha256_hex: &str, context: &mut CallContext) -> Result<Option<KeyRecord>, StoreError> {
        // Without the label, because an operator may have written anything into it.
        let get = self.get(items::api_key_key(sha256_hex)).projection_expression("client_id, expires_at, revoked_at");
        let item = self.read(get, context).await?;
        let corrupt = || StoreError::Internal(FailureDetail::new(Cause::CorruptKey));
        item.map(|item| KeyRecord::from_item(&item).ok_or_else(corrupt)).transpose()
    }
}
