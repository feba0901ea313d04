//! The names in a run: clients, customers, numbers, and API keys.

use cdm_lambda::auth;

use crate::plan::draw::{Draw, Purpose};
use crate::plan::{ApiKey, Consent};

/// How many clients there are.
pub const CLIENTS: u16 = 2;
/// How many customers of each client take part. One more is asked for that does not exist at the start.
pub const CUSTOMERS: u16 = 3;
/// How many phone numbers take part.
pub const PHONES: u16 = 4;
/// The only client whose requests state consents. Numbers of the other client have no consent, so a check deletes them once
/// they have no customers.
pub const STATES_CONSENTS: u16 = 0;
/// The index of a key that is used all the time, also long after it was revoked.
pub const USED_AFTER_REVOCATION: u16 = 2;
/// How many API keys each client can have. Half of them exist at the start.
pub const KEYS_PER_CLIENT: u16 = 100;
/// The indexes of customers and numbers that fill records and counters up to two below the contract's limit.
pub const FILLERS: std::ops::Range<u16> = 100..148;

/// What every private value of a request contains, and no log line may contain.
pub const PRIVATE: [&str; 5] = ["relay_", "BAK-", "2025550", "SRC-", "IDEM-"];

/// The client's name.
pub fn client(index: u16) -> String {
    format!("clinic-{index}")
}

/// The customer's id.
pub fn ccid(index: u16) -> String {
    format!("BAK-{index}")
}

/// The number's ten digits.
pub fn digits(index: u16) -> String {
    format!("2025550{index:03}")
}

/// The number's E.164 form.
pub fn e164(index: u16) -> String {
    format!("+1{}", digits(index))
}

/// The index of the number with this E.164 form.
pub fn phone_index(e164: &str) -> Option<u16> {
    e164.strip_prefix("+12025550")?.parse().ok()
}

/// The index of the customer with this id.
pub fn customer_index(ccid: &str) -> Option<u16> {
    ccid.strip_prefix("BAK-")?.parse().ok()
}

/// The API key.
pub fn api_key(seed: u64, key: ApiKey) -> auth::ApiKey {
    let name = match key {
        ApiKey::Of { client, index } => [u64::from(client), u64::from(index)],
        ApiKey::Unknown => [u64::MAX, 0],
    };
    let mut draw = Draw::new(seed, Purpose::ApiKey, &name);
    let mut secret = [0; 32];
    for part in secret.chunks_exact_mut(8) {
        part.copy_from_slice(&draw.bits().to_be_bytes());
    }
    auth::ApiKey::from_secret(&secret)
}

/// The name of the table with this index. The first deployment uses the table with index 0.
pub fn table(index: usize) -> String {
    format!("table-{index}")
}

/// The partition key of a customer's record.
pub fn record_pk(client_index: u16, customer: u16) -> String {
    format!("CLIENT#{}#CUSTOMER#{}", client(client_index), ccid(customer))
}

/// The partition key of a number's counter.
pub fn counter_pk(client_index: u16, phone: u16) -> String {
    format!("CLIENT#{}#PHONE#{}", client(client_index), e164(phone))
}

/// The partition key of an API key.
pub fn key_pk(seed: u64, key: ApiKey) -> String {
    format!("KEY#{}", api_key(seed, key).sha256_hex())
}

/// The consent's word in the API.
pub fn consent_type(consent: Consent) -> &'static str {
    match consent {
        Consent::Written => "written",
        Consent::Express => "express",
        Consent::Stop => "stop",
    }
}

/// The consent with this word.
pub fn consent(word: &str) -> Option<Consent> {
    [Consent::Written, Consent::Express, Consent::Stop].into_iter().find(|consent| consent_type(*consent) == word)
}
