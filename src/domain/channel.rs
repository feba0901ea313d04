//! One entry of a record's `notification_channels`, and the caller's idempotency key that rides on it.

use sha2::{Digest, Sha256};

use super::Phone;
use crate::error::Rule;
use crate::time::UnixMillis;

/// The consent that the customer has given. Absent on a channel means that none was stated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConsentType {
    /// Consent in writing.
    Written,
    /// Consent expressed in another way.
    Express,
    /// The customer asked not to be contacted.
    Stop,
}

impl ConsentType {
    /// # Errors
    /// The rule, where `text` is none of the three.
    pub fn parse(text: &str) -> Result<Self, Rule> {
        match text {
            "written" => Ok(Self::Written),
            "express" => Ok(Self::Express),
            "stop" => Ok(Self::Stop),
            _ => Err(Rule("must be one of written, express, stop")),
        }
    }

    /// The contract's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Written => "written",
            Self::Express => "express",
            Self::Stop => "stop",
        }
    }
}

/// The type of the phone line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PhoneType {
    /// A mobile phone.
    Mobile,
    /// A fixed line.
    Landline,
    /// Not known, which is also what an absent field means.
    #[default]
    Unknown,
}

impl PhoneType {
    /// # Errors
    /// The rule, where `text` is none of the three.
    pub fn parse(text: &str) -> Result<Self, Rule> {
        match text {
            "mobile" => Ok(Self::Mobile),
            "landline" => Ok(Self::Landline),
            "unknown" => Ok(Self::Unknown),
            _ => Err(Rule("must be one of mobile, landline, unknown")),
        }
    }

    /// The contract's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mobile => "mobile",
            Self::Landline => "landline",
            Self::Unknown => "unknown",
        }
    }
}

/// Where the client has the number from: 1 to 100 characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientSource(String);

impl ClientSource {
    /// # Errors
    /// The rule, where `text` is empty or too long.
    pub fn parse(text: &str) -> Result<Self, Rule> {
        if (1..=100).contains(&text.chars().take(101).count()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Rule("must be 1 to 100 characters"))
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is what an absent field means.
    pub fn is_default(&self) -> bool {
        self.0 == "internal"
    }
}

impl Default for ClientSource {
    fn default() -> Self {
        Self("internal".to_owned())
    }
}

/// The caller's `Idempotency-Key`: 1 to 255 printable ASCII characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    /// # Errors
    /// The rule, where `text` is anything else.
    pub fn parse(text: &str) -> Result<Self, Rule> {
        if (1..=255).contains(&text.len()) && text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Rule("must be 1 to 255 printable ASCII characters"))
        }
    }
}

/// What a channel remembers of the request that made it: short hashes of its idempotency key and of its values.
/// They are only ever compared with those of another request for the same record and number, so 64 bits each suffice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdempotencyFingerprint {
    /// Of the key.
    pub key: [u8; 8],
    /// Of the normalised request.
    pub request: [u8; 8],
}

/// One phone number of a record, with what was said of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channel {
    /// The number.
    pub phone: Phone,
    /// Its type of line.
    pub phone_type: PhoneType,
    /// The consent, where one was stated.
    pub consent_type: Option<ConsentType>,
    /// Where the client has it from.
    pub client_source: ClientSource,
    /// When the request that added it arrived.
    pub created_at: UnixMillis,
    /// Of the request that added it, where it had an idempotency key.
    pub fingerprint: Option<IdempotencyFingerprint>,
}

impl Channel {
    /// The mark of a request for this channel under `key`: of its values after defaults, with the number in E.164,
    /// so that two spellings of one request are the same request.
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

/// The first 64 bits of SHA-256 over the values, each behind its length so that no two lists run together.
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
    use crate::domain::{CountryCode, Digits};

    fn channel(digits: &str, source: &str) -> Result<Channel, Rule> {
        Ok(Channel {
            phone: Phone::new(Digits::parse(digits)?, CountryCode::default())?,
            phone_type: PhoneType::default(),
            consent_type: None,
            client_source: ClientSource::parse(source)?,
            created_at: UnixMillis::now(),
            fingerprint: None,
        })
    }

    #[test]
    fn a_mark_is_of_the_normalised_request() -> Result<(), Rule> {
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

    #[test]
    fn words_read_back() {
        for word in ["written", "express", "stop"] {
            assert_eq!(ConsentType::parse(word).map(ConsentType::as_str), Ok(word));
        }
        for word in ["mobile", "landline", "unknown"] {
            assert_eq!(PhoneType::parse(word).map(PhoneType::as_str), Ok(word));
        }
        for bad in ["", "Written", "mobile ", "null"] {
            assert!(ConsentType::parse(bad).is_err() && PhoneType::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn lengths_at_their_boundaries() {
        for (length, good) in [(0, false), (1, true), (100, true), (101, false)] {
            assert_eq!(ClientSource::parse(&"é".repeat(length)).is_ok(), good, "{length}");
        }
        for (length, good) in [(0, false), (1, true), (255, true), (256, false)] {
            assert_eq!(IdempotencyKey::parse(&"k".repeat(length)).is_ok(), good, "{length}");
        }
        for bad in ["é", "a\n", "\u{7f}"] {
            assert!(IdempotencyKey::parse(bad).is_err(), "{bad:?}");
        }
    }
}
