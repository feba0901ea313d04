//! One entry of a record's `notification_channels`, and the values in it.

use super::{ConsentType, IdempotencyFingerprint, Phone, Rule};
use crate::time::UnixMillis;

/// The type of the phone line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PhoneType {
    /// A mobile phone.
    Mobile,
    /// A fixed line.
    Landline,
    /// Not known. An absent field means the same.
    #[default]
    Unknown,
}

impl PhoneType {
    /// # Errors
    /// The rule, if `text` is not one of the three words.
    pub fn parse(text: &str) -> Result<Self, Rule> {
        match text {
            "mobile" => Ok(Self::Mobile),
            "landline" => Ok(Self::Landline),
            "unknown" => Ok(Self::Unknown),
            _ => Err(Rule("must be one of mobile, landline, unknown")),
        }
    }

    /// The value in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mobile => "mobile",
            Self::Landline => "landline",
            Self::Unknown => "unknown",
        }
    }
}

/// The source that the client names for a phone number: 1 to 100 characters, `internal` if none is stated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientSource(String);

impl ClientSource {
    /// # Errors
    /// The rule, if `text` is empty or too long.
    pub fn parse(text: &str) -> Result<Self, Rule> {
        if (1..=100).contains(&text.chars().take(101).count()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Rule::TO_100_CHARACTERS)
        }
    }

    /// The source as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is `internal`, the value of an absent field.
    pub fn is_default(&self) -> bool {
        self.0 == "internal"
    }
}

impl Default for ClientSource {
    fn default() -> Self {
        Self("internal".to_owned())
    }
}

/// One phone number of a record, with its attributes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channel {
    /// The number.
    pub phone: Phone,
    /// The type of the line.
    pub phone_type: PhoneType,
    /// The consent. In an add it is what the request states. In a record it is the number's consent, which the number's
    /// item holds. A channel that is read without that item has none.
    pub consent_type: Option<ConsentType>,
    /// The source that the client names.
    pub client_source: ClientSource,
    /// When the request that added the number arrived.
    pub created_at: UnixMillis,
    /// The fingerprint of the request that added the number, if that request had an idempotency key.
    pub fingerprint: Option<IdempotencyFingerprint>,
}

impl Channel {
    /// A channel whose fields have their defaults.
    pub fn new(phone: Phone, created_at: UnixMillis) -> Self {
        Self {
            phone,
            phone_type: PhoneType::default(),
            consent_type: None,
            client_source: ClientSource::default(),
            created_at,
            fingerprint: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_read_back() {
        for word in ["mobile", "landline", "unknown"] {
            assert_eq!(PhoneType::parse(word).map(PhoneType::as_str), Ok(word));
        }
        for bad in ["", "Mobile", "mobile ", "null"] {
            assert!(PhoneType::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_client_source_has_1_to_100_characters() {
        for (length, valid) in [(0, false), (1, true), (100, true), (101, false)] {
            assert_eq!(ClientSource::parse(&"é".repeat(length)).is_ok(), valid, "{length}");
        }
    }
}
