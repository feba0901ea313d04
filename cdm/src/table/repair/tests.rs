//! Whatever is corrupt, a repair loses no number, no consent and no customer that can be read from either side.

use std::collections::BTreeMap;

use cdm_lambda::domain::{Ccid, ClientId, Limits};
use cdm_lambda::store::stored_consent;
use proptest::prelude::*;

use super::*;
use crate::table::change::{self, Change};
use crate::table::dynamo_json::same;
use crate::table::item_parts;
use crate::table::repair::corrupt_tables::{Table, assert_nothing_lost, corrupt, corruption, healthy};
use crate::table::repair::findings::Resolution;

/// All plans for a table, as `cdm check` makes them: each item by itself, and each number with the customers that
/// are on one side only.
fn plans(table: &Table, now: UnixMillis) -> Vec<Planned> {
    let mut numbers: BTreeMap<_, Vec<(ClientId, Ccid, Phone)>> = BTreeMap::new();
    let mut plans = Vec::new();
    for item in table.values() {
        match subject(item) {
            Subject::Customer { client_id, ccid } => {
                for phone in item_parts::channels(item).filter_map(Phone::from_e164) {
                    let of_number = change::key_text(&items::phone_key(&client_id, &phone));
                    numbers.entry(of_number).or_default().push((client_id.clone(), ccid.clone(), phone));
                }
                let numbers: Vec<_> = old_consent::numbers(item)
                    .into_iter()
                    .map(|phone| {
                        let number = table.get(&change::key_text(&items::phone_key(&client_id, &phone))).cloned();
                        (phone, number)
                    })
                    .collect();
                plans.push(super::item(item, &numbers, now));
            }
            Subject::Phone { client_id, phone } => {
                let of_number = numbers.entry(change::key_text(item)).or_default();
                for ccid in item_parts::ccids(item).iter().filter_map(|ccid| Ccid::parse(ccid).ok()) {
                    of_number.push((client_id.clone(), ccid, phone.clone()));
                }
                if of_number.is_empty() {
                    plans.push(super::item(item, &[], now));
                }
            }
            _ => plans.push(super::item(item, &[], now)),
        }
    }
    for (of_number, customers) in numbers {
        let Some((client_id, _, phone)) = customers.first() else { continue };
        let mut records: Vec<(Ccid, Record)> = Vec::new();
        for (client_id, ccid, phone) in &customers {
            if !records.iter().any(|(known, _)| known == ccid) {
                let record = table.get(&change::key_text(&items::customer_key(client_id, ccid)));
                records.push((ccid.clone(), Record::from_item(record, phone)));
            }
        }
        plans.push(number(client_id, phone, table.get(&of_number), &records));
    }
    plans
}

/// Writes a plan, unless an item has changed since it was planned: the command then plans again.
fn apply(table: &mut Table, changes: &[Change]) {
    if changes.iter().all(|change| same(table.get(&change::key_text(&change.key())), change.before.as_ref())) {
        for change in changes {
            match &change.after {
                Some(after) => table.insert(change::key_text(&change.key()), after.clone()),
                None => table.remove(&change::key_text(&change.key())),
            };
        }
    }
}

fn now() -> UnixMillis {
    UnixMillis::new(1_800_000_000_000).unwrap()
}

proptest! {
    #[test]
    fn repairing_loses_nothing(table in healthy(), corruptions in prop::collection::vec(corruption(), 1..5)) {
        prop_assert!(plans(&table, now()).iter().all(|plan| plan.findings.is_empty() && plan.changes.is_empty()));
        let mut corrupted = table;
        for corruption in &corruptions {
            corrupt(&mut corrupted, corruption);
        }
        let mut repaired = corrupted.clone();
        let plans_made = plans(&corrupted, now());
        for plan in &plans_made {
            // The requirements of a plan are met.
            for MustHave { record, e164 } in &plan.must_have {
                let record = corrupted.get(&change::key_text(record)).and_then(|record| record.get(items::NOTIFICATION_CHANNELS));
                prop_assert!(record.is_some_and(|channels| channels.as_m().unwrap().contains_key(e164)));
            }
            let is_repairable = plan.findings.iter().any(Finding::is_repairable);
            prop_assert_eq!(is_repairable, !plan.changes.is_empty(), "{:?}", plan);
            prop_assert!(plan.changes.iter().all(|change| change.after.is_some()), "a repair deletes nothing");
            apply(&mut repaired, &plan.changes);
        }
        assert_nothing_lost(&corrupted, &repaired, "repair");
        for (key, item) in &repaired {
            let named = item_parts::ccids(item).len();
            let was = match corrupted.get(key).and_then(|item| item.get(items::CCIDS)) {
                Some(AttributeValue::L(list)) => list.len(),
                Some(AttributeValue::Ss(ccids)) => ccids.len(),
                _ => 0,
            };
            prop_assert!(named <= was.max(Limits::CONTRACT.customers_per_phone as usize));
        }

        // The remaining findings need a person and say what to do. A list that became a set may show more
        // customers.
        let mut again = repaired.clone();
        // Each round moves the consent of one record at least; five records can hold one for the same number.
        for _ in 0..8 {
            for plan in plans(&again.clone(), now()) {
                apply(&mut again, &plan.changes);
            }
        }
        assert_nothing_lost(&corrupted, &again, "repair again");
        for finding in plans(&again, now()).into_iter().flat_map(|plan| plan.findings) {
            let Resolution::Person { advice, .. } = &finding.resolution else {
                return Err(TestCaseError::fail(format!("a repair that does not hold: {finding:?}")));
            };
            prop_assert!(!advice.is_empty());
        }
    }

    /// Arbitrary attributes under the keys of a record, a number and an API key.
    #[test]
    fn any_item_has_a_plan(attributes in any_item(), kind in 0..3_usize) {
        let (pk, sk) = [
            ("CLIENT#demo-clinic#CUSTOMER#A", "CUSTOMER"),
            ("CLIENT#demo-clinic#PHONE#+16105550001", "PHONE"),
            ("KEY#aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "KEY"),
        ][kind];
        let mut item = attributes;
        item.insert("pk".to_owned(), AttributeValue::S(pk.to_owned()));
        item.insert("sk".to_owned(), AttributeValue::S(sk.to_owned()));
        let mut table = Table::from([(change::key_text(&item), item)]);
        let before = table.clone();
        for plan in plans(&before, now()) {
            apply(&mut table, &plan.changes);
        }
        assert_nothing_lost(&before, &table, "any item");
    }
}

fn any_item() -> impl Strategy<Value = Item> {
    let name = prop::sample::select(vec![
        items::NOTIFICATION_CHANNELS,
        items::PHONE_COUNT,
        items::CREATED_AT,
        items::CCIDS,
        items::CCID_COUNT,
        items::CLIENT_ID,
        items::LABEL,
        items::EXPIRES_AT,
        items::REVOKED_AT,
        "consent",
        stored_consent::STOP_AT,
        stored_consent::WRITTEN_AT,
    ]);
    prop::collection::hash_map(name.prop_map(str::to_owned), crate::table::dynamo_json::tests::value(), 0..6)
}

#[test]
fn a_number_without_customers_is_idle_only_if_it_says_nothing_else() {
    let idle = crate::table::dynamo_json::to_item(&serde_json::json!({
        "pk": { "S": "CLIENT#demo-clinic#PHONE#+16105550001" }, "sk": { "S": "PHONE" }, "ccid_count": { "N": "0" }
    }))
    .unwrap();
    assert!(is_idle(&idle));
    for (name, value) in [
        ("consent", AttributeValue::S("stop".to_owned())),
        (stored_consent::STOP_AT, AttributeValue::N("1732003200000".to_owned())),
        (items::CCIDS, AttributeValue::L(Vec::new())),
        (items::CCID_COUNT, AttributeValue::N("1".to_owned())),
        ("sk", AttributeValue::S("CUSTOMER".to_owned())),
    ] {
        let mut item = idle.clone();
        item.insert(name.to_owned(), value);
        assert!(!is_idle(&item), "{name}");
    }
}
