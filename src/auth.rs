//! API keys: their shape, and whether one is good for a client.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use crate::domain::ClientId;
use crate::error::Error;
use crate::store::{CallStats, Deadline, KeyRecord, Store};
use crate::time::UnixMillis;

/// A fixed prefix lets secret scanners find a key that has leaked.
const PREFIX: &str = "relay_";
/// 32 bytes in base64url without padding.
const SECRET_LENGTH: usize = 43;
/// 4 bytes in base64url without padding.
const CHECKSUM_LENGTH: usize = 6;

/// An API key of the right shape: `relay_`, 256 random bits in base64url, and 32 bits of checksum, so that a typing
/// error costs no read. Only its SHA-256 is ever stored or remembered, so it has no `Debug`.
pub struct ApiKey(String);

impl ApiKey {
    /// `None` where the text has another shape.
    pub fn parse(text: &str) -> Option<Self> {
        let secret = text.strip_prefix(PREFIX)?.get(..SECRET_LENGTH)?;
        let mut bytes = [0; 32];
        // The decoder takes the canonical spelling alone, so that one key has one text.
        let decoded = URL_SAFE_NO_PAD.decode_slice(secret, &mut bytes).ok()?;
        let key = Self::from_secret(&bytes);
        (decoded == bytes.len() && key.0 == text).then_some(key)
    }

    /// The key of these random bits.
    pub fn from_secret(secret: &[u8; 32]) -> Self {
        let mut key = String::with_capacity(PREFIX.len() + SECRET_LENGTH + CHECKSUM_LENGTH);
        key.push_str(PREFIX);
        URL_SAFE_NO_PAD.encode_string(secret, &mut key);
        let [first, second, third, fourth, ..] = <[u8; 32]>::from(Sha256::digest(&key));
        URL_SAFE_NO_PAD.encode_string([first, second, third, fourth], &mut key);
        Self(key)
    }

    /// The key itself, for the one time that it is shown.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// The name under which the table has it: SHA-256 in lower-case hex. A plain hash is enough for 256 random bits.
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

/// What names a key in the log and in the operator's commands: the first 12 hex digits of its SHA-256.
pub fn fingerprint(sha256_hex: &str) -> Option<&str> {
    sha256_hex.get(..12)
}

/// The keys that this execution environment has looked up of late.
///
/// What it remembers is bounded, holds hashes and no keys, and never an unknown key, so that guesses cannot fill it.
/// Age is told by the wall clock: while an environment is frozen its monotonic clock may stand still, and a revoked key
/// would outlive its minute.
#[derive(Debug)]
pub struct KeyCache {
    remember_for: Duration,
    seen: Mutex<HashMap<String, Seen>>,
}

#[derive(Debug)]
struct Seen {
    at: UnixMillis,
    record: KeyRecord,
}

/// More clients than one environment serves in a minute.
const MOST_REMEMBERED: usize = 1000;

impl KeyCache {
    /// Remembers a good key for `remember_for`, which is how long a revoked one may still be taken. Zero: not at all.
    pub fn new(remember_for: Duration) -> Self {
        Self { remember_for, seen: Mutex::new(HashMap::new()) }
    }

    /// The client, if the key with this SHA-256 is a good key of it. `None` is no key, or one of another shape.
    ///
    /// # Errors
    /// [`Error::Unauthorized`] for every reason alike; the store's errors where the key could not be looked up.
    pub async fn authorize(
        &self,
        store: &Store,
        sha256_hex: Option<String>,
        client_id: Option<&str>,
        now: UnixMillis,
        deadline: Deadline,
        stats: &mut CallStats,
    ) -> Result<ClientId, Error> {
        let client_id = client_id.and_then(|text| ClientId::parse(text).ok()).ok_or(Error::Unauthorized)?;
        let hash = sha256_hex.ok_or(Error::Unauthorized)?;
        let remembered = self.recall(&hash, now);
        stats.key_was_remembered = Some(remembered.is_some());
        let record = if let Some(record) = remembered {
            record
        } else {
            let record = store.key(&hash, deadline, stats).await?.ok_or(Error::Unauthorized)?;
            if record.revoked {
                return Err(Error::Unauthorized);
            }
            self.remember(hash, record.clone(), now);
            record
        };
        let expired = record.expires_at.is_some_and(|expires_at| expires_at <= now);
        if expired || record.client_id != client_id {
            return Err(Error::Unauthorized);
        }
        Ok(client_id)
    }

    fn recall(&self, hash: &str, now: UnixMillis) -> Option<KeyRecord> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.get(hash).filter(|seen| self.is_fresh(seen, now)).map(|seen| seen.record.clone())
    }

    fn remember(&self, hash: String, record: KeyRecord, now: UnixMillis) {
        if self.remember_for.is_zero() {
            return;
        }
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= MOST_REMEMBERED {
            seen.retain(|_, seen| self.is_fresh(seen, now));
        }
        if seen.len() >= MOST_REMEMBERED {
            seen.clear();
        }
        seen.insert(hash, Seen { at: now, record });
    }

    /// A clock that went backwards tells no age, so what it would have to tell of counts as stale.
    fn is_fresh(&self, seen: &Seen, now: UnixMillis) -> bool {
        now.since(seen.at).is_some_and(|age| age < self.remember_for)
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

    /// Computed elsewhere: keys and their hashes are in tables and in hands.
    #[test]
    fn a_key_and_its_hash_stay_what_they_are() {
        let key = ApiKey::from_secret(&[7; 32]);
        assert_eq!(key.reveal(), "relay_BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwchPajdA");
        assert_eq!(key.sha256_hex(), "3187edba347265cecc52768b08c1d7ed584b1dc9718ac5d040a65e4ca6266e45");
        assert_eq!(fingerprint(&key.sha256_hex()), Some("3187edba3472"));
    }

    #[test]
    fn a_key_is_remembered_by_the_wall_clock() {
        let keys = KeyCache::new(Duration::from_secs(60));
        keys.remember("h".to_owned(), record(), at(100_000));
        assert_eq!(keys.recall("h", at(100_000)), Some(record()));
        assert_eq!(keys.recall("h", at(159_999)), Some(record()));
        assert_eq!(keys.recall("h", at(160_000)), None, "a minute is over");
        assert_eq!(keys.recall("h", at(99_999)), None, "the clock went backwards");
        assert_eq!(keys.recall("other", at(100_000)), None);
    }

    #[test]
    fn zero_remembers_nothing() {
        let keys = KeyCache::new(Duration::ZERO);
        keys.remember("h".to_owned(), record(), at(1));
        assert_eq!(keys.recall("h", at(1)), None);
        assert!(keys.seen.lock().unwrap().is_empty());
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let keys = KeyCache::new(Duration::from_secs(60));
        for n in 0..5_000_u64 {
            keys.remember(n.to_string(), record(), at(n));
            assert!(keys.seen.lock().unwrap().len() <= MOST_REMEMBERED);
            assert_eq!(keys.recall(&n.to_string(), at(n)), Some(record()), "the newest is always there");
        }
    }

    #[test]
    fn stale_keys_make_room_before_fresh_ones() {
        let keys = KeyCache::new(Duration::from_secs(1));
        for n in 0..MOST_REMEMBERED {
            keys.remember(n.to_string(), record(), at(if n == 7 { 1_500 } else { 0 }));
        }
        keys.remember("new".to_owned(), record(), at(2_000));
        assert_eq!(keys.recall("7", at(2_000)), Some(record()));
        assert_eq!(keys.seen.lock().unwrap().len(), 2);
    }

    proptest! {
        #[test]
        fn keys_read_back(secret in any::<[u8; 32]>()) {
            let key = ApiKey::from_secret(&secret);
            prop_assert_eq!(key.reveal().len(), PREFIX.len() + SECRET_LENGTH + CHECKSUM_LENGTH);
            prop_assert!(ApiKey::parse(key.reveal()).is_some_and(|read| read.0 == key.0));
        }

        #[test]
        fn one_wrong_character_is_no_key(secret in any::<[u8; 32]>(), place in 0_usize..55, wrong in "[ -~]") {
            let key = ApiKey::from_secret(&secret).0;
            let mistyped = format!("{}{wrong}{}", &key[..place], &key[place + 1..]);
            prop_assert_eq!(ApiKey::parse(&mistyped).is_some(), mistyped == key);
        }

        #[test]
        fn other_text_is_no_key(text in ".{0,80}") {
            prop_assert!(ApiKey::parse(&text).is_none());
        }
    }
}
