use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use cdm::check::{Checked, check, findings as findings_there_are};
use cdm::output::Output;
use cdm::scan::Scan;
use cdm_lambda::auth::ApiKey;
use cdm_lambda::store::items::{self, Item};
use cdm_lambda::store::{AddPhone, Budget, RemovePhone, Tally};
use serde_json::{Value, json};

use crate::helpers::{
    CLIENT, Ran, Table, ccid, channel, client, counter, number, objects, one_line, phone, record, text,
};

/// `cdm check --output json`: what it found, and how it ended.
async fn findings(table: &Table, extra: &[&str]) -> (Vec<Value>, Ran) {
    let ran = table.cdm(&[&["check", "--output", "json"], extra].concat()).await;
    (objects(&ran.out), ran)
}

fn kinds(rows: &[Value]) -> Vec<&str> {
    let mut kinds: Vec<_> = rows.iter().map(|row| row["finding"].as_str().unwrap()).collect();
    kinds.sort_unstable();
    kinds
}

fn with(mut item: Item, name: &str, value: Option<AttributeValue>) -> Item {
    match value {
        Some(value) => item.insert(name.to_owned(), value),
        None => item.remove(name),
    };
    item
}

fn channels(record: Item, change: impl Fn(&mut Item)) -> Item {
    let mut channels = record[items::NOTIFICATION_CHANNELS].as_m().unwrap().clone();
    change(&mut channels);
    let count = number(channels.len());
    let record = with(record, items::NOTIFICATION_CHANNELS, Some(AttributeValue::M(channels)));
    with(record, items::PHONE_COUNT, Some(count))
}

fn key(name: &str, value: Option<AttributeValue>) -> Item {
    let mut item = items::api_key_key(&ApiKey::from_secret(&[7; 32]).sha256_hex());
    item.insert(items::CLIENT_ID.to_owned(), text(CLIENT));
    item.insert(items::LABEL.to_owned(), text(""));
    item.insert(items::CREATED_AT.to_owned(), number(1));
    with(item, name, value)
}

fn at(pk: &str, sk: &str) -> Item {
    HashMap::from([("pk".to_owned(), text(pk)), ("sk".to_owned(), text(sk))])
}

const ONE: &str = "6105551212";

/// A healthy customer A with one number, and then what is put in their place.
#[expect(clippy::too_many_lines, reason = "a table")]
fn damage() -> Vec<(&'static str, Vec<Item>, &'static [&'static str], bool)> {
    let bad = Some(AttributeValue::Bool(true));
    let strings = |ccids: &[&str]| Some(AttributeValue::Ss(ccids.iter().map(|ccid| (*ccid).to_owned()).collect()));
    let many: Vec<_> = (0..51).map(|n| format!("M{n}")).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    let mut over = many.iter().map(|ccid| record(ccid, &["6105553333"])).collect::<Vec<_>>();
    over.push(counter("6105553333", &many));
    let numbers: Vec<_> = (0..51).map(|n| format!("61055544{n:02}")).collect();
    let numbers: Vec<_> = numbers.iter().map(String::as_str).collect();
    let mut full = numbers.iter().map(|number| counter(number, &["FULL"])).collect::<Vec<_>>();
    full.push(record("FULL", &numbers));
    let mut crowd = many[..50].iter().map(|ccid| record(ccid, &["6105553333"])).collect::<Vec<_>>();
    crowd.push(counter("6105553333", &many[..50]));
    crowd.push(record("ONE-MORE", &["6105553333"]));
    vec![
        (
            "a count too high",
            vec![with(record("A", &[ONE]), items::PHONE_COUNT, Some(number(2)))],
            &["customer_phone_count"],
            true,
        ),
        (
            "a count too low",
            vec![with(record("A", &[ONE]), items::PHONE_COUNT, Some(number(0)))],
            &["customer_phone_count"],
            true,
        ),
        (
            "a count that is text",
            vec![with(record("A", &[ONE]), items::PHONE_COUNT, Some(text("1")))],
            &["customer_phone_count"],
            true,
        ),
        ("no count", vec![with(record("A", &[ONE]), items::PHONE_COUNT, None)], &["customer_phone_count"], true),
        (
            "no channels",
            vec![with(record("A", &[ONE]), items::NOTIFICATION_CHANNELS, None)],
            &["ccid_without_channel", "customer_channels", "customer_phone_count"],
            true,
        ),
        (
            "channels that are no map",
            vec![with(record("A", &[ONE]), items::NOTIFICATION_CHANNELS, strings(&["x"]))],
            &["ccid_without_channel", "customer_channels", "customer_phone_count"],
            true,
        ),
        (
            "a channel that cannot be read",
            vec![channels(record("A", &[ONE]), |channels| {
                let entry = HashMap::from([("t".to_owned(), number(1)), ("c".to_owned(), text("maybe"))]);
                channels.insert("+16105551212".to_owned(), AttributeValue::M(entry));
            })],
            &["customer_channel"],
            false,
        ),
        (
            "a channel under no number",
            vec![channels(record("A", &[ONE]), |channels| {
                channels.insert("6105551212".to_owned(), items::from_channel(&channel(ONE)));
            })],
            &["customer_channel"],
            false,
        ),
        (
            "no moment of creation",
            vec![with(record("A", &[ONE]), items::CREATED_AT, None)],
            &["customer_created_at"],
            true,
        ),
        ("fifty-one numbers", full, &["customer_over_limit"], false),
        ("a ccid that is none", vec![at("CLIENT#demo-clinic#CUSTOMER#a/b", "CUSTOMER")], &["customer_key"], false),
        ("a client that is none", vec![at("CLIENT#a b#CUSTOMER#x", "CUSTOMER")], &["customer_key"], false),
        (
            "a counter too high",
            vec![with(counter(ONE, &["A"]), items::CCID_COUNT, Some(number(2)))],
            &["phone_ccid_count"],
            true,
        ),
        (
            "a counter too low",
            vec![with(counter(ONE, &["A"]), items::CCID_COUNT, Some(number(0)))],
            &["phone_ccid_count"],
            true,
        ),
        ("no counter's count", vec![with(counter(ONE, &["A"]), items::CCID_COUNT, None)], &["phone_ccid_count"], true),
        (
            "no ccids",
            vec![with(counter(ONE, &["A"]), items::CCIDS, None)],
            &["channel_not_counted", "phone_ccid_count"],
            true,
        ),
        (
            "ccids that are no set",
            vec![with(counter(ONE, &["A"]), items::CCIDS, bad.clone())],
            &["channel_not_counted", "phone_ccid_count", "phone_ccids"],
            true,
        ),
        (
            "ccids that are none",
            vec![with(
                with(counter(ONE, &["A"]), items::CCIDS, strings(&["A", "a/b"])),
                items::CCID_COUNT,
                Some(number(2)),
            )],
            &["phone_ccids"],
            true,
        ),
        ("fifty-one customers", over, &["phone_over_limit"], false),
        ("a number that is none", vec![at("CLIENT#demo-clinic#PHONE#6105551212", "PHONE")], &["phone_key"], false),
        ("a customer not counted", vec![counter(ONE, &["B"]), record("B", &[ONE])], &["channel_not_counted"], true),
        ("a customer too many", vec![counter(ONE, &["A", "B"]), record("B", &[])], &["ccid_without_channel"], true),
        ("a customer that is not there", vec![counter(ONE, &["A", "NOBODY"])], &["ccid_without_channel"], true),
        ("a number without counter", vec![record("A", &[ONE, "6105557777"])], &["channel_not_counted"], true),
        ("one more than fits", crowd, &["channel_not_counted"], false),
        ("a key under no hash", vec![at("KEY#1234", "KEY")], &["key_key"], false),
        ("a key of no client", vec![key(items::CLIENT_ID, None)], &["key_client_id"], false),
        ("a key of a bad client", vec![key(items::CLIENT_ID, Some(text("a b")))], &["key_client_id"], false),
        ("a key's label", vec![key(items::LABEL, Some(number(1)))], &["key_label"], true),
        ("a key that no list shows", vec![key(items::CREATED_AT, None)], &["key_created_at"], true),
        ("a key's end", vec![key(items::EXPIRES_AT, Some(text("soon")))], &["key_expires_at"], true),
        ("a key's revocation", vec![key(items::REVOKED_AT, bad)], &["key_revoked_at"], true),
        ("something else", vec![at("CLIENT#demo-clinic#CUSTOMER#A", "NOTES")], &["unknown_item"], false),
        ("something else altogether", vec![at("x", "y")], &["unknown_item"], false),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_damage_is_found_and_mended_where_it_can_be() {
    let mut seen = BTreeSet::<&str>::new();
    for (what, planted, expected, can_be_mended) in damage() {
        let table = Table::new().await;
        table.put(record("A", &[ONE])).await;
        table.put(counter(ONE, &["A"])).await;
        assert_eq!(table.cdm(&["check"]).await.code, 0);
        for item in planted {
            table.put(item).await;
        }
        let before = sorted(table.items().await);
        let (rows, ran) = findings(&table, &[]).await;
        assert_eq!(kinds(&rows), expected, "{what}: {ran:?}");
        assert_eq!(ran.code, 1, "{what}");
        assert!(rows.iter().all(|row| row["mended"] == json!(false)), "{what}");
        assert_eq!(sorted(table.items().await), before, "{what}: a check changes nothing");
        seen.extend(expected);

        let (rows, ran) = findings(&table, &["--fix", "--yes"]).await;
        assert_eq!(kinds(&rows), expected, "{what}: {ran:?}");
        assert_eq!(ran.code, i32::from(!can_be_mended), "{what}: {ran:?}");
        assert!(rows.iter().all(|row| row["mended"] == json!(can_be_mended)), "{what}: {rows:?}");
        let (rows, ran) = findings(&table, &[]).await;
        if can_be_mended {
            assert_eq!((rows.len(), ran.code), (0, 0), "{what}: {ran:?}");
        } else {
            assert_eq!(sorted(table.items().await), before, "{what}: what cannot be mended is left alone");
        }
    }
    let all: BTreeSet<_> = findings_there_are().map(|(code, _, _)| code).collect();
    assert_eq!(seen, all, "every kind is planted");
}

fn sorted(mut items: Vec<Item>) -> Vec<Item> {
    for item in &mut items {
        if let Some(AttributeValue::Ss(ccids)) = item.get_mut(items::CCIDS) {
            ccids.sort();
        }
    }
    items.sort_by_key(|item| (item["pk"].as_s().unwrap().clone(), item["sk"].as_s().unwrap().clone()));
    items
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_mended_is_as_it_should_have_been() {
    let table = Table::new().await;
    table.put(with(with(record("A", &[ONE]), items::PHONE_COUNT, None), items::CREATED_AT, None)).await;
    table.put(with(counter(ONE, &["A", "B", "NOBODY"]), items::CCID_COUNT, Some(number(17)))).await;
    table.put(record("B", &[ONE, "6105557777"])).await;
    table.put(counter("6105558888", &[])).await;
    let (rows, ran) = findings(&table, &["--fix", "--yes"]).await;
    assert_eq!(
        kinds(&rows),
        [
            "ccid_without_channel",
            "channel_not_counted",
            "customer_created_at",
            "customer_phone_count",
            "phone_ccid_count"
        ],
        "{ran:?}"
    );
    // The record's own channel is the oldest thing that is known of it, and has the moment that it was made with.
    let expected = [
        record("A", &[ONE]),
        record("B", &[ONE, "6105557777"]),
        counter(ONE, &["A", "B"]),
        counter("6105557777", &["B"]),
    ];
    assert_eq!(sorted(table.items().await), sorted(expected.to_vec()));
    assert!(ran.err.contains("1 counter at zero (deleted); 5 findings, 5 of them mended."), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mended_key_can_be_listed_or_is_refused() {
    let table = Table::new().await;
    table.put(key(items::CREATED_AT, None)).await;
    let list = ["key", "list", "--client", CLIENT];
    assert_eq!(table.json(&list).await.len(), 0);
    table.done(&["check", "--fix", "--yes"]).await;
    assert_eq!(table.json(&list).await[0]["state"], "active");
    table.put(key(items::EXPIRES_AT, Some(text("soon")))).await;
    table.done(&["check", "--fix", "--yes"]).await;
    assert_eq!(table.json(&list).await[0]["state"], "revoked");
}

#[tokio::test(flavor = "multi_thread")]
async fn counters_at_zero_are_no_damage() {
    let table = Table::new().await;
    table.customer("A", &[ONE]).await;
    table.done(&["phone", "remove", "--client", CLIENT, "--ccid", "A", ONE, "--yes"]).await;
    let key = items::phone_key(&client(), &phone(ONE));
    assert_eq!(
        table.done(&["check"]).await,
        "1 customer, 1 phone number and 0 keys checked; 0 pairs read again; 1 counter at zero (no damage; --fix \
         deletes them); 0 findings.\n"
    );
    assert!(table.item(key.clone()).await.is_some());
    table.done(&["check", "--fix", "--yes"]).await;
    assert_eq!(table.item(key).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_data_has_one_damaged_record() {
    let table = Table::demo().await;
    for segments in ["1", "3", "100"] {
        let ran = table.cdm(&["check", "--segments", segments]).await;
        assert_eq!(ran.code, 1);
        assert_eq!(one_line(&ran.err), "1 finding: `cdm check --fix` mends what can be mended");
        let mut lines = ran.out.lines();
        assert_eq!(
            lines.next(),
            Some(
                "customer_channels     CLIENT#demo-clinic#CUSTOMER#DAMAGED-1: notification_channels is no map (--fix mends it)"
            )
        );
        assert_eq!(
            lines.next(),
            Some(
                "57 customers, 53 phone numbers and 4 keys checked; 0 pairs read again; 0 counters at zero (no damage; --fix deletes them); 1 finding."
            )
        );
        assert_eq!(lines.next(), None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mending_asks_first() {
    let table = Table::demo().await;
    for (input, code) in [("", 1), ("n\n", 1), ("y\n", 0)] {
        let ran = table.typed(&["check", "--fix"], input).await;
        assert_eq!(ran.code, code, "{ran:?}");
        assert!(ran.err.starts_with("Mend what is damaged in the table cdm-phones? [y/N]"));
    }
    let line = table.misused(&["check", "--segments", "0"]).await;
    assert!(line.contains("--segments"));
}

/// Adds and removes without end while the table is read in small pages, so that what is read is of many moments. The
/// sums then disagree, pairs are read again, and no finding comes of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_healthy_table_under_load_gives_no_finding() {
    const CUSTOMERS: [&str; 6] = ["A", "B", "C", "D", "E", "F"];
    const NUMBERS: [&str; 4] = ["6105551212", "6105551213", "6105551214", "6105551215"];
    let table = Table::new().await;
    for ccid in CUSTOMERS {
        table.put(record(ccid, &[])).await;
    }
    let stop = Arc::new(AtomicBool::new(false));
    let mut load = tokio::task::JoinSet::new();
    for (place, name) in CUSTOMERS.into_iter().enumerate() {
        let (store, stop) = (table.connection.store.clone(), Arc::clone(&stop));
        load.spawn(async move {
            let budget = || Budget::of(Duration::from_secs(10));
            let mut tally = Tally::default();
            let mut turn = place;
            while !stop.load(Relaxed) {
                let digits = NUMBERS[turn % NUMBERS.len()];
                let add = AddPhone { client_id: client(), ccid: ccid(name), channel: channel(digits) };
                store.add_phone(&add, budget(), &mut tally).await.unwrap();
                if turn % 3 == 0 {
                    tokio::task::yield_now().await;
                }
                let remove = RemovePhone { client_id: client(), ccid: ccid(name), phone: phone(digits) };
                store.remove_phone(&remove, budget(), &mut tally).await.unwrap();
                turn += 1;
            }
        });
    }
    let mut read_again = 0;
    for round in 0..200 {
        let scan = Scan { segments: 2, page: 1 };
        let checked = check(&table.connection, scan, round % 2 == 1, Output::Json).await.unwrap();
        assert_eq!(checked.findings, 0, "{checked:?}");
        read_again += checked.pairs_read_again;
        if round >= 10 && read_again > 10 {
            break;
        }
    }
    assert!(read_again > 0, "the load never met the check");
    stop.store(true, Relaxed);
    while let Some(ended) = load.join_next().await {
        ended.unwrap();
    }
    let Checked { customers, findings, .. } =
        check(&table.connection, Scan::default(), false, Output::Json).await.unwrap();
    assert_eq!((customers, findings), (6, 0));
}

/// Real damage is found and mended while the rest of the table changes, and the load never sees a wrong count.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn damage_is_mended_under_load() {
    let table = Table::new().await;
    table.put(record("A", &[])).await;
    table.put(record("B", &[])).await;
    table.put(counter(ONE, &["NOBODY"])).await;
    let stop = Arc::new(AtomicBool::new(false));
    let (store, until) = (table.connection.store.clone(), Arc::clone(&stop));
    let load = tokio::spawn(async move {
        let budget = || Budget::of(Duration::from_secs(10));
        let mut tally = Tally::default();
        while !until.load(Relaxed) {
            for name in ["A", "B"] {
                let add = AddPhone { client_id: client(), ccid: ccid(name), channel: channel(ONE) };
                store.add_phone(&add, budget(), &mut tally).await.unwrap();
            }
            for name in ["A", "B"] {
                let remove = RemovePhone { client_id: client(), ccid: ccid(name), phone: phone(ONE) };
                store.remove_phone(&remove, budget(), &mut tally).await.unwrap();
            }
        }
    });
    for _ in 0..100 {
        let checked = check(&table.connection, Scan::default(), true, Output::Json).await.unwrap();
        if checked.mended == 1 && checked.findings == 1 {
            break;
        }
    }
    stop.store(true, Relaxed);
    load.await.unwrap();
    let (rows, ran) = findings(&table, &[]).await;
    assert_eq!((rows.len(), ran.code), (0, 0), "{ran:?}");
    let left = table.item(items::phone_key(&client(), &phone(ONE))).await;
    assert!(left.is_none_or(|counter| !counter.contains_key(items::CCIDS)));
}

/// Ten pages and more a segment.
#[tokio::test(flavor = "multi_thread")]
async fn every_page_is_read() {
    let table = Table::new().await;
    let names: Vec<_> = (0..300).map(|n| format!("C{n}")).collect();
    for name in &names {
        table.put(record(name, &[])).await;
    }
    let checked = check(&table.connection, Scan { segments: 3, page: 7 }, false, Output::Json).await.unwrap();
    assert_eq!(checked, Checked { customers: 300, ..Checked::default() });
}
