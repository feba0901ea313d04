//! The repair of a number's item: its customers and its count.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::types::AttributeValue;
use cdm_lambda::domain::{Ccid, ClientId, Limits, Phone};
use cdm_lambda::store::items::{self, Item};
use cdm_lambda::store::stored_consent::StoredConsent;

use super::findings::{Resolution, correct, item_command, phone_add, phone_remove, phone_who};
use super::plan::Plan;
use super::{Planned, Record};
use crate::table::change::{Change, MustHave};
use crate::table::corruption::Kind;

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

/// Plans the repair of a number's item. `records` says what the records of the suspect customers show. A customer that is not
/// in it counts as consistent.
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
