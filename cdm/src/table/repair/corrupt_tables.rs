//! For tests: a small consistent table, the ways in which it can become corrupt, and the evidence in it of numbers
//! and consents.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_dynamodb::types::AttributeValue;
use cdm_lambda::domain::{Ccid, Channel, ClientId, ConsentType, Phone, PhoneType};
use cdm_lambda::store::items::{self, Item};
use cdm_lambda::store::stored_consent::{self, StoredConsent};
use cdm_lambda::time::UnixMillis;
use proptest::prelude::*;

use crate::table::change::key_text;
use crate::table::dynamo_json::{from_item, same};
use crate::table::item_parts;

/// A table's items, by partition and sort key.
pub(crate) type Table = BTreeMap<(String, String), Item>;

/// The number of ways. Each is one arm of [`corrupt`].
pub(crate) const KINDS: usize = 48;

const CLIENT: &str = "demo-clinic";
const NUMBERS: [&str; 4] = ["+16105550001", "+16105550002", "+33612345678", "+353861234567"];
const CCIDS: [&str; 5] = ["A", "B#PHONE#", "Zoë", "D 4", "-e"];

/// One corruption: its kind, the customer and the number, and the value.
#[derive(Debug, Clone)]
pub(crate) struct Corruption {
    pub(crate) kind: usize,
    customer: usize,
    number: usize,
    value: AttributeValue,
}

pub(crate) fn corruption() -> impl Strategy<Value = Corruption> {
    (0..KINDS, 0..CCIDS.len(), 0..NUMBERS.len(), crate::table::dynamo_json::tests::value())
        .prop_map(|(kind, customer, number, value)| Corruption { kind, customer, number, value })
}

/// A corruption of this kind, of an item that every table has.
pub(crate) fn of_kind(kind: usize) -> Corruption {
    Corruption { kind, customer: 0, number: 0, value: text("anything") }
}

/// Consistent tables: which customer has which number, with which consent. The first customer always has the first
/// number.
pub(crate) fn healthy() -> impl Strategy<Value = Table> {
    prop::collection::vec(0..8_u8, CCIDS.len() * NUMBERS.len()).prop_map(|has| table(&has))
}

pub(crate) fn table(has: &[u8]) -> Table {
    let mut table = Table::new();
    let client = ClientId::parse(CLIENT).unwrap();
    let time = |millis| UnixMillis::new(1_732_003_200_000 + millis).unwrap();
    for (index, name) in CCIDS.iter().enumerate() {
        let ccid = Ccid::parse(name).unwrap();
        let mut channels = Item::new();
        for (nth, e164) in NUMBERS.iter().enumerate() {
            let is_first = index == 0 && nth == 0;
            let consent_type = match has.get(index * NUMBERS.len() + nth) {
                Some(0..=4) if !is_first => continue,
                Some(5) => Some(ConsentType::Written),
                Some(6) => None,
                _ => Some(ConsentType::Stop),
            };
            let phone: Phone = Phone::from_e164(e164).unwrap();
            let number = entry(&mut table, items::phone_key(&client, &phone));
            let mut ccids = item_parts::ccids(number);
            ccids.insert((*name).to_owned());
            number.insert(items::CCID_COUNT.to_owned(), count(ccids.len()));
            number.insert(items::CCIDS.to_owned(), AttributeValue::Ss(ccids.into_iter().collect()));
            if let Some(consent_type) = consent_type
                && !number.contains_key(stored_consent::FIRST_AT)
            {
                StoredConsent::new(consent_type, time(nth as u64)).write_to(number);
            }
            let channel = Channel { phone_type: PhoneType::Mobile, ..Channel::new(phone, time(nth as u64)) };
            channels.insert((*e164).to_owned(), items::from_channel(&channel));
        }
        let record = entry(&mut table, items::empty_record(&client, &ccid, time(0)));
        record.insert(items::PHONE_COUNT.to_owned(), count(channels.len()));
        record.insert(items::NOTIFICATION_CHANNELS.to_owned(), AttributeValue::M(channels));
    }
    table
}

fn entry(table: &mut Table, item: Item) -> &mut Item {
    table.entry(key_text(&item)).or_insert(item)
}

fn text(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}

fn count(count: usize) -> AttributeValue {
    AttributeValue::N(count.to_string())
}

fn list(texts: impl IntoIterator<Item = String>) -> AttributeValue {
    AttributeValue::L(texts.into_iter().map(AttributeValue::S).collect())
}

/// Corrupts the table in one way. What an earlier corruption removed stays removed.
#[expect(clippy::too_many_lines, reason = "a table")]
pub(crate) fn corrupt(table: &mut Table, corruption: &Corruption) {
    let Corruption { kind, customer, number, value } = corruption;
    let (ccid, e164) = (CCIDS[*customer], NUMBERS[*number]);
    let record_key = (format!("CLIENT#{CLIENT}#CUSTOMER#{ccid}"), "CUSTOMER".to_owned());
    let number_key = (format!("CLIENT#{CLIENT}#PHONE#{e164}"), "PHONE".to_owned());
    let mut moved = |from: &(String, String), pk: &str, sk: &str| {
        if let Some(mut item) = table.remove(from) {
            item.extend([("pk".to_owned(), text(pk)), ("sk".to_owned(), text(sk))]);
            table.insert(key_text(&item), item);
        }
    };
    match kind {
        0 => return drop(table.remove(&record_key)),
        1 => return drop(table.remove(&number_key)),
        2 => return moved(&record_key, &format!("CLIENT#{CLIENT}#CUSTOMER#{ccid}/"), "CUSTOMER"),
        3 => return moved(&record_key, &record_key.0, "NOTES"),
        4 => return moved(&record_key, &format!("CLIENT#not a client#CUSTOMER#{ccid}"), "CUSTOMER"),
        5 => return moved(&number_key, &format!("CLIENT#{CLIENT}#PHONE#{}", &e164[1..]), "PHONE"),
        6 => return moved(&number_key, &number_key.0, "CUSTOMER"),
        _ => {}
    }
    if (7..32).contains(kind) {
        let Some(record) = table.get_mut(&record_key) else { return };
        let mut channels = match record.get(items::NOTIFICATION_CHANNELS) {
            Some(AttributeValue::M(channels)) => channels.clone(),
            _ => Item::new(),
        };
        let keys: Vec<_> = channels.keys().cloned().collect();
        let first = keys.iter().min().cloned().unwrap_or_else(|| e164.to_owned());
        let set_entry = |channels: &mut Item, name: &str, value: AttributeValue| {
            if let Some(AttributeValue::M(entry)) = channels.get_mut(&first) {
                entry.insert(name.to_owned(), value);
            }
        };
        let (name, value) = match kind {
            7 => (items::NOTIFICATION_CHANNELS, Some(AttributeValue::L(channels.values().cloned().collect()))),
            8 => (items::NOTIFICATION_CHANNELS, Some(list(keys))),
            9 if !keys.is_empty() => (items::NOTIFICATION_CHANNELS, Some(AttributeValue::Ss(keys))),
            10 => (items::NOTIFICATION_CHANNELS, Some(text(&from_item(&channels).to_string()))),
            11 => (items::NOTIFICATION_CHANNELS, Some(AttributeValue::Null(true))),
            12 => (items::NOTIFICATION_CHANNELS, Some(AttributeValue::Bool(false))),
            13 => (items::NOTIFICATION_CHANNELS, None),
            14 => (items::NOTIFICATION_CHANNELS, Some(AttributeValue::M(Item::new()))),
            15 => (items::NOTIFICATION_CHANNELS, Some(AttributeValue::L(Vec::new()))),
            16..=24 => {
                match kind {
                    16 => drop(channels.remove(&first)),
                    17 => {
                        let entry = Item::from([("t".to_owned(), count(1)), ("c".to_owned(), text("stop"))]);
                        channels.insert(e164.to_owned(), AttributeValue::M(entry));
                    }
                    18 => {
                        let entry = channels.remove(&first);
                        channels.extend(entry.map(|entry| (first.trim_start_matches('+').to_owned(), entry)));
                    }
                    19 => drop(channels.insert(first.clone(), text("stop"))),
                    20 => set_entry(&mut channels, "c", text("Stop")),
                    21 => set_entry(&mut channels, "c", count(1)),
                    22 => set_entry(&mut channels, "t", text("yesterday")),
                    23 => set_entry(&mut channels, "n", count(999)),
                    _ => channels.extend((0..51).map(|n| {
                        let entry = Item::from([("t".to_owned(), count(1)), ("c".to_owned(), text("stop"))]);
                        (format!("+1610555{:04}", 1000 + n), AttributeValue::M(entry))
                    })),
                }
                (items::NOTIFICATION_CHANNELS, Some(AttributeValue::M(channels)))
            }
            25 => (items::PHONE_COUNT, None),
            26 => (items::PHONE_COUNT, Some(text("1"))),
            27 => (items::PHONE_COUNT, Some(count(0))),
            28 => (items::PHONE_COUNT, Some(AttributeValue::N("-1".to_owned()))),
            29 => (items::CREATED_AT, None),
            // The index on API keys accepts only numbers for this attribute.
            30 => (items::CREATED_AT, Some(AttributeValue::N("-5".to_owned()))),
            _ => (items::NOTIFICATION_CHANNELS, Some(value.clone())),
        };
        match value {
            Some(value) => record.insert(name.to_owned(), value),
            None => record.remove(name),
        };
        return;
    }
    let key = Item::from([("pk".to_owned(), text(&number_key.0)), ("sk".to_owned(), text("PHONE"))]);
    let number = table.entry(number_key).or_insert(key);
    let mut ccids = item_parts::ccids(number);
    let (name, value) = match kind {
        32 => (items::CCIDS, Some(list(ccids))),
        33 => (items::CCIDS, Some(AttributeValue::L(vec![text("A"), count(7), text("a/b")]))),
        34 => (items::CCIDS, Some(text(ccid))),
        35 => (items::CCIDS, Some(AttributeValue::Null(true))),
        36 => (items::CCIDS, Some(AttributeValue::Ns(vec!["7".to_owned()]))),
        37 => (items::CCIDS, None),
        38 => {
            number.insert(items::CCID_COUNT.to_owned(), count(0));
            (items::CCIDS, None)
        }
        39 => {
            let first = ccids.first().cloned().unwrap_or_default();
            ccids.remove(&first);
            (items::CCIDS, (!ccids.is_empty()).then(|| AttributeValue::Ss(ccids.into_iter().collect())))
        }
        40..=42 => {
            match kind {
                40 => drop(ccids.insert("GONE".to_owned())),
                41 => drop(ccids.insert("a/b".to_owned())),
                _ => ccids.extend((0..51).map(|n| format!("M{n}"))),
            }
            (items::CCIDS, Some(AttributeValue::Ss(ccids.into_iter().collect())))
        }
        43 => (items::CCID_COUNT, None),
        44 => (items::CCID_COUNT, Some(text("1"))),
        45 => (items::CCID_COUNT, Some(count(3))),
        // Only a consent, in a form that this program does not know.
        46 => {
            number.retain(|name, _| ["pk", "sk"].contains(&name.as_str()));
            number.insert(items::CCID_COUNT.to_owned(), count(0));
            ("consent", Some(text("stop")))
        }
        _ => (items::CCIDS, Some(value.clone())),
    };
    match value {
        Some(value) => number.insert(name.to_owned(), value),
        None => number.remove(name),
    };
}

/// The evidence of numbers, customers and consents in the items, read as liberally as possible: every text inside
/// something that should be channels or ccids, and every key of an item that has more attributes.
pub(crate) fn evidence(table: &Table) -> BTreeSet<(String, String)> {
    let mut evidence = BTreeSet::new();
    for ((pk, sk), item) in table {
        let key = format!("{pk} {sk}");
        for name in [items::NOTIFICATION_CHANNELS, items::CCIDS, "consent"] {
            let mut texts = Vec::new();
            if let Some(value) = item.get(name) {
                leaves(value, name, &mut texts);
            }
            evidence.extend(texts.into_iter().map(|text| (key.clone(), text)));
        }
        let is_idle = sk == "PHONE" && item.len() == 3 && item.get(items::CCID_COUNT) == Some(&count(0));
        if !is_idle {
            evidence.insert((key, String::new()));
        }
    }
    evidence
}

/// The table without the consents in channels that `after` has at the number instead.
fn without_moved_consents(before: &Table, after: &Table) -> Table {
    let mut left = before.clone();
    for ((pk, sk), item) in left.iter_mut().filter(|((_, sk), _)| sk == "CUSTOMER") {
        let channels_after =
            after.get(&(pk.clone(), sk.clone())).and_then(|item| item.get(items::NOTIFICATION_CHANNELS));
        let Some(AttributeValue::M(channels)) = item.get_mut(items::NOTIFICATION_CHANNELS) else { continue };
        for (e164, entry) in channels {
            let Some((client, _)) = pk.split_once("#CUSTOMER#") else { continue };
            let AttributeValue::M(entry) = entry else { continue };
            let stays = channels_after.and_then(|channels| channels.as_m().ok()?.get(e164)?.as_m().ok()?.get("c"));
            let Some(AttributeValue::S(word)) = entry.get("c").filter(|_| stays.is_none()) else { continue };
            let number = after.get(&(format!("{client}#PHONE#{e164}"), "PHONE".to_owned()));
            let is_moved = number.is_some_and(|number| match word.as_str() {
                "stop" => number.contains_key(stored_consent::STOP_AT),
                _ => number.contains_key(stored_consent::FIRST_AT),
            });
            if is_moved {
                entry.remove("c");
            }
        }
    }
    left
}

/// Each value, with the names of the maps around it. A list and a set with the same texts are equal.
fn leaves(value: &AttributeValue, path: &str, texts: &mut Vec<String>) {
    match value {
        AttributeValue::M(map) => {
            for (name, value) in map {
                let path = format!("{path}/{name}");
                texts.push(path.clone());
                leaves(value, &path, texts);
            }
        }
        AttributeValue::L(values) => values.iter().for_each(|value| leaves(value, path, texts)),
        AttributeValue::Ns(set) => texts.extend(set.iter().map(|number| format!("{path}: {number}"))),
        AttributeValue::Bs(set) => texts.extend(set.iter().map(|blob| format!("{path}: {blob:?}"))),
        AttributeValue::Ss(set) => texts.extend(set.iter().map(|text| format!("{path}: {text:?}"))),
        AttributeValue::S(text) => texts.push(format!("{path}: {text:?}")),
        AttributeValue::Null(_) => {}
        other => texts.push(format!("{path}: {other:?}")),
    }
}

/// Asserts that nothing was lost: all evidence still exists, and every consent is still at its number or its channel.
pub(crate) fn assert_nothing_lost(before: &Table, after: &Table, what: &str) {
    for (key, item) in before.iter().filter(|((_, sk), _)| sk == "PHONE") {
        let word = |item: &Item| Some(StoredConsent::from_item(item)?.consent()?.consent_type);
        let now = after.get(key).and_then(word);
        match word(item) {
            None => {}
            Some(ConsentType::Stop) => assert_eq!(now, Some(ConsentType::Stop), "{what}: the stop of {key:?}"),
            Some(_) => assert!(now.is_some(), "{what}: the consent of {key:?}"),
        }
    }
    let before = &without_moved_consents(before, after);
    let (shown, still_shown) = (evidence(before), evidence(after));
    let lost: Vec<_> = shown.difference(&still_shown).collect();
    assert!(lost.is_empty(), "{what}: {lost:?} of {before:?} in {after:?}");
    for (key, item) in before {
        let channels = |item: Option<&Item>| {
            let value = item.and_then(|item| item.get(items::NOTIFICATION_CHANNELS)).cloned();
            value.map(|value| Item::from([(String::new(), value)]))
        };
        let mut texts = Vec::new();
        if let Some(value) = item.get(items::NOTIFICATION_CHANNELS) {
            leaves(value, "", &mut texts);
        }
        let (old, new) = (channels(Some(item)), channels(after.get(key)));
        assert!(texts.is_empty() || same(old.as_ref(), new.as_ref()), "{what}: the channels of {key:?} were changed");
    }
}
