//! The expected state of one table, and whether an item matches it.

use std::collections::BTreeMap;

use super::keys::KeyHistory;
use super::model::{self, Number, Record, Versions};
use crate::plan::Consent;
use crate::plan::names::{customer_index, phone_index};
use crate::service::message::ItemKey;
use crate::service::value::{Item, Value};

/// What the contract says of one table.
#[derive(Debug, Clone, Default)]
pub struct TableModel {
    pub(super) records: BTreeMap<(u16, u16), Versions<Record>>,
    pub(super) numbers: BTreeMap<(u16, u16), Versions<Number>>,
    /// The API keys.
    pub keys: KeyHistory,
    /// The partition keys of items that are corrupt, and in which event they became so.
    pub(super) corrupt: BTreeMap<String, u64>,
    /// How often an item became corrupt.
    pub(super) corruptions: u64,
}

impl TableModel {
    /// A customer who has these numbers at the start.
    pub fn customer(&mut self, client: u16, customer: u16, phones: &[u16]) {
        let record = phones.iter().map(|phone| (*phone, None)).collect();
        self.records.insert((client, customer), Versions::new(Some(record)));
        for phone in phones {
            let counter = self.numbers.entry((client, *phone)).or_insert_with(|| Versions::new(Number::default()));
            let mut number = counter.last().clone();
            number.customers.insert(customer);
            *counter = Versions::new(number);
        }
    }

    /// Whether an item of this client is as the contract has it.
    pub(super) fn agrees(&self, client: u16, key: &ItemKey, item: Option<&Item>, limits: (u32, u32)) -> bool {
        let last = key.pk.rsplit('#').next().unwrap_or_default();
        if key.sk == "CUSTOMER" {
            let record = customer_index(last).and_then(|customer| self.records.get(&(client, customer)));
            agrees_with_record(item, record.and_then(|record| record.last().as_ref()), limits.0)
        } else {
            let number = phone_index(last).and_then(|phone| self.numbers.get(&(client, phone)));
            number.is_some_and(|number| agrees_with_number(item, number.last(), limits.1))
        }
    }

    /// An item becomes corrupt, in the event `seq`.
    pub fn corrupted(&mut self, pk: String, seq: u64) {
        self.corrupt.insert(pk, seq);
        self.corruptions += 1;
    }

    /// The table as it is now, without its past.
    pub(super) fn snapshot(&self) -> Self {
        let records = self.records.iter().map(|(key, record)| (*key, Versions::new(record.last().clone()))).collect();
        let numbers = self.numbers.iter().map(|(key, counter)| (*key, Versions::new(counter.last().clone()))).collect();
        Self { records, numbers, keys: self.keys.clone(), corrupt: self.corrupt.clone(), corruptions: self.corruptions }
    }
}

fn agrees_with_record(
    item: Option<&Item>,
    phones: Option<&BTreeMap<u16, model::StoredFingerprint>>,
    limit: u32,
) -> bool {
    let (Some(item), Some(phones)) = (item, phones) else { return item.is_none() && phones.is_none() };
    let count = item.get("phone_count").and_then(Value::number);
    let channels = item.get("notification_channels").and_then(Value::map);
    count.is_some_and(|count| count <= i64::from(limit) && usize::try_from(count) == Ok(phones.len()))
        && channels.is_some_and(|channels| {
            channels.len() == phones.len()
                && channels.keys().zip(phones.keys()).all(|(e164, phone)| phone_index(e164) == Some(*phone))
        })
}

fn agrees_with_number(item: Option<&Item>, number: &Number, limit: u32) -> bool {
    let Some(item) = item else { return *number == Number::default() };
    let count = item.get("ccid_count").and_then(Value::number);
    let empty = std::collections::BTreeSet::new();
    let ccids = item.get("ccids").and_then(Value::strings).unwrap_or(&empty);
    let times = [
        ("stop_at", number.stopped.is_some()),
        ("written_at", number.stated == Some(Consent::Written)),
        ("express_at", number.stated == Some(Consent::Express)),
        ("first_at", number.consent().is_some()),
    ];
    let customers = &number.customers;
    count.is_some_and(|count| count <= i64::from(limit) && usize::try_from(count) == Ok(customers.len()))
        && ccids.len() == customers.len()
        && ccids.iter().all(|ccid| customer_index(ccid).is_some_and(|customer| customers.contains(&customer)))
        && times.into_iter().all(|(name, is_there)| item.contains_key(name) == is_there)
}
