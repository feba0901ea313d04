//! What an item is, and what about it contradicts itself or the rules. Pure: it looks at one item and asks nobody.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::types::AttributeValue;
use cdm_lambda::domain::{CUSTOMERS_PER_PHONE, Ccid, ClientId, PHONES_PER_CUSTOMER, Phone};
use cdm_lambda::store::items::{self, Item};

use crate::counter;

/// What an item is, by its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Subject {
    /// A customer's record.
    Customer { client_id: ClientId, ccid: Ccid },
    /// A number's counter.
    Phone { client_id: ClientId, phone: Phone },
    /// An API key.
    Key,
    /// It looks like one of these, but its key is none that the function would ever look under.
    Malformed(Kind),
}

/// Reads an item's key.
pub(crate) fn subject(item: &Item) -> Subject {
    let text = |name: &str| item.get(name).and_then(|value| value.as_s().ok()).map_or("", String::as_str);
    let (pk, sk) = (text(items::PK), text(items::SK));
    if let Some(hash) = pk.strip_prefix("KEY#") {
        let whole = hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        return if whole && sk == "KEY" { Subject::Key } else { Subject::Malformed(Kind::KeyKey) };
    }
    let Some((client_id, rest)) = pk.strip_prefix("CLIENT#").and_then(|rest| rest.split_once('#')) else {
        return Subject::Malformed(Kind::UnknownItem);
    };
    let client_id = ClientId::parse(client_id).ok();
    match (sk, rest.split_once('#')) {
        ("CUSTOMER", Some(("CUSTOMER", ccid))) => match (client_id, Ccid::parse(ccid).ok()) {
            (Some(client_id), Some(ccid)) => Subject::Customer { client_id, ccid },
            _ => Subject::Malformed(Kind::CustomerKey),
        },
        ("PHONE", Some(("PHONE", e164))) => match (client_id, counter::phone(e164)) {
            (Some(client_id), Some(phone)) => Subject::Phone { client_id, phone },
            _ => Subject::Malformed(Kind::PhoneKey),
        },
        _ => Subject::Malformed(Kind::UnknownItem),
    }
}

/// The kinds of damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    CustomerKey,
    CustomerCreatedAt,
    CustomerChannels,
    CustomerChannel,
    CustomerPhoneCount,
    CustomerOverLimit,
    PhoneKey,
    PhoneCcids,
    PhoneCcidCount,
    PhoneOverLimit,
    ChannelNotCounted,
    CcidWithoutChannel,
    KeyKey,
    KeyClientId,
    KeyLabel,
    KeyCreatedAt,
    KeyExpiresAt,
    KeyRevokedAt,
    UnknownItem,
}

impl Kind {
    /// Each of them.
    pub(crate) const ALL: [Self; 19] = [
        Self::CustomerKey,
        Self::CustomerCreatedAt,
        Self::CustomerChannels,
        Self::CustomerChannel,
        Self::CustomerPhoneCount,
        Self::CustomerOverLimit,
        Self::PhoneKey,
        Self::PhoneCcids,
        Self::PhoneCcidCount,
        Self::PhoneOverLimit,
        Self::ChannelNotCounted,
        Self::CcidWithoutChannel,
        Self::KeyKey,
        Self::KeyClientId,
        Self::KeyLabel,
        Self::KeyCreatedAt,
        Self::KeyExpiresAt,
        Self::KeyRevokedAt,
        Self::UnknownItem,
    ];

    /// Its name, for programs.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::CustomerKey => "customer_key",
            Self::CustomerCreatedAt => "customer_created_at",
            Self::CustomerChannels => "customer_channels",
            Self::CustomerChannel => "customer_channel",
            Self::CustomerPhoneCount => "customer_phone_count",
            Self::CustomerOverLimit => "customer_over_limit",
            Self::PhoneKey => "phone_key",
            Self::PhoneCcids => "phone_ccids",
            Self::PhoneCcidCount => "phone_ccid_count",
            Self::PhoneOverLimit => "phone_over_limit",
            Self::ChannelNotCounted => "channel_not_counted",
            Self::CcidWithoutChannel => "ccid_without_channel",
            Self::KeyKey => "key_key",
            Self::KeyClientId => "key_client_id",
            Self::KeyLabel => "key_label",
            Self::KeyCreatedAt => "key_created_at",
            Self::KeyExpiresAt => "key_expires_at",
            Self::KeyRevokedAt => "key_revoked_at",
            Self::UnknownItem => "unknown_item",
        }
    }

    /// What is wrong, for people.
    pub(crate) fn what(self) -> &'static str {
        match self {
            Self::CustomerKey => "the record's key holds no valid client and ccid",
            Self::CustomerCreatedAt => "created_at is no moment",
            Self::CustomerChannels => "notification_channels is no map",
            Self::CustomerChannel => "a channel cannot be read",
            Self::CustomerPhoneCount => "phone_count is not the number of channels",
            Self::CustomerOverLimit => "the record has more than 50 numbers",
            Self::PhoneKey => "the counter's key holds no valid client and number",
            Self::PhoneCcids => "ccids is no set of ccids",
            Self::PhoneCcidCount => "ccid_count is not the number of ccids",
            Self::PhoneOverLimit => "the number is on more than 50 customers",
            Self::ChannelNotCounted => "the record has the number, the number's ccids do not have the customer",
            Self::CcidWithoutChannel => {
                "the number's ccids have the customer, the customer's record has no such number"
            }
            Self::KeyKey => "the item is no key's: its name is no SHA-256",
            Self::KeyClientId => "client_id is no client's name",
            Self::KeyLabel => "label is no text",
            Self::KeyCreatedAt => "created_at is no moment, so that no list shows the key",
            Self::KeyExpiresAt => "expires_at is no moment",
            Self::KeyRevokedAt => "revoked_at is no moment",
            Self::UnknownItem => "an item that nobody knows",
        }
    }

    /// What mends it, if `--fix` does; otherwise what a person can do.
    pub(crate) fn remedy(self) -> Result<&'static str, &'static str> {
        match self {
            Self::CustomerCreatedAt => Ok("created_at set to the oldest channel's, or else to now"),
            Self::CustomerChannels => Ok("notification_channels made an empty map"),
            Self::CustomerPhoneCount => Ok("phone_count set to the number of channels"),
            Self::PhoneCcids => Ok("ccids cleared of what is no ccid"),
            Self::PhoneCcidCount => Ok("ccid_count set to the number of ccids"),
            Self::ChannelNotCounted => Ok("the customer added to the number's ccids"),
            Self::CcidWithoutChannel => Ok("the customer taken out of the number's ccids"),
            Self::KeyLabel => Ok("label made empty"),
            Self::KeyCreatedAt => Ok("created_at set to now"),
            Self::KeyExpiresAt => Ok("expires_at removed and the key revoked"),
            Self::KeyRevokedAt => Ok("revoked_at set to now"),
            // What a customer consented to cannot be guessed, and what is over a limit cannot be chosen.
            Self::CustomerChannel => Err("remove the number with `cdm phone remove` and add it again"),
            Self::CustomerOverLimit | Self::PhoneOverLimit => Err("remove numbers with `cdm phone remove`"),
            Self::CustomerKey | Self::PhoneKey | Self::KeyKey | Self::UnknownItem => {
                Err("nothing reads it: delete it by hand if nobody needs it")
            }
            Self::KeyClientId => Err("nobody can use it: delete it by hand and issue another"),
        }
    }
}

/// What is wrong with the item by itself.
pub(crate) fn of(item: &Item) -> BTreeSet<Kind> {
    match subject(item) {
        Subject::Customer { .. } => of_customer(item),
        Subject::Phone { .. } => of_phone(item),
        Subject::Key => of_key(item),
        Subject::Malformed(kind) => BTreeSet::from([kind]),
    }
}

fn of_customer(item: &Item) -> BTreeSet<Kind> {
    let mut kinds = BTreeSet::new();
    if items::moment(item.get(items::CREATED_AT)).is_none() {
        kinds.insert(Kind::CustomerCreatedAt);
    }
    let count = items::whole_number(item.get(items::PHONE_COUNT));
    let Some(AttributeValue::M(channels)) = item.get(items::NOTIFICATION_CHANNELS) else {
        kinds.insert(Kind::CustomerChannels);
        if count != Some(0) {
            kinds.insert(Kind::CustomerPhoneCount);
        }
        return kinds;
    };
    if count != u64::try_from(channels.len()).ok() {
        kinds.insert(Kind::CustomerPhoneCount);
    }
    if channels.len() > PHONES_PER_CUSTOMER as usize {
        kinds.insert(Kind::CustomerOverLimit);
    }
    if channels.iter().any(|(e164, entry)| items::channel(e164, entry).is_none()) {
        kinds.insert(Kind::CustomerChannel);
    }
    kinds
}

fn of_phone(item: &Item) -> BTreeSet<Kind> {
    let mut kinds = BTreeSet::new();
    let (are_set, ccids): (bool, &[String]) = match item.get(items::CCIDS) {
        None => (true, &[]),
        Some(AttributeValue::Ss(ccids)) => (true, ccids),
        Some(_) => (false, &[]),
    };
    if !are_set || ccids.iter().any(|ccid| Ccid::parse(ccid).is_err()) {
        kinds.insert(Kind::PhoneCcids);
    }
    if items::whole_number(item.get(items::CCID_COUNT)) != u64::try_from(ccids.len()).ok() {
        kinds.insert(Kind::PhoneCcidCount);
    }
    if ccids.len() > CUSTOMERS_PER_PHONE as usize {
        kinds.insert(Kind::PhoneOverLimit);
    }
    kinds
}

fn of_key(item: &Item) -> BTreeSet<Kind> {
    let mut kinds = BTreeSet::new();
    let client_id = item.get(items::CLIENT_ID).and_then(|value| value.as_s().ok());
    if client_id.is_none_or(|text| ClientId::parse(text).is_err()) {
        kinds.insert(Kind::KeyClientId);
    }
    if item.get(items::LABEL).is_some_and(|value| !value.is_s()) {
        kinds.insert(Kind::KeyLabel);
    }
    if items::moment(item.get(items::CREATED_AT)).is_none() {
        kinds.insert(Kind::KeyCreatedAt);
    }
    for (name, kind) in [(items::EXPIRES_AT, Kind::KeyExpiresAt), (items::REVOKED_AT, Kind::KeyRevokedAt)] {
        if item.contains_key(name) && items::moment(item.get(name)).is_none() {
            kinds.insert(kind);
        }
    }
    kinds
}
