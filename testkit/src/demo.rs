//! The data that `cdm dev` starts with and that `events/` and the tests use. All of it is made up.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{AttributeValue, PutRequest, WriteRequest};
use cdm_lambda::auth::ApiKey;
use cdm_lambda::domain::Rule;
use cdm_lambda::domain::{Ccid, Channel, ClientId, ConsentType, CountryCode, Digits, IdempotencyKey, Phone, PhoneType};
use cdm_lambda::store::items::{self, Item};
use cdm_lambda::store::stored_consent::StoredConsent;
use cdm_lambda::time::UnixMillis;

use crate::{Error, create_table};

/// The name of the table.
pub const TABLE: &str = "cdm-phones";

/// The client that the data belongs to.
pub const CLIENT: &str = "demo-clinic";
/// Another client. It has a key, and a customer with the ccid [`CUSTOMER`].
pub const OTHER_CLIENT: &str = "other-clinic";

/// The client's valid key.
pub const KEY: &str = "relay_I9BiuGjyetEESeHsPDLpNQ13Y3f7TwMWXRwM_EOMXEIXWNp2A";
/// The other client's valid key.
pub const OTHER_KEY: &str = "relay_wqxFMstRsjDmEzhP0KVLV4CIZuDruVTLuGvj304_gtsMDlIuw";
/// An expired key of the client.
pub const EXPIRED_KEY: &str = "relay_7HXx1rBmqKO71qR9-92tLYlxYQ11SRjKD9UfgGCWivQQ69pNA";
/// A revoked key of the client.
pub const REVOKED_KEY: &str = "relay_WJ2nq5r_zOEMxAYsSh3Ehuu0p5QV23jWD8dZTje_LCEER0Qew";

/// A customer without numbers.
pub const CUSTOMER: &str = "BAK-11984-007";
/// A customer with [`PHONE`], added under [`IDEMPOTENCY_KEY`].
pub const CUSTOMER_WITH_PHONE: &str = "BAK-11984-008";
/// A customer with 49 numbers, 6105550001 to 6105550049.
pub const CUSTOMER_WITH_49: &str = "BAK-11984-049";
/// A customer with 50 numbers, 6105550001 to 6105550050.
pub const CUSTOMER_WITH_50: &str = "BAK-11984-050";
/// A customer whose ccid has characters that gateways encode differently.
pub const CUSTOMER_ODD: &str = "Zoë 7?.%41";
/// A customer whose record is corrupt: it has no `notification_channels`.
pub const CUSTOMER_CORRUPT: &str = "CORRUPT-1";

/// A number of one customer.
pub const PHONE: &str = "6105551208";
/// The idempotency key that [`PHONE`] was added with.
pub const IDEMPOTENCY_KEY: &str = "demo-idempotency-key";
/// A number of 49 customers, `FAM-00001` to `FAM-00049`.
pub const PHONE_ON_49: &str = "6105559949";
/// A number of 50 customers, `FAM-00001` to `FAM-00050`.
pub const PHONE_ON_50: &str = "6105559950";

/// When all of it was created: 2024-11-19T08:00:00Z.
const CREATED_AT: u64 = 1_732_003_200_000;
/// When the expired key expired and the revoked key was revoked: a day later.
const EXPIRED_AT: u64 = CREATED_AT + 86_400_000;

/// Creates the table, with the demo data in it.
///
/// # Errors
/// DynamoDB refused, or the table exists already.
pub async fn create(client: &Client, table: &str) -> Result<(), Error> {
    create_table(client, table).await?;
    seed(client, table).await
}

/// Writes the demo data into an empty table.
///
/// # Errors
/// DynamoDB refused.
pub async fn seed(client: &Client, table: &str) -> Result<(), Error> {
    let items = items().map_err(|Rule(rule)| Error(format!("the demo data breaks a rule: a value {rule}")))?;
    // BatchWriteItem accepts at most 25 items.
    for batch in items.chunks(25) {
        let mut requests = Vec::new();
        for item in batch {
            let put = PutRequest::builder().set_item(Some(item.clone())).build();
            let put = put.map_err(|error| Error(format!("the demo data cannot be written: {error}")))?;
            requests.push(WriteRequest::builder().put_request(put).build());
        }
        let written = client.batch_write_item().request_items(table, requests).send().await;
        // A local database never throttles, so an unprocessed item is a failure.
        if !written.is_ok_and(|output| output.unprocessed_items().is_none_or(HashMap::is_empty)) {
            return Err(Error(format!("the demo data cannot be written into the table {table}")));
        }
    }
    Ok(())
}

/// Every item of the demo data.
fn items() -> Result<Vec<Item>, Rule> {
    let mut customers = Customers::default();
    for ccid in [CUSTOMER, CUSTOMER_WITH_PHONE, CUSTOMER_WITH_49, CUSTOMER_WITH_50, CUSTOMER_ODD] {
        customers.customer(CLIENT, ccid)?;
    }
    customers.customer(OTHER_CLIENT, CUSTOMER)?;

    let mut channel = channel(PHONE)?;
    channel.phone_type = PhoneType::Mobile;
    channel.consent_type = Some(ConsentType::Written);
    channel.fingerprint = Some(channel.fingerprint_for(&IdempotencyKey::parse(IDEMPOTENCY_KEY)?));
    customers.phone(CUSTOMER_WITH_PHONE, channel)?;
    for number in 1..=50 {
        let digits = format!("61055500{number:02}");
        if number < 50 {
            customers.phone(CUSTOMER_WITH_49, self::channel(&digits)?)?;
        }
        customers.phone(CUSTOMER_WITH_50, self::channel(&digits)?)?;
        let family = format!("FAM-{number:05}");
        customers.customer(CLIENT, &family)?;
        if number < 50 {
            customers.phone(&family, self::channel(PHONE_ON_49)?)?;
        }
        customers.phone(&family, self::channel(PHONE_ON_50)?)?;
    }

    let mut items = customers.into_items()?;
    let mut corrupt = items::empty_record(&ClientId::parse(CLIENT)?, &Ccid::parse(CUSTOMER_CORRUPT)?, created_at());
    corrupt.remove(items::NOTIFICATION_CHANNELS);
    items.push(corrupt);
    for (key, client, attribute) in [
        (KEY, CLIENT, None),
        (OTHER_KEY, OTHER_CLIENT, None),
        (EXPIRED_KEY, CLIENT, Some(items::EXPIRES_AT)),
        (REVOKED_KEY, CLIENT, Some(items::REVOKED_AT)),
    ] {
        let key = ApiKey::parse(key).ok_or(Rule("must be an API key"))?;
        let mut item = items::api_key_key(&key.sha256_hex());
        item.insert(items::CLIENT_ID.to_owned(), AttributeValue::S(client.to_owned()));
        item.insert(items::LABEL.to_owned(), AttributeValue::S("demo".to_owned()));
        item.insert(items::CREATED_AT.to_owned(), items::from_unix_millis(created_at()));
        if let Some(attribute) = attribute {
            item.insert(attribute.to_owned(), AttributeValue::N(EXPIRED_AT.to_string()));
        }
        items.push(item);
    }
    Ok(items)
}

/// A number: its consent, and the customers that have it.
struct Number {
    phone: Phone,
    consent: Option<ConsentType>,
    ccids: BTreeSet<String>,
}

/// Customers and their numbers. Records and counters are derived from them.
#[derive(Default)]
struct Customers {
    records: BTreeMap<(&'static str, String), Vec<Channel>>,
}

impl Customers {
    fn customer(&mut self, client: &'static str, ccid: &str) -> Result<(), Rule> {
        Ccid::parse(ccid)?;
        self.records.insert((client, ccid.to_owned()), Vec::new());
        Ok(())
    }

    fn phone(&mut self, ccid: &str, channel: Channel) -> Result<(), Rule> {
        self.records.get_mut(&(CLIENT, ccid.to_owned())).ok_or(Rule("must be a customer"))?.push(channel);
        Ok(())
    }

    fn into_items(self) -> Result<Vec<Item>, Rule> {
        let mut items = Vec::new();
        let mut counters: BTreeMap<(&str, String), Number> = BTreeMap::new();
        for ((client, ccid), channels) in self.records {
            let mut record = items::empty_record(&ClientId::parse(client)?, &Ccid::parse(&ccid)?, created_at());
            record.insert(items::PHONE_COUNT.to_owned(), AttributeValue::N(channels.len().to_string()));
            let stored = channels
                .iter()
                .map(|channel| (channel.phone.e164().to_owned(), items::from_channel(channel)))
                .collect();
            record.insert(items::NOTIFICATION_CHANNELS.to_owned(), AttributeValue::M(stored));
            items.push(record);
            for channel in channels {
                let key = (client, channel.phone.e164().to_owned());
                let new = Number { phone: channel.phone, consent: None, ccids: BTreeSet::new() };
                let number = counters.entry(key).or_insert(new);
                number.consent = number.consent.or(channel.consent_type);
                number.ccids.insert(ccid.clone());
            }
        }
        for ((client, _), Number { phone, consent, ccids }) in counters {
            let mut counter = items::phone_key(&ClientId::parse(client)?, &phone);
            counter.insert(items::CCID_COUNT.to_owned(), AttributeValue::N(ccids.len().to_string()));
            counter.insert(items::CCIDS.to_owned(), AttributeValue::Ss(ccids.into_iter().collect()));
            if let Some(consent) = consent {
                StoredConsent::new(consent, created_at()).write_to(&mut counter);
            }
            items.push(counter);
        }
        Ok(items)
    }
}

fn created_at() -> UnixMillis {
    // CREATED_AT is in range, so the fallback is never used.
    UnixMillis::new(CREATED_AT).unwrap_or_else(UnixMillis::now)
}

fn channel(digits: &str) -> Result<Channel, Rule> {
    Ok(Channel::new(Phone::new(Digits::parse(digits)?, CountryCode::default())?, created_at()))
}
