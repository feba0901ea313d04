//! The table's items: keys, attribute names, and the conversion to and from domain values.
//!
//! | item | pk | sk | attributes |
//! |---|---|---|---|
//! | customer record | `CLIENT#{client_id}#CUSTOMER#{ccid}` | `CUSTOMER` | `phone_count`, `notification_channels`, `created_at` |
//! | phone number | `CLIENT#{client_id}#PHONE#{e164}` | `PHONE` | `ccid_count`, `ccids`?, the consent's times? |
//! | API key | `KEY#{sha256 of the key, hex}` | `KEY` | `client_id`, `label`, `created_at`, `expires_at`?, `revoked_at`? |
//!
//! `notification_channels` is a map from the E.164 form to a channel. Every add pays for the whole record by the kilobyte,
//! so a channel's attributes have short names and defaults are omitted: `t` is the creation time, `p` the phone type
//! unless `unknown`, `s` the source unless `internal`, `n` the country code unless 1, `i` the idempotency fingerprint (16
//! bytes) if the request had a key. All times are milliseconds since 1970.
//!
//! The phone number's item also holds the number's consent: see [`super::stored_consent`]. It stays when the last customer
//! that had the number is gone, with a count of zero.

use std::collections::HashMap;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;

use crate::domain::{Ccid, Channel, ClientId, ClientSource, CountryCode, IdempotencyFingerprint, Phone, PhoneType};
use crate::time::UnixMillis;

/// An item, or a part of it.
pub type Item = HashMap<String, AttributeValue>;

/// The name of the partition key.
pub const PK: &str = "pk";
/// The name of the sort key.
pub const SK: &str = "sk";

/// How many numbers the record has.
pub const PHONE_COUNT: &str = "phone_count";
/// The record's channels, a map by E.164.
pub const NOTIFICATION_CHANNELS: &str = "notification_channels";
/// When a record or an API key was created.
pub const CREATED_AT: &str = "created_at";
/// How many customers have the number.
pub const CCID_COUNT: &str = "ccid_count";
/// The customers that have the number, a string set.
pub const CCIDS: &str = "ccids";
/// The client that an API key belongs to.
pub const CLIENT_ID: &str = "client_id";
/// An operator's name for an API key.
pub const LABEL: &str = "label";
/// When an API key expires.
pub const EXPIRES_AT: &str = "expires_at";
/// When an operator revoked an API key.
pub const REVOKED_AT: &str = "revoked_at";

/// The key of a customer's record. It is unique: a client's name cannot contain `#`, and the ccid is the last part.
pub fn customer_key(client_id: &ClientId, ccid: &Ccid) -> Item {
    key(format!("CLIENT#{}#CUSTOMER#{}", client_id.as_str(), ccid.as_str()), "CUSTOMER")
}

/// The key of a number's item within a client.
pub fn phone_key(client_id: &ClientId, phone: &Phone) -> Item {
    key(format!("CLIENT#{}#PHONE#{}", client_id.as_str(), phone.e164()), "PHONE")
}

/// The E.164 form in the partition key of a number's item.
pub fn e164_of_key(pk: &str) -> Option<&str> {
    Some(pk.rsplit_once('#')?.1)
}

/// The key of an API key's item. `sha256_hex` is the SHA-256 of the API key in lower-case hex.
pub fn api_key_key(sha256_hex: &str) -> Item {
    key(format!("KEY#{sha256_hex}"), "KEY")
}

fn key(pk: String, sk: &str) -> Item {
    HashMap::from([(PK.to_owned(), AttributeValue::S(pk)), (SK.to_owned(), AttributeValue::S(sk.to_owned()))])
}

/// A new customer record, without phone numbers.
pub fn empty_record(client_id: &ClientId, ccid: &Ccid, created_at: UnixMillis) -> Item {
    let mut item = customer_key(client_id, ccid);
    item.insert(PHONE_COUNT.to_owned(), AttributeValue::N("0".to_owned()));
    item.insert(NOTIFICATION_CHANNELS.to_owned(), AttributeValue::M(HashMap::new()));
    item.insert(CREATED_AT.to_owned(), from_unix_millis(created_at));
    item
}

/// A number that is whole and not negative; otherwise `None`.
pub fn whole_number(value: Option<&AttributeValue>) -> Option<u64> {
    value?.as_n().ok()?.parse().ok()
}

/// Reads a time.
pub fn unix_millis(value: Option<&AttributeValue>) -> Option<UnixMillis> {
    whole_number(value).and_then(UnixMillis::new)
}

/// Writes a time.
pub fn from_unix_millis(time: UnixMillis) -> AttributeValue {
    AttributeValue::N(time.millis().to_string())
}

/// Writes a channel as an entry of `notification_channels`. The key of the entry is the channel's E.164 form.
pub fn from_channel(channel: &Channel) -> AttributeValue {
    let mut entry = HashMap::from([("t".to_owned(), from_unix_millis(channel.created_at))]);
    let mut text = |name: &str, value: &str| entry.insert(name.to_owned(), AttributeValue::S(value.to_owned()));
    if channel.phone_type != PhoneType::Unknown {
        text("p", channel.phone_type.as_str());
    }
    if !channel.client_source.is_default() {
        text("s", channel.client_source.as_str());
    }
    if !channel.phone.country_code().is_default() {
        entry.insert("n".to_owned(), AttributeValue::N(channel.phone.country_code().number().to_string()));
    }
    if let Some(fingerprint) = channel.fingerprint {
        entry.insert("i".to_owned(), AttributeValue::B(Blob::new([fingerprint.key, fingerprint.request].concat())));
    }
    AttributeValue::M(entry)
}

/// Reads an entry of `notification_channels`, without the number's consent, which another item holds. `None` if it is not a valid channel; then the record is corrupt.
pub fn channel(e164: &str, entry: &AttributeValue) -> Option<Channel> {
    let entry = entry.as_m().ok()?;
    let text = |name: &str| {
        entry.get(name).map(|value| value.as_s().map(String::as_str).ok()).map_or(Some(None), |s| s.map(Some))
    };
    let country_code = match entry.get("n") {
        None => CountryCode::default(),
        Some(number) => CountryCode::parse(number.as_n().ok()?).ok()?,
    };
    Some(Channel {
        phone: Phone::from_stored(e164, country_code)?,
        phone_type: text("p")?.map_or(Some(PhoneType::default()), |word| PhoneType::parse(word).ok())?,
        consent_type: None,
        client_source: text("s")?.map_or(Some(ClientSource::default()), |word| ClientSource::parse(word).ok())?,
        created_at: unix_millis(entry.get("t"))?,
        fingerprint: match entry.get("i") {
            None => None,
            Some(_) => Some(fingerprint(entry)?),
        },
    })
}

/// Reads the idempotency fingerprint of a stored channel. `None` if it is absent or has another length.
pub fn fingerprint(entry: &Item) -> Option<IdempotencyFingerprint> {
    let bytes = entry.get("i")?.as_b().ok()?.as_ref();
    let (key, request) = bytes.split_first_chunk::<8>()?;
    Some(IdempotencyFingerprint { key: *key, request: request.try_into().ok()? })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::Rule;
    use crate::domain::{Digits, IdempotencyKey};

    #[test]
    fn channels_read_back_and_defaults_cost_nothing() -> Result<(), Rule> {
        let phone = Phone::new(Digits::parse("6105551212")?, CountryCode::default())?;
        let plain = Channel::new(phone, UnixMillis::now());
        assert_eq!(from_channel(&plain).as_m().map(HashMap::len), Ok(1), "only the time is stored");
        let mut full = Channel {
            phone: Phone::new(Digits::parse("0612345678")?, CountryCode::parse("33")?)?,
            phone_type: PhoneType::Mobile,
            client_source: ClientSource::parse("web")?,
            ..plain.clone()
        };
        full.fingerprint = Some(full.fingerprint_for(&IdempotencyKey::parse("k")?));
        for channel_in in [plain, full] {
            let stored = from_channel(&channel_in);
            assert_eq!(channel(channel_in.phone.e164(), &stored), Some(channel_in));
        }
        Ok(())
    }

    #[test]
    fn an_invalid_channel_is_not_read() {
        let good = HashMap::from([("t".to_owned(), AttributeValue::N("1".to_owned()))]);
        assert!(channel("+16105551212", &AttributeValue::M(good.clone())).is_some());
        let invalid = [
            ("t", AttributeValue::S("1".to_owned())),
            ("t", AttributeValue::N("-1".to_owned())),
            ("p", AttributeValue::S("fax".to_owned())),
            ("p", AttributeValue::Bool(true)),
            ("s", AttributeValue::S(String::new())),
            ("n", AttributeValue::N("0".to_owned())),
            ("n", AttributeValue::N("44".to_owned())),
            ("i", AttributeValue::B(Blob::new([0; 15]))),
            ("i", AttributeValue::B(Blob::new([0; 17]))),
        ];
        for (name, value) in invalid {
            let mut entry = good.clone();
            entry.insert(name.to_owned(), value.clone());
            assert_eq!(channel("+16105551212", &AttributeValue::M(entry)), None, "{name} {value:?}");
        }
        assert_eq!(channel("+16105551212", &AttributeValue::Bool(true)), None);
        assert_eq!(channel("16105551212", &AttributeValue::M(good)), None);
    }

    fn client() -> impl Strategy<Value = ClientId> {
        "[A-Za-z0-9_.-]{1,12}".prop_filter_map("a client", |text| ClientId::parse(&text).ok())
    }

    /// Ccids that imitate the parts of a key.
    fn ccid() -> impl Strategy<Value = Ccid> {
        prop_oneof!["(#?(CLIENT|CUSTOMER|PHONE|KEY|a|[+]16105551212)#?){1,4}", "[^/]{1,8}"]
            .prop_filter_map("a ccid", |text| Ccid::parse(&text).ok())
    }

    proptest! {
        #[test]
        fn keys_never_collide(a in client(), b in client(), x in ccid(), y in ccid(), digits in "[2-9][0-9]{9}") {
            prop_assert_eq!(customer_key(&a, &x) == customer_key(&b, &y), (&a, &x) == (&b, &y));
            let phone = Phone::new(Digits::parse(&digits).map_err(|rule| TestCaseError::fail(rule.0))?, CountryCode::default())
                .map_err(|rule| TestCaseError::fail(rule.0))?;
            let (record, counter, key) = (customer_key(&a, &x), phone_key(&b, &phone), api_key_key(y.as_str()));
            prop_assert!(record[PK] != counter[PK] && record[PK] != key[PK] && counter[PK] != key[PK]);
            prop_assert_eq!(phone_key(&a, &phone) == phone_key(&b, &phone), a == b);
        }
    }
}
