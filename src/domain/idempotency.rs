//! The caller's idempotency key, and the fingerprint that a stored channel keeps of it.

use sha2::{Digest, Sha256};

use super::{Channel, ConsentType, Rule};

/// The caller's `Idempotency-Key`: 1 to 255 printable ASCII characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    /// # Errors
    /// The rule, if `text` is anything else.
    pub fn parse(text: &str) -> Result<Self, Rule> {
        if (1..=255).contains(&text.len()) && text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Rule("must be 1 to 255 printable ASCII characters"))
        }
    }
}

/// Short hashes of an idempotency key and of the request that used it. They are only compared with the hashes of another
/// request for the same record and number, so 64 bits each are enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdempotencyFingerprint {
    /// The hash of the key.
    pub key: [u8; 8],
    /// The hash of the request's values, after defaults and with the number in E.164 form.
    pub request: [u8; 8],
}

impl Channel {
    /// The fingerprint of a request that adds this channel under `key`. Two spellings of one request have the same
    /// fingerprint, because the values are normalized.
    ///
    /// Fingerprints are stored, so the list of values must not change. Hash a field that is added to the contract later
    /// only if the request states it, as one more text `name=value` at the end: the fingerprint of a request that does
    /// not use the field then stays the same.
    pub fn fingerprint_for(&self, key: &IdempotencyKey) -> IdempotencyFingerprint {
        let values = [
            self.phone.e164(),
            self.phone_type.as_str(),
            self.consent_type.map_or("", ConsentType::as_str),
            self.client_source.as_str(),
        ];
        IdempotencyFingerprint { key: short_hash(&[&key.0]), request: short_hash(&values) }
    }
}

/// The first 64 bits of SHA-256 over the values. Each value follows its length, so that different lists never hash the
/// same bytes.
fn short_hash(values: &[&str]) -> [u8; 8] {
    let mut hash = Sha256::new();
    for value in values {
        hash.update((value.len() as u64).to_be_bytes());
        hash.update(value);
    }
    let hash: [u8; 32] = hash.finalize().into();
    hash.first_chunk().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{ClientSource, CountryCode, Digits, Phone, PhoneType};
    use crate::time::UnixMillis;

    fn channel(digits: &str, source: &str) -> Result<Channel, Rule> {
        let phone = Phone::new(Digits::parse(digits)?, CountryCode::default())?;
        Ok(Channel { client_source: ClientSource::parse(source)?, ..Channel::new(phone, UnixMillis::now()) })
    }

    #[test]
    fn two_spellings_of_a_request_have_one_fingerprint() -> Result<(), Rule> {
        let key = IdempotencyKey::parse("a key")?;
        let first = channel("6105551212", "internal")?.fingerprint_for(&key);
        assert_eq!(first, channel("16105551212", "internal")?.fingerprint_for(&key));
        let other_values = channel("6105551212", "web")?.fingerprint_for(&key);
        assert_eq!(first.key, other_values.key);
        assert_ne!(first.request, other_values.request);
        let other_key = channel("6105551212", "internal")?.fingerprint_for(&IdempotencyKey::parse("b key")?);
        assert_ne!(first.key, other_key.key);
        assert_eq!(first.request, other_key.request);
        Ok(())
    }

    /// Tables hold these fingerprints. If one changes, every repeat of a request from before the change is answered with
    /// 409. The values were computed with Python's hashlib, not with this code.
    #[test]
    fn stored_fingerprints_stay_valid() -> Result<(), Rule> {
        let key = IdempotencyKey::parse("a key")?;
        let fingerprint = |channel: &Channel| {
            let IdempotencyFingerprint { key: key_hash, request } = channel.fingerprint_for(&key);
            [key_hash, request].map(|hash| format!("{:016x}", u64::from_be_bytes(hash)))
        };
        let plain = channel("6105551212", "internal")?;
        assert_eq!(fingerprint(&plain), ["e1ead059e052d2b2", "79dab32d598d0a20"]);
        let full = Channel {
            phone_type: PhoneType::Mobile,
            consent_type: Some(ConsentType::Written),
            ..channel("6105551212", "web form")?
        };
        assert_eq!(fingerprint(&full), ["e1ead059e052d2b2", "9868aaf97e91c8e3"]);
        Ok(())
    }

    #[test]
    fn an_idempotency_key_has_1_to_255_printable_ascii_characters() {
        for (length, valid) in [(0, false), (1, true), (255, true), (256, false)] {
            assert_eq!(IdempotencyKey::parse(&"k".repeat(length)).is_ok(), valid, "{length}");
        }
        for bad in ["é", "a\n", "\u{7f}"] {
            assert!(IdempotencyKey::parse(bad).is_err(), "{bad:?}");
        }
    }
}
