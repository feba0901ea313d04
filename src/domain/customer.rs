//! The client, the customer's id within the client, the customer's record, and the record of a phone number.

use super::{Channel, Consent, Rule};
use crate::time::UnixMillis;

/// A client's name: 1 to 100 of `[A-Za-z0-9_.-]`. It cannot contain `#`, which separates the parts of the table's keys.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ClientId(String);

impl ClientId {
    /// # Errors
    /// The rule that `text` breaks.
    pub fn parse(text: &str) -> Result<Self, Rule> {
        let named = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        if (1..=100).contains(&text.len()) && text.bytes().all(named) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Rule("must be 1 to 100 of the characters A-Z a-z 0-9 _ . -"))
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A customer's or patient's id within a client: 1 to 100 Unicode scalar values, none of them a control character or
/// `/`, and neither `.` nor `..`. Ids are compared byte for byte.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Ccid(String);

impl Ccid {
    /// # Errors
    /// The rule that `text` breaks.
    pub fn parse(text: &str) -> Result<Self, Rule> {
        // Stop counting at 101, so that a long text costs no more than a valid one.
        let characters = text.chars().take(101).count();
        if !(1..=100).contains(&characters) {
            return Err(Rule::TO_100_CHARACTERS);
        }
        if text.chars().any(|character| character.is_control() || character == '/') {
            return Err(Rule("must not contain control characters or /"));
        }
        if text == "." || text == ".." {
            return Err(Rule("must not be . or .."));
        }
        Ok(Self(text.to_owned()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A customer's record, read from a consistent item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustomerRecord {
    /// When the record was created.
    pub created_at: UnixMillis,
    /// The phone numbers, ordered by `created_at`, then by E.164 form. Their count equals the record's `phone_count`.
    pub channels: Vec<Channel>,
}

/// What the table holds about a client's phone number, read from a consistent item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PhoneRecord {
    /// The customers that have the number, in byte order. Their count equals the item's `ccid_count`.
    pub ccids: Vec<String>,
    /// The consent, if one was stated.
    pub consent: Option<Consent>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_id_has_1_to_100_plain_characters() {
        for good in ["a", "Acme_1.x-y", &"a".repeat(100)] {
            assert!(ClientId::parse(good).is_ok(), "{good}");
        }
        for bad in ["", " ", "a#b", "a/b", "é", &"a".repeat(101)] {
            assert!(ClientId::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_ccid_is_measured_in_characters_not_bytes() {
        for good in ["a", "BAK-11984-007", "...", "a b?#%", &"é".repeat(100), &"𝄞".repeat(100)] {
            assert!(Ccid::parse(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "a\u{0}", "a\u{7f}", "a\u{85}", &"é".repeat(101), &"a".repeat(101)] {
            assert!(Ccid::parse(bad).is_err(), "{bad:?}");
        }
    }
}
