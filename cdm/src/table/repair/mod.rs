//! What is wrong with items, and which repairs are certain. The functions are pure and total: every item gets a
//! plan.
//!
//! Every repair follows from what can be read, and removes no evidence of who has a number or of what was consented
//! to. So no plan removes a ccid from a number's item, changes a channel except to move its consent, or overwrites
//! something that it cannot read. Such findings need a person, and come with the commands that resolve them.

#[cfg(test)]
pub(crate) mod corrupt_tables;
pub(crate) mod findings;
pub(crate) mod old_consent;

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_dynamodb::types::AttributeValue;
use cdm_lambda::domain::{Ccid, ClientId, Limits, Phone};
use cdm_lambda::store::items::{self, Item};
use cdm_lambda::store::stored_consent::StoredConsent;
use cdm_lambda::time::UnixMillis;

use crate::table::change::{Change, MustHave, key_of};
use crate::table::corruption::{Kind, Subject, subject};
use crate::table::repair::findings::{Finding, Resolution, command, correct, item_command};

/// The findings of one item, and the state after its repair.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Planned {
    pub(crate) findings: Vec<Finding>,
    /// What a repair writes, together. Empty if nothing can be repaired.
    pub(crate) changes: Vec<Change>,
    /// What the repair requires of other items.
    pub(crate) must_have: Vec<MustHave>,
}

/// What a customer's record says about one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Record {
    /// The record has the number, whatever the entry says about it.
    Has,
    /// The record can be read and does not have the number.
    HasNot,
    /// Its channels cannot be read, so it may have the number.
    Unreadable,
    /// There is no record.
    Absent,
}

impl Record {
    pub(crate) fn from_item(record: Option<&Item>, phone: &Phone) -> Self {
        let Some(record) = record else { return Self::Absent };
        match record.get(items::NOTIFICATION_CHANNELS) {
            Some(AttributeValue::M(channels)) if channels.contains_key(phone.e164()) => Self::Has,
            Some(AttributeValue::M(_)) => Self::HasNot,
            _ => Self::Unreadable,
        }
    }
}

/// Plans the repair of an item that is not a number's. `numbers` are the items of the numbers whose consent a record
/// still holds: see [`old_consent::numbers`].
pub(crate) fn item(item: &Item, numbers: &[(Phone, Option<Item>)], now: UnixMillis) -> Planned {
    let mut plan = Plan::new(item);
    match subject(item) {
        Subject::Customer { client_id, ccid } => {
            customer(&mut plan, item, &client_id, &ccid, now);
            old_consent::plan(&mut plan, &client_id, numbers);
        }
        Subject::Phone { client_id, phone } => return number(&client_id, &phone, Some(item), &[]),
        Subject::Key => key(&mut plan, item, now),
        Subject::Malformed(kind) => {
            let commands = vec![item_command("show", item), item_command("delete", item)];
            plan.person(kind, "nothing reads this item: look at it, and delete it if it is not needed", commands);
        }
    }
    plan.done()
}

/// Whether a number's item is exactly what a removal leaves: no customers, a count of zero, no other attributes.
pub(crate) fn is_idle(item: &Item) -> bool {
    let known = [items::PK, items::SK, items::CCID_COUNT];
    matches!(subject(item), Subject::Phone { .. })
        && items::whole_number(item.get(items::CCID_COUNT)) == Some(0)
        && item.keys().all(|name| known.contains(&name.as_str()))
}

/// A plan under construction.
struct Plan<'a> {
    item: &'a Item,
    after: Item,
    /// The item that the next finding is about.
    key: Item,
    client_id: Option<String>,
    ccid: Option<String>,
    number: Option<String>,
    findings: Vec<Finding>,
    /// Changes of other items, which are written together with the item's own.
    beside: Vec<Change>,
}

impl<'a> Plan<'a> {
    fn new(item: &'a Item) -> Self {
        let (client_id, ccid, number) = match subject(item) {
            Subject::Customer { client_id, ccid } => {
                (Some(client_id.as_str().to_owned()), Some(ccid.as_str().to_owned()), None)
            }
            Subject::Phone { client_id, phone } => {
                (Some(client_id.as_str().to_owned()), None, Some(phone.e164().to_owned()))
            }
            Subject::Key | Subject::Malformed(_) => (None, None, None),
        };
        Self {
            item,
            after: item.clone(),
            key: key_of(item),
            client_id,
            ccid,
            number,
            findings: Vec::new(),
            beside: Vec::new(),
        }
    }

    fn finding(&self, kind: Kind, resolution: Resolution) -> Finding {
        Finding {
            kind,
            key: self.key.clone(),
            client_id: self.client_id.clone(),
            ccid: self.ccid.clone(),
            number: self.number.clone(),
            resolution,
        }
    }

    /// Sets or removes the attribute, and adds the finding.
    fn repair(&mut self, kind: Kind, does: &str, name: &str, value: Option<AttributeValue>) {
        let finding = self.finding(kind, Resolution::Repair(does.to_owned()));
        self.findings.push(finding);
        self.set(name, value);
    }

    fn set(&mut self, name: &str, value: Option<AttributeValue>) {
        match value {
            Some(value) => self.after.insert(name.to_owned(), value),
            None => self.after.remove(name),
        };
    }

    fn person(&mut self, kind: Kind, advice: &str, commands: Vec<String>) {
        let finding = self.finding(kind, Resolution::Person { advice: advice.to_owned(), commands });
        self.findings.push(finding);
    }

    /// Adds a finding that a person must correct.
    fn correct(&mut self, kind: Kind, advice: &str) {
        self.person(kind, advice, correct(self.item));
    }

    /// The next findings concern this customer's record and this number in it.
    fn about_record(&mut self, client_id: &ClientId, ccid: &Ccid) {
        self.key = items::customer_key(client_id, ccid);
        self.ccid = Some(ccid.as_str().to_owned());
    }

    fn done(self) -> Planned {
        let change = Change::new(Some(self.item.clone()), Some(self.after));
        Planned {
            findings: self.findings,
            changes: change.into_iter().chain(self.beside).collect(),
            must_have: Vec::new(),
        }
    }
}

fn customer(plan: &mut Plan<'_>, item: &Item, client_id: &ClientId, ccid: &Ccid, now: UnixMillis) {
    let (client, ccid) = (client_id.as_str(), ccid.as_str());
    let count = items::whole_number(item.get(items::PHONE_COUNT));
    // The channels are missing or empty, in one of several forms. A count of 0 confirms that the record has no
    // numbers.
    let is_empty = match item.get(items::NOTIFICATION_CHANNELS) {
        None | Some(AttributeValue::Null(_)) => true,
        Some(AttributeValue::L(list)) => list.is_empty(),
        _ => false,
    };
    let none = Item::new();
    let channels = match item.get(items::NOTIFICATION_CHANNELS) {
        Some(AttributeValue::M(channels)) => Some(channels),
        _ if is_empty && count == Some(0) => {
            let empty = Some(AttributeValue::M(Item::new()));
            plan.repair(
                Kind::CustomerChannels,
                "notification_channels made an empty map",
                items::NOTIFICATION_CHANNELS,
                empty,
            );
            Some(&none)
        }
        _ => {
            let mut commands = correct(item);
            commands.push(command(&["customer", "delete", "--client", client, "--ccid", ccid]));
            plan.person(
                Kind::CustomerChannels,
                "the record's numbers cannot be read. Each number that still names the customer is a finding of its own. \
                 Correct the record, or delete the customer",
                commands,
            );
            None
        }
    };
    let Some(channels) = channels else {
        if count.is_none() {
            plan.correct(Kind::CustomerPhoneCount, "held back until the record's channels are correct");
        }
        if items::unix_millis(item.get(items::CREATED_AT)).is_none() {
            plan.correct(Kind::CustomerCreatedAt, "held back until the record's channels are correct");
        }
        return;
    };
    if count != u64::try_from(channels.len()).ok() {
        let does = format!("phone_count set to {}, the number of channels", channels.len());
        plan.repair(
            Kind::CustomerPhoneCount,
            &does,
            items::PHONE_COUNT,
            Some(AttributeValue::N(channels.len().to_string())),
        );
    }
    let sorted: BTreeMap<_, _> = channels.iter().collect();
    if channels.len() > Limits::CONTRACT.phones_per_customer as usize {
        let first = sorted.keys().find_map(|e164| Phone::from_e164(e164));
        plan.person(
            Kind::CustomerOverLimit,
            "remove numbers until 50 are left. This command removes the first",
            first.map(|phone| phone_remove(client, ccid, &phone)).into_iter().collect(),
        );
    }
    let mut unreadable = sorted.into_iter().filter(|(e164, entry)| items::channel(e164, entry).is_none()).peekable();
    let are_readable = unreadable.peek().is_none();
    for (e164, _) in unreadable {
        plan.number = Some(e164.clone());
        let Some(phone) = Phone::from_e164(e164) else {
            plan.correct(Kind::CustomerChannel, "its key in the map is not a number in E.164 form: correct the record");
            continue;
        };
        let mut commands = correct(item);
        commands.extend([phone_remove(client, ccid, &phone), phone_add(client, ccid, &phone)]);
        plan.person(
            Kind::CustomerChannel,
            "correct it with the second command, or remove it and add it again. A consent in the channel, `c`, belongs to the \
             number: set it with `cdm phone consent`",
            commands,
        );
    }
    plan.number = None;
    if items::unix_millis(item.get(items::CREATED_AT)).is_none() {
        if are_readable {
            let oldest = channels.values().filter_map(|entry| items::unix_millis(entry.as_m().ok()?.get("t"))).min();
            let does = match oldest {
                Some(_) => "created_at set to the oldest channel's time",
                None => "created_at set to now",
            };
            plan.repair(
                Kind::CustomerCreatedAt,
                does,
                items::CREATED_AT,
                Some(items::from_unix_millis(oldest.unwrap_or(now))),
            );
        } else {
            plan.correct(Kind::CustomerCreatedAt, "held back until the record's channels are correct");
        }
    }
}

fn phone_remove(client: &str, ccid: &str, phone: &Phone) -> String {
    command(&["phone", "remove", "--client", client, "--ccid", ccid, phone.e164()])
}

fn phone_add(client: &str, ccid: &str, phone: &Phone) -> String {
    command(&["phone", "add", "--client", client, "--ccid", ccid, phone.e164()])
}

fn phone_who(client: &str, phone: &Phone) -> String {
    command(&["phone", "who", "--client", client, phone.e164()])
}

/// The customers that a number's item names.
enum Named {
    /// As a set, or none.
    Set(BTreeSet<String>),
    /// In another form with the same meaning.
    Other(BTreeSet<String>),
    /// In a form that cannot be turned into a set with certainty.
    Unreadable,
}

fn named(item: Option<&Item>) -> Named {
    match item.and_then(|item| item.get(items::CCIDS)) {
        None => Named::Set(BTreeSet::new()),
        Some(AttributeValue::Ss(ccids)) => Named::Set(ccids.iter().cloned().collect()),
        Some(AttributeValue::L(list)) if !list.is_empty() => {
            let ccid = |value: &AttributeValue| Some(Ccid::parse(value.as_s().ok()?).ok()?.as_str().to_owned());
            list.iter().map(ccid).collect::<Option<BTreeSet<_>>>().map_or(Named::Unreadable, Named::Other)
        }
        Some(_) => Named::Unreadable,
    }
}

/// Plans the repair of a number's item. `records` says what the records of the customers concerned show; a customer
/// that is missing there has no record with the number.
pub(crate) fn number(client_id: &ClientId, phone: &Phone, item: Option<&Item>, records: &[(Ccid, Record)]) -> Planned {
    let key = items::phone_key(client_id, phone);
    let client = client_id.as_str();
    let mut plan = Plan::new(item.unwrap_or(&key));
    let count = item.and_then(|item| items::whole_number(item.get(items::CCID_COUNT)));
    let (mut ccids, is_set) = match named(item) {
        Named::Set(ccids) => (ccids, true),
        Named::Other(ccids) => (ccids, false),
        Named::Unreadable => {
            plan.correct(
                Kind::PhoneCcids,
                "the customers that the item names cannot be read with certainty: correct the item",
            );
            if count.is_none() {
                plan.correct(Kind::PhoneCcidCount, "held back until ccids is correct");
            }
            for ccid in records.iter().filter(|(_, record)| *record == Record::Has).map(|(ccid, _)| ccid) {
                plan.about_record(client_id, ccid);
                plan.correct(Kind::ChannelNotCounted, "held back until ccids is correct");
            }
            return plan.done();
        }
    };
    let before = ccids.clone();
    if !is_set {
        let finding =
            plan.finding(Kind::PhoneCcids, Resolution::Repair("ccids made a set of the same ccids".to_owned()));
        plan.findings.push(finding);
    }
    if before.iter().any(|ccid| Ccid::parse(ccid).is_err()) {
        plan.correct(Kind::PhoneCcids, "an entry is not a ccid: correct the item");
    }
    if before.len() > Limits::CONTRACT.customers_per_phone as usize {
        let first = before.first().and_then(|ccid| Ccid::parse(ccid).ok());
        let remove = first.map(|ccid| phone_remove(client, ccid.as_str(), phone));
        plan.person(
            Kind::PhoneOverLimit,
            "remove the number from customers until 50 are left. These commands list them and remove the first",
            [phone_who(client, phone)].into_iter().chain(remove).collect(),
        );
    }

    let not_named: Vec<_> =
        records.iter().filter(|(ccid, record)| *record == Record::Has && !before.contains(ccid.as_str())).collect();
    let fits = before.len() + not_named.len() <= Limits::CONTRACT.customers_per_phone as usize;
    let mut must_have = Vec::new();
    for (ccid, _) in not_named {
        plan.about_record(client_id, ccid);
        if fits {
            let does = Resolution::Repair("the customer added to the number's item".to_owned());
            let finding = plan.finding(Kind::ChannelNotCounted, does);
            plan.findings.push(finding);
            ccids.insert(ccid.as_str().to_owned());
            must_have.push(MustHave { record: items::customer_key(client_id, ccid), e164: phone.e164().to_owned() });
        } else {
            plan.person(
                Kind::ChannelNotCounted,
                "the number would be on more than 50 customers: remove it from some. These commands list the others and \
                 remove it from this one",
                vec![phone_who(client, phone), phone_remove(client, ccid.as_str(), phone)],
            );
        }
    }
    for (ccid, record) in records.iter().filter(|(ccid, _)| before.contains(ccid.as_str())) {
        named_without_channel(&mut plan, client_id, ccid, phone, *record);
    }
    (plan.key, plan.ccid) = (key.clone(), None);

    let consent = item.map(StoredConsent::from_item);
    if consent == Some(None) {
        plan.correct(Kind::PhoneConsent, "what the number's consent is cannot be read: correct the item");
    }
    let is_counted = item.is_none() || count == u64::try_from(before.len()).ok();
    // The item of a number without customers still holds its consent.
    let can_be_deleted = consent == Some(Some(StoredConsent::default()));
    if !is_counted && ccids.is_empty() {
        plan.person(
            Kind::PhoneCcidCount,
            "ccid_count is not 0, but the item lists no customers: correct the item, or delete it if no customer has the \
             number and it holds no consent",
            correct(plan.item).into_iter().chain(can_be_deleted.then(|| item_command("delete", plan.item))).collect(),
        );
    } else if !is_counted {
        let does = format!("ccid_count set to {}, the number of ccids", ccids.len());
        let finding = plan.finding(Kind::PhoneCcidCount, Resolution::Repair(does));
        plan.findings.push(finding);
    }
    if !ccids.is_empty() {
        plan.set(items::CCID_COUNT, Some(AttributeValue::N(ccids.len().to_string())));
        if !is_set || ccids != before {
            plan.set(items::CCIDS, Some(AttributeValue::Ss(ccids.into_iter().collect())));
        }
    }
    let change = if plan.after == key { None } else { Change::new(item.cloned(), Some(plan.after)) };
    Planned { findings: plan.findings, changes: change.into_iter().collect(), must_have }
}

/// The number's item names a customer whose record does not show the number. Which of the two is right is unknown:
/// the item may be the last evidence of who has the number.
fn named_without_channel(plan: &mut Plan<'_>, client_id: &ClientId, ccid: &Ccid, phone: &Phone, record: Record) {
    let advice = match record {
        Record::Has => return,
        Record::HasNot => {
            "take the customer out of the number's item with the first command. If the customer does have the number, add \
             it again"
        }
        Record::Absent => {
            "there is no record. Take the customer out of the number's item with the first command. If the customer was \
             not deleted, make the record with `cdm customer create` and add the number again"
        }
        Record::Unreadable => "correct the customer's record, which is a finding of its own, and check again",
    };
    let (client, name) = (client_id.as_str(), ccid.as_str());
    let commands = match record {
        Record::Unreadable => Vec::new(),
        _ => vec![phone_remove(client, name, phone), phone_add(client, name, phone)],
    };
    plan.about_record(client_id, ccid);
    plan.person(Kind::CcidWithoutChannel, advice, commands);
}

fn key(plan: &mut Plan<'_>, item: &Item, now: UnixMillis) {
    let client_id = item.get(items::CLIENT_ID).and_then(|value| value.as_s().ok());
    if client_id.is_none_or(|text| ClientId::parse(text).is_err()) {
        plan.person(
            Kind::KeyClientId,
            "no request can use this API key: delete it, and issue another",
            vec![item_command("show", item), item_command("delete", item)],
        );
    }
    match item.get(items::LABEL) {
        None | Some(AttributeValue::S(_)) => {}
        Some(AttributeValue::N(number)) => {
            plan.repair(Kind::KeyLabel, "label made text", items::LABEL, Some(AttributeValue::S(number.clone())));
        }
        Some(_) => plan.correct(Kind::KeyLabel, "correct the label"),
    }
    let now = Some(items::from_unix_millis(now));
    if items::unix_millis(item.get(items::CREATED_AT)).is_none() {
        plan.repair(Kind::KeyCreatedAt, "created_at set to now", items::CREATED_AT, now.clone());
    }
    let is_bad = |name: &str| item.contains_key(name) && items::unix_millis(item.get(name)).is_none();
    if is_bad(items::REVOKED_AT) {
        plan.repair(Kind::KeyRevokedAt, "revoked_at set to now", items::REVOKED_AT, now.clone());
    }
    if is_bad(items::EXPIRES_AT) {
        plan.repair(Kind::KeyExpiresAt, "expires_at removed and the key revoked", items::EXPIRES_AT, None);
        if !plan.after.contains_key(items::REVOKED_AT) {
            plan.set(items::REVOKED_AT, now);
        }
    }
}

#[cfg(test)]
mod tests;
