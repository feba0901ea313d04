//! What an item is, by its key, and the kinds of corruption that `cdm check` reports. [`crate::table::repair`]
//! decides what to do about each.

use cdm_lambda::domain::{Ccid, ClientId, Phone};
use cdm_lambda::store::items::{self, Item};

/// What an item is, by its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Subject {
    /// A customer's record.
    Customer { client_id: ClientId, ccid: Ccid },
    /// A number's item.
    Phone { client_id: ClientId, phone: Phone },
    /// An API key.
    Key,
    /// The function never looks up such a key.
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
        ("PHONE", Some(("PHONE", e164))) => match (client_id, Phone::from_e164(e164)) {
            (Some(client_id), Some(phone)) => Subject::Phone { client_id, phone },
            _ => Subject::Malformed(Kind::PhoneKey),
        },
        _ => Subject::Malformed(Kind::UnknownItem),
    }
}

/// The kinds of corruption.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    CustomerKey,
    CustomerCreatedAt,
    CustomerChannels,
    CustomerChannel,
    CustomerChannelConsent,
    CustomerPhoneCount,
    CustomerOverLimit,
    PhoneKey,
    PhoneCcids,
    PhoneCcidCount,
    PhoneConsent,
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
    /// Every kind.
    pub(crate) const ALL: [Self; 21] = [
        Self::CustomerKey,
        Self::CustomerCreatedAt,
        Self::CustomerChannels,
        Self::CustomerChannel,
        Self::CustomerChannelConsent,
        Self::CustomerPhoneCount,
        Self::CustomerOverLimit,
        Self::PhoneKey,
        Self::PhoneCcids,
        Self::PhoneCcidCount,
        Self::PhoneConsent,
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
            Self::CustomerChannelConsent => "customer_channel_consent",
            Self::CustomerPhoneCount => "customer_phone_count",
            Self::CustomerOverLimit => "customer_over_limit",
            Self::PhoneKey => "phone_key",
            Self::PhoneCcids => "phone_ccids",
            Self::PhoneCcidCount => "phone_ccid_count",
            Self::PhoneConsent => "phone_consent",
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
            Self::CustomerKey => "the key does not hold a valid client and ccid",
            Self::CustomerCreatedAt | Self::KeyCreatedAt => "created_at is not a time",
            Self::CustomerChannels => "notification_channels is not a map",
            Self::CustomerChannel => "a channel cannot be read",
            Self::CustomerChannelConsent => "a channel holds a consent, which belongs to the number",
            Self::CustomerPhoneCount => "phone_count is not the number of channels",
            Self::CustomerOverLimit => "the record has more than 50 numbers",
            Self::PhoneKey => "the key does not hold a valid client and number",
            Self::PhoneCcids => "ccids is not a set of ccids",
            Self::PhoneCcidCount => "ccid_count is not the number of ccids",
            Self::PhoneConsent => "an attribute of the consent is not a time",
            Self::PhoneOverLimit => "the number is on more than 50 customers",
            Self::ChannelNotCounted => "the record has the number, but the number's item does not name the customer",
            Self::CcidWithoutChannel => "the number's item names the customer, but the record does not show the number",
            Self::KeyKey => "the key does not hold a SHA-256 in lower-case hex",
            Self::KeyClientId => "client_id is not a client's name",
            Self::KeyLabel => "label is not text",
            Self::KeyExpiresAt => "expires_at is not a time",
            Self::KeyRevokedAt => "revoked_at is not a time",
            Self::UnknownItem => "not an item of this service",
        }
    }

    /// What `--fix` does about it, and what it leaves for a person.
    pub(crate) fn fix(self) -> &'static str {
        match self {
            Self::CustomerCreatedAt => {
                "sets it to the oldest channel's time, or to now without channels; for a person if a channel cannot be read"
            }
            Self::CustomerChannels => {
                "makes it an empty map if it is missing or empty and phone_count is 0; otherwise for a person"
            }
            Self::CustomerChannelConsent => {
                "moves it to the number's item: a stop wins, otherwise the newest; for a person if one of the two cannot be read"
            }
            Self::CustomerPhoneCount => "sets it to the number of channels; for a person if the channels are not a map",
            Self::PhoneCcids => "turns a list of ccids into a set; otherwise for a person",
            Self::PhoneCcidCount => "sets it to the number of ccids; for a person if no ccid is named",
            Self::ChannelNotCounted => {
                "adds the customer to the number's item; for a person if that is full or cannot be read"
            }
            Self::KeyLabel => "turns a number into text; otherwise for a person",
            Self::KeyCreatedAt => "sets it to now, so that lists show the key",
            Self::KeyExpiresAt => "removes it and revokes the key, which is refused already",
            Self::KeyRevokedAt => "sets it to now",
            Self::CustomerChannel
            | Self::CustomerOverLimit
            | Self::PhoneConsent
            | Self::PhoneOverLimit
            | Self::CcidWithoutChannel
            | Self::CustomerKey
            | Self::PhoneKey
            | Self::KeyKey
            | Self::UnknownItem
            | Self::KeyClientId => "for a person",
        }
    }
}
