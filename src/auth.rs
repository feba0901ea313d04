//! API keys: their shape, and whether a key is valid for a client.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use crate::domain::ClientId;
use crate::error::Error;
use crate::store::{CallContext, KeyRecord, Store};
use crate::time::UnixMillis;

/// A fixed prefix lets secret scanners find a leaked key.
const PREFIX: &str = "relay_";
/// 32 bytes in base64url without padding.
const SECRET_LENGTH: usize = 43;
/// 4 bytes in base64url without padding.
const CHECKSUM_LENGTH: usize = 6;

/// A text with the shape of an API key: `relay_`, 256 random bits in base64url, and a checksum of 32 bits. Because of the
/// checksum, a typing error costs no read. Only the SHA-256 of a key is stored or cached, so the type has no `Debug`.
pub struct ApiKey(String);

impl ApiKey {
    /// `None` if the text has another shape.
    pub fn parse(text: &str) -> Option<Self> {
        let secret = text.strip_prefix(PREFIX)?.get(..SECRET_LENGTH)?;
        let mut bytes = [0; 32];
        // The decoder accepts only the canonical spelling, so a key has exactly one text.
        let decoded = URL_SAFE_NO_PAD.decode_slice(secret, &mut bytes).ok()?;
        let key = Self::from_secret(&bytes);
        (decoded == bytes.len() && key.0 == text).then_some(key)
    }

    /// The key made from these random bits.
    pub fn from_secret(secret: &[u8; 32]) -> Self {
        let mut key = String::with_capacity(PREFIX.len() + SECRET_LENGTH + CHECKSUM_LENGTH);
        key.push_str(PREFIX);
        URL_SAFE_NO_PAD.encode_string(secret, &mut key);
        let [first, second, third, fourth, ..] = <[u8; 32]>::from(Sha256::digest(&key));
        URL_SAFE_NO_PAD.encode_string([first, second, third, fourth], &mut key);
        Self(key)
    }

    /// The key as text. It is shown only once, when it is issued.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// The SHA-256 in lower-case hex, which is the key's name in the table. For 256 random bits a plain hash is enough.
    pub fn sha256_hex(&self) -> String {
        let hash: [u8; 32] = Sha256::digest(&self.0).into();
        hash.iter().fold(String::with_capacity(64), |mut hex, byte| {
            for half in [byte >> 4, byte & 15] {
                hex.extend(char::from_digit(half.into(), 16));
            }
            hex
        })
    }
}

/// The fingerprint of an API key in the log and in the operator's commands: the first 12 hex digits of its SHA-256.
pub fn fingerprint(sha256_hex: &str) -> Option<&str> {
    sha256_hex.get(..12)
}

/// The cache of API keys in one execution environment.
///
/// It holds hashes instead of keys, and its size is bounded. It never holds an unknown key, so guesses cannot fill it. It
/// measures age by the wall clock, because the monotonic clock may stand still while an environment is frozen. A revoked
/// key would then stay valid too long.
#[derive(Debug)]
pub struct KeyCache {
    lifetime: Duration,
    entries: Mutex<HashMap<String, Entry>>,
}

#[derive(Debug)]
struct Entry {
    cached_at: UnixMillis,
    record: KeyRecord,
}

/// More keys than one environment serves in a minute.
const MAX_ENTRIES: usize = 1000;

impl KeyCache {
    /// Caches a valid key for `lifetime`. A revoked key may stay valid for that long. Zero turns the cache off.
    pub fn new(lifetime: Duration) -> Self {
        Self { lifetime, entries: Mutex::new(HashMap::new()) }
    }

    /// Returns the client if the key with this SHA-256 is valid for it. `sha256_hex` is `None` if the request has no key, or
    /// a key with another shape.
    ///
    /// # Errors
    /// [`Error::Unauthorized`] for every reason, so that callers cannot tell them apart. [`Error::Store`] if the key could
    /// not be looked up.
    pub async fn authorize(
        &self,
        store: &Store,
        sha256_hex: Option<String>,
        client_id: Option<&str>,
        context: &mut CallContext,
    ) -> Result<ClientId, Error> {
        let client_id = client_id.and_then(|text| ClientId::parse(text).ok()).ok_or(Error::Unauthorized)?;
        let hash = sha256_hex.ok_or(Error::Unauthorized)?;
        let now = context.now;
        let cached = self.get(&hash, now);
        context.stats.key_cache_hit = Some(cached.is_some());
        let record = if let Some(record) = cached {
            record
        } else {
            let record = store.api_key(&hash, context).await?.ok_or(Error::Unauthorized)?;
            if record.revoked {
                return Err(Error::Unauthorized);
            }
            self.insert(hash, record.clone(), now);
            record
        };
        let expired = record.expires_at.is_some_and(|expires_at| expires_at <= now);
        if expired || record.client_id != client_id {
            return Err(Error::Unauthorized);
        }
        Ok(client_id)
    }

    fn get(&self, hash: &str, now: UnixMillis) -> Option<KeyRecord> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.get(hash).filter(|entry| self.is_fresh(entry, now)).map(|entry| entry.record.clone())
    }

    fn insert(&self, hash: String, record: KeyRecord, now: UnixMillis) {
        if self.lifetime.is_zero() {
            return;
        }
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= MAX_ENTRIES {
            entries.retain(|_, entry| self.is_fresh(entry, now));
        }
        if entries.len() >= MAX_ENTRIES {
            entries.clear();
        }
        entries.insert(hash, Entry { cached_at: now, record });
    }

    /// If the clock went backwards, the age is unknown and the entry counts as stale.
    fn is_fresh(&self, entry: &Entry, now: UnixMillis) -> bool {
        now.since(entry.cached_at).is_some_and(|age| age < self.lifetime)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record() -> KeyRecord {
        KeyRecord { client_id: ClientId::parse("a").unwrap(), expires_at: None, revoked: false }
    }

    fn at(millis: u64) -> UnixMillis {
        UnixMillis::new(millis).unwrap()
    }

    /// Keys and their hashes are in use, so they must not change. The values were computed with another program.
    #[test]
    fn a_key_and_its_hash_do_not_change() {
        let key = ApiKey::from_secret(&[7; 32]);
        assert_eq!(key.reveal(), "relay_BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwchPajdA");
        assert_eq!(key.sha256_hex(), "3187edba347265cecc52768b08c1d7ed584b1dc9718ac5d040a65e4ca6266e45");
        assert_eq!(fingerprint(&key.sha256_hex()), Some("3187edba3472"));
    }

    #[test]
    fn a_key_is_cached_by_the_wall_clock() {
        let cache = KeyCache::new(Duration::from_secs(60));
        cache.insert("h".to_owned(), record(), at(100_000));
        assert_eq!(cache.get("h", at(100_000)), Some(record()));
        assert_eq!(cache.get("h", at(159_999)), Some(record()));
        assert_eq!(cache.get("h", at(160_000)), None, "the minute is over");
        assert_eq!(cache.get("h", at(99_999)), None, "the clock went backwards");
        assert_eq!(cache.get("other", at(100_000)), None);
    }

    #[test]
    fn a_lifetime_of_zero_caches_nothing() {
        let cache = KeyCache::new(Duration::ZERO);
        cache.insert("h".to_owned(), record(), at(1));
        assert_eq!(cache.get("h", at(1)), None);
        assert!(cache.entries.lock().unwrap().is_empty());
    }

    #[test]
    fn the_cache_is_bounded() {
        let cache = KeyCache::new(Duration::from_secs(60));
        for n in 0..5_000_u64 {
            cache.insert(n.to_string(), record(), at(n));
            assert!(cache.entries.lock().unwrap().len() <= MAX_ENTRIES);
            assert_eq!(cache.get(&n.to_string(), at(n)), Some(record()), "the newest entry is always present");
        }
    }

    #[test]
    fn stale_entries_are_evicted_before_fresh_ones() {
        let cache = KeyCache::new(Duration::from_secs(1));
        for n in 0..MAX_ENTRIES {
            cache.insert(n.to_string(), record(), at(if n == 7 { 1_500 } else { 0 }));
        }
        cache.insert("new".to_owned(), record(), at(2_000));
        assert_eq!(cache.get("7", at(2_000)), Some(record()));
        assert_eq!(cache.entries.lock().unwrap().len(), 2);
    }

    proptest! {
        #[test]
        fn keys_read_back(secret in any::<[u8; 32]>()) {
            let key = ApiKey::from_secret(&secret);
            prop_assert_eq!(key.reveal().len(), PREFIX.len() + SECRET_LENGTH + CHECKSUM_LENGTH);
            prop_assert!(ApiKey::parse(key.reveal()).is_some_and(|read| read.0 == key.0));
        }

        #[test]
        fn a_key_with_one_wrong_character_is_invalid(secret in any::<[u8; 32]>(), place in 0_usize..55, wrong in "[ -~]") {
            let key = ApiKey::from_secret(&secret).0;
            let mistyped = format!("{}{wrong}{}", &key[..place], &key[place + 1..]);
            prop_assert_eq!(ApiKey::parse(&mistyped).is_some(), mistyped == key);
        }

        #[test]
        fn other_text_is_not_a_key(text in ".{0,80}") {
            prop_assert!(ApiKey::parse(&text).is_none());
        }
    }
}
