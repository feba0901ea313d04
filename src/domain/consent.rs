//! Consent to be texted. It belongs to a phone number within a client, not to one of the client's customers.

use super::Rule;
use crate::time::UnixMillis;

/// The value of a consent. A number without one has no stated consent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConsentType {
    /// Consent in writing.
    Written,
    /// Consent expressed in another way.
    Express,
    /// The person asked not to be contacted.
    Stop,
}

impl ConsentType {
    /// # Errors
    /// The rule, if `text` is not one of the three words.
    pub fn parse(text: &str) -> Result<Self, Rule> {
        match text {
            "written" => Ok(Self::Written),
            "express" => Ok(Self::Express),
            "stop" => Ok(Self::Stop),
            _ => Err(Rule("must be one of written, express, stop")),
        }
    }

    /// The value in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Written => "written",
            Self::Express => "express",
            Self::Stop => "stop",
        }
    }
}

/// The consent of a phone number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Consent {
    /// Its value.
    pub consent_type: ConsentType,
    /// When a consent was first stated for the number.
    pub created_at: UnixMillis,
    /// When the value last changed.
    pub updated_at: UnixMillis,
}

/// The only channel type of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChannelType;

impl ChannelType {
    /// # Errors
    /// The rule, if `text` is not `sms`.
    pub fn parse(text: &str) -> Result<Self, Rule> {
        if text == Self.as_str() { Ok(Self) } else { Err(Rule("must be sms")) }
    }

    /// The value in the API.
    pub fn as_str(self) -> &'static str {
        "sms"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_read_back() {
        for word in ["written", "express", "stop"] {
            assert_eq!(ConsentType::parse(word).map(ConsentType::as_str), Ok(word));
        }
        assert_eq!(ChannelType::parse("sms").map(ChannelType::as_str), Ok("sms"));
        for bad in ["", "Written", "stop ", "null", "SMS", "voice"] {
            assert!(ConsentType::parse(bad).is_err() && ChannelType::parse(bad).is_err(), "{bad}");
        }
    }
}
