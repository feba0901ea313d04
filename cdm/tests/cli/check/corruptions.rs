//! Every kind of corruption: what is found, repaired and undone.

use super::{ONE, at, channels, findings, key, kinds, sorted, with};
use crate::helpers::{CLIENT, Table, channel, counter, number, record, text};
use aws_sdk_dynamodb::types::AttributeValue;
use cdm::commands::check::findings as all_findings;
use cdm_lambda::store::items::{self, Item};
use cdm_lambda::store::stored_consent;
use serde_json::json;
use std::collections::{BTreeSet, HashMap};

/// A channel of [`ONE`] as earlier versions stored it, with this consent.
fn insert_old_consent(channels: &mut HashMap<String, AttributeValue>, consent: AttributeValue) {
    let entry = HashMap::from([("t".to_owned(), number(1)), ("c".to_owned(), consent)]);
    channels.insert("+16105551212".to_owned(), AttributeValue::M(entry));
}

/// The name, the planted items, and the expected findings, each with whether it is repaired.
type Corruption = (&'static str, Vec<Item>, &'static [(&'static str, bool)]);

/// Each case starts with a consistent customer A with one number, and replaces items.
#[expect(clippy::too_many_lines, reason = "a table")]
fn corruptions() -> Vec<Corruption> {
    let bad = Some(AttributeValue::Bool(true));
    let strings = |ccids: &[&str]| Some(AttributeValue::Ss(ccids.iter().map(|ccid| (*ccid).to_owned()).collect()));
    let list = |texts: &[&str]| Some(AttributeValue::L(texts.iter().map(|each| text(each)).collect()));
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
            &[("customer_phone_count", true)],
        ),
        (
            "a count too low",
            vec![with(record("A", &[ONE]), items::PHONE_COUNT, Some(number(0)))],
            &[("customer_phone_count", true)],
        ),
        (
            "a count that is text",
            vec![with(record("A", &[ONE]), items::PHONE_COUNT, Some(text("1")))],
            &[("customer_phone_count", true)],
        ),
        ("no count", vec![with(record("A", &[ONE]), items::PHONE_COUNT, None)], &[("customer_phone_count", true)]),
        (
            "no channels, and a count of 1",
            vec![with(record("A", &[ONE]), items::NOTIFICATION_CHANNELS, None)],
            &[("ccid_without_channel", false), ("customer_channels", false)],
        ),
        (
            "no channels, and a count of 0",
            vec![with(record("B", &[]), items::NOTIFICATION_CHANNELS, None)],
            &[("customer_channels", true)],
        ),
        (
            "an empty list of channels, and a count of 0",
            vec![with(record("B", &[]), items::NOTIFICATION_CHANNELS, list(&[]))],
            &[("customer_channels", true)],
        ),
        (
            "channels that are not a map",
            vec![with(record("A", &[ONE]), items::NOTIFICATION_CHANNELS, strings(&["x"]))],
            &[("ccid_without_channel", false), ("customer_channels", false)],
        ),
        (
            "channels that are not a map, and nothing else",
            vec![with(
                with(with(record("A", &[ONE]), items::NOTIFICATION_CHANNELS, bad.clone()), items::PHONE_COUNT, None),
                items::CREATED_AT,
                None,
            )],
            &[
                ("ccid_without_channel", false),
                ("customer_channels", false),
                ("customer_created_at", false),
                ("customer_phone_count", false),
            ],
        ),
        (
            "a channel that cannot be read",
            vec![channels(record("A", &[ONE]), |channels| {
                let entry = HashMap::from([("t".to_owned(), number(1)), ("p".to_owned(), text("fax"))]);
                channels.insert("+16105551212".to_owned(), AttributeValue::M(entry));
            })],
            &[("customer_channel", false)],
        ),
        (
            "a consent in a channel",
            vec![channels(record("A", &[ONE]), |channels| insert_old_consent(channels, text("stop")))],
            &[("customer_channel_consent", true)],
        ),
        (
            "a consent in a channel that cannot be read",
            vec![channels(record("A", &[ONE]), |channels| insert_old_consent(channels, text("maybe")))],
            &[("customer_channel_consent", false)],
        ),
        (
            "a consent in a channel, and one in the number's item that cannot be read",
            vec![
                channels(record("A", &[ONE]), |channels| insert_old_consent(channels, text("stop"))),
                with(counter(ONE, &["A"]), stored_consent::STOP_AT, Some(text("yesterday"))),
            ],
            &[("customer_channel_consent", false), ("phone_consent", false)],
        ),
        (
            "a number without a count that holds a consent",
            vec![with(
                with(counter("6105557777", &[]), items::CCID_COUNT, None),
                stored_consent::STOP_AT,
                Some(number(1)),
            )],
            &[("phone_ccid_count", false)],
        ),
        (
            "a channel that cannot be read, and no time",
            vec![with(
                channels(record("A", &[ONE]), |channels| {
                    channels.insert("+16105551212".to_owned(), AttributeValue::Bool(true));
                }),
                items::CREATED_AT,
                None,
            )],
            &[("customer_channel", false), ("customer_created_at", false)],
        ),
        (
            "a channel under no number",
            vec![channels(record("A", &[ONE]), |channels| {
                channels.insert("6105551212".to_owned(), items::from_channel(&channel(ONE)));
            })],
            &[("customer_channel", false)],
        ),
        (
            "no time of creation",
            vec![with(record("A", &[ONE]), items::CREATED_AT, None)],
            &[("customer_created_at", true)],
        ),
        ("fifty-one numbers", full, &[("customer_over_limit", false)]),
        ("an invalid ccid", vec![at("CLIENT#demo-clinic#CUSTOMER#a/b", "CUSTOMER")], &[("customer_key", false)]),
        ("an invalid client", vec![at("CLIENT#a b#CUSTOMER#x", "CUSTOMER")], &[("customer_key", false)]),
        (
            "a counter too high",
            vec![with(counter(ONE, &["A"]), items::CCID_COUNT, Some(number(2)))],
            &[("phone_ccid_count", true)],
        ),
        (
            "a counter too low",
            vec![with(counter(ONE, &["A"]), items::CCID_COUNT, Some(number(0)))],
            &[("phone_ccid_count", true)],
        ),
        (
            "a number's item without a count",
            vec![with(counter(ONE, &["A"]), items::CCID_COUNT, None)],
            &[("phone_ccid_count", true)],
        ),
        (
            "no ccids, and a record that has the number",
            vec![with(counter(ONE, &["A"]), items::CCIDS, None)],
            &[("channel_not_counted", true), ("phone_ccid_count", true)],
        ),
        (
            "no ccids, and no record that has the number",
            vec![with(counter("6105557777", &["B"]), items::CCIDS, None)],
            &[("phone_ccid_count", false)],
        ),
        (
            "ccids that are not a set",
            vec![with(counter(ONE, &["A"]), items::CCIDS, bad.clone())],
            &[("channel_not_counted", false), ("phone_ccids", false)],
        ),
        (
            "ccids that are not a set, and no count",
            vec![with(with(counter(ONE, &["A"]), items::CCIDS, bad.clone()), items::CCID_COUNT, None)],
            &[("channel_not_counted", false), ("phone_ccid_count", false), ("phone_ccids", false)],
        ),
        ("a list of ccids", vec![with(counter(ONE, &["A"]), items::CCIDS, list(&["A"]))], &[("phone_ccids", true)]),
        (
            "a list with an invalid ccid",
            vec![with(counter(ONE, &["A"]), items::CCIDS, list(&["A", "a/b"]))],
            &[("channel_not_counted", false), ("phone_ccids", false)],
        ),
        (
            "a set with an invalid ccid",
            vec![with(
                with(counter(ONE, &["A"]), items::CCIDS, strings(&["A", "a/b"])),
                items::CCID_COUNT,
                Some(number(2)),
            )],
            &[("phone_ccids", false)],
        ),
        ("fifty-one customers", over, &[("phone_over_limit", false)]),
        ("an invalid number", vec![at("CLIENT#demo-clinic#PHONE#6105551212", "PHONE")], &[("phone_key", false)]),
        ("a customer not counted", vec![counter(ONE, &["B"]), record("B", &[ONE])], &[("channel_not_counted", true)]),
        ("a customer too many", vec![counter(ONE, &["A", "B"]), record("B", &[])], &[("ccid_without_channel", false)]),
        ("a customer that is not there", vec![counter(ONE, &["A", "UNKNOWN"])], &[("ccid_without_channel", false)]),
        ("a number without counter", vec![record("A", &[ONE, "6105557777"])], &[("channel_not_counted", true)]),
        ("one more than fits", crowd, &[("channel_not_counted", false)]),
        ("a key under no hash", vec![at("KEY#1234", "KEY")], &[("key_key", false)]),
        ("a key of no client", vec![key(items::CLIENT_ID, None)], &[("key_client_id", false)]),
        ("a key of a bad client", vec![key(items::CLIENT_ID, Some(text("a b")))], &[("key_client_id", false)]),
        ("a key's label that is a number", vec![key(items::LABEL, Some(number(1)))], &[("key_label", true)]),
        ("a key's label that is something else", vec![key(items::LABEL, list(&["x"]))], &[("key_label", false)]),
        ("a key that no list shows", vec![key(items::CREATED_AT, None)], &[("key_created_at", true)]),
        ("a key's end", vec![key(items::EXPIRES_AT, Some(text("soon")))], &[("key_expires_at", true)]),
        ("a key's revocation", vec![key(items::REVOKED_AT, bad)], &[("key_revoked_at", true)]),
        ("something else", vec![at("CLIENT#demo-clinic#CUSTOMER#A", "NOTES")], &[("unknown_item", false)]),
        ("something else altogether", vec![at("x", "y")], &[("unknown_item", false)]),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_corruption_is_found_repaired_if_certain_and_undone() {
    let mut seen = BTreeSet::<&str>::new();
    let corruptions = corruptions();
    assert!(corruptions.len() >= 30);
    for (what, planted, expected) in corruptions {
        let table = Table::new().await;
        table.put(record("A", &[ONE])).await;
        table.put(counter(ONE, &["A"])).await;
        assert_eq!(table.cdm(&["check"]).await.code, 0);
        for item in planted {
            table.put(item).await;
        }
        let codes: Vec<_> = expected.iter().map(|(code, _)| *code).collect();
        let before = table.sorted().await;
        let (rows, ran) = findings(&table, &[]).await;
        assert_eq!(kinds(&rows), codes, "{what}: {ran:?}");
        assert_eq!(ran.code, 1, "{what}");
        for row in &rows {
            assert_eq!(row["repaired"], json!(false), "{what}");
            let is_repaired = expected.iter().find(|(code, _)| row["finding"] == *code).unwrap().1;
            assert_eq!(row["for_a_person"], json!(!is_repaired), "{what}: {row}");
            assert!(!row["pk"].as_str().unwrap().is_empty() && !row["sk"].as_str().unwrap().is_empty());
        }
        assert_eq!(table.sorted().await, before, "{what}: a check changes nothing");
        seen.extend(codes.iter().copied());

        let (rows, ran) = findings(&table, &["--fix", "--yes", "--save", "saved.jsonl"]).await;
        assert_eq!(kinds(&rows), codes, "{what}: {ran:?}");
        let left: Vec<_> = expected.iter().filter(|(_, is_repaired)| !is_repaired).collect();
        assert_eq!(ran.code, i32::from(!left.is_empty()), "{what}: {ran:?}");
        for row in &rows {
            let is_repaired = expected.iter().find(|(code, _)| row["finding"] == *code).unwrap().1;
            assert_eq!(row["repaired"], json!(is_repaired), "{what}: {row}");
        }
        let (rows, ran) = findings(&table, &[]).await;
        assert_eq!(kinds(&rows), left.iter().map(|(code, _)| *code).collect::<Vec<_>>(), "{what}: {ran:?}");

        if table.folder.path().join("saved.jsonl").exists() {
            assert_ne!(table.sorted().await, before, "{what}");
            table.done(&["undo", "saved.jsonl", "--yes"]).await;
        }
        assert_eq!(table.sorted().await, before, "{what}: what was not repaired is left alone, and the rest put back");
    }
    let all: BTreeSet<_> = all_findings().map(|(code, _, _)| code).collect();
    assert_eq!(seen, all, "every kind is planted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repair_restores_the_correct_item() {
    let table = Table::new().await;
    table.put(with(with(record("A", &[ONE]), items::PHONE_COUNT, None), items::CREATED_AT, None)).await;
    table.put(with(counter(ONE, &["A", "B", "UNKNOWN"]), items::CCID_COUNT, Some(number(17)))).await;
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
    // The record's own channel is the oldest evidence, so the record gets its creation time.
    let expected = [
        record("A", &[ONE]),
        record("B", &[ONE, "6105557777"]),
        counter(ONE, &["A", "B", "UNKNOWN"]),
        counter("6105557777", &["B"]),
    ];
    assert_eq!(table.sorted().await, sorted(expected.to_vec()));
    assert!(ran.err.contains("1 number without customers (deleted); 5 findings, 4 of them repaired."), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repaired_key_can_be_listed_or_is_refused() {
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
