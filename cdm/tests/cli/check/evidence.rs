//! `cdm check --fix` never removes what a corrupt item still shows.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use cdm_lambda::store::items::{self, Item};

use crate::helpers::{Table, counter, number, objects, record, text};

const ONE: &str = "6105551212";

fn with(mut item: Item, name: &str, value: AttributeValue) -> Item {
    item.insert(name.to_owned(), value);
    item
}

/// A customer who opted out, in a record whose channels became a list.
fn opted_out_in_a_list() -> Item {
    let channel = AttributeValue::M(HashMap::from([
        ("t".to_owned(), AttributeValue::N("1732003200000".to_owned())),
        ("c".to_owned(), text("stop")),
        ("e164".to_owned(), text("+16105551212")),
    ]));
    with(record("A", &[ONE]), items::NOTIFICATION_CHANNELS, AttributeValue::L(vec![channel]))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_whose_channels_became_a_list_is_left_for_a_person() {
    let table = Table::new().await;
    for item in [opted_out_in_a_list(), counter(ONE, &["A"])] {
        table.put(item).await;
    }
    let before = table.sorted().await;
    let ran = table.cdm(&["check", "--fix", "--yes"]).await;
    assert_eq!(table.sorted().await, before, "{ran:?}");
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.out.contains("for a person"), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_that_only_the_number_names_stays_named() {
    // The record does not exist, does not have the number, or cannot be read.
    for rest in [None, Some(record("A", &[])), Some(opted_out_in_a_list())] {
        let table = Table::new().await;
        table.put(counter(ONE, &["A"])).await;
        if let Some(record) = rest {
            table.put(record).await;
        }
        let before = table.sorted().await;
        let ran = table.cdm(&["check", "--fix", "--yes"]).await;
        assert_eq!((table.sorted().await, ran.code), (before, 1), "{ran:?}");
    }
}

/// Runs the selected commands of a finding, as an operator pastes them. Edits the file between `item show` and
/// `item put`.
async fn follow(table: &Table, finding: &str, which: &[usize], edit: impl Fn(&str) -> String) {
    let ran = table.cdm(&["check", "--output", "json"]).await;
    let rows = objects(&ran.out);
    let row = rows.iter().find(|row| row["finding"] == finding).unwrap_or_else(|| panic!("{finding}: {rows:?}"));
    assert_eq!(row["for_a_person"], true, "{row}");
    for nth in which {
        let command = row["commands"][*nth].as_str().unwrap().replace("CONSENT", "stop");
        let asks = ["item put", "item delete", "phone remove", "customer delete"];
        let yes = if asks.iter().any(|verb| command.contains(verb)) { " --yes" } else { "" };
        let out = table.shell(&format!("{command}{yes} || echo FAILED"), table.folder.path()).await;
        assert!(!out.contains("FAILED"), "{command}: {out}");
        if command.ends_with("> item.json") {
            let file = table.folder.path().join("item.json");
            std::fs::write(&file, edit(&std::fs::read_to_string(&file).unwrap())).unwrap();
        }
    }
}

/// For each finding that needs a person: the corruption, the finding, the commands to run, and the edit of the
/// item. Afterwards there are no findings.
#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::too_many_lines, reason = "a table")]
async fn the_commands_of_a_finding_resolve_it() {
    type Edit = fn(&str) -> String;
    type Case<'a> = (&'a str, Vec<Item>, &'a str, &'a [usize], Edit);
    let channels = |channels: &[(&str, AttributeValue)]| {
        let channels = channels.iter().map(|(e164, entry)| ((*e164).to_owned(), entry.clone())).collect();
        with(record("A", &[ONE]), items::NOTIFICATION_CHANNELS, AttributeValue::M(channels))
    };
    let strings = |ccids: &[&str]| AttributeValue::Ss(ccids.iter().map(|ccid| (*ccid).to_owned()).collect());
    let many: Vec<_> = (0..51).map(|n| format!("M{n}")).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    let numbers: Vec<_> = (0..51).map(|n| format!("61055544{n:02}")).collect();
    let numbers: Vec<_> = numbers.iter().map(String::as_str).collect();
    let mut crowd: Vec<_> = many.iter().map(|ccid| record(ccid, &["6105553333"])).collect();
    let over = [crowd.clone(), vec![counter("6105553333", &many)]].concat();
    crowd.push(counter("6105553333", &many[..50]));
    let mut full: Vec<_> = numbers.iter().map(|number| counter(number, &["FULL"])).collect();
    full.push(record("FULL", &numbers));
    let odd = |pk: &str, sk: &str| HashMap::from([("pk".to_owned(), text(pk)), ("sk".to_owned(), text(sk))]);
    let bad_type = AttributeValue::M(HashMap::from([("t".to_owned(), number(1)), ("p".to_owned(), text("fax"))]));
    let bad_consent = AttributeValue::M(HashMap::from([("t".to_owned(), number(1)), ("c".to_owned(), text("maybe"))]));
    let same: Edit = str::to_owned;
    let cases: Vec<Case<'_>> = vec![
        ("only the number names a customer, who has it", vec![record("A", &[])], "ccid_without_channel", &[0, 1], same),
        ("only the number names a customer, who has not", vec![record("A", &[])], "ccid_without_channel", &[0], same),
        ("a customer that is not there", vec![counter(ONE, &["A", "it's -GONE"])], "ccid_without_channel", &[0], same),
        (
            "an invalid phone type",
            vec![channels(&[("+16105551212", bad_type.clone())])],
            "customer_channel",
            &[2, 3],
            same,
        ),
        (
            "an invalid phone type, edited",
            vec![channels(&[("+16105551212", bad_type)])],
            "customer_channel",
            &[0, 1],
            |item| item.replace("fax", "mobile"),
        ),
        (
            "an invalid consent, edited",
            vec![channels(&[("+16105551212", bad_consent)])],
            "customer_channel_consent",
            &[0, 1, 2],
            |item| item.replace("\"c\"", "\"x\""),
        ),
        (
            "a channel under no number",
            vec![channels(&[("6105551212", items::from_channel(&crate::helpers::channel(ONE)))])],
            "customer_channel",
            &[0, 1],
            |item| item.replace("\"6105551212\"", "\"+16105551212\""),
        ),
        ("channels in a list", vec![opted_out_in_a_list()], "customer_channels", &[0, 1], |item| {
            let mut item: serde_json::Value = serde_json::from_str(item).unwrap();
            let mut entry = item["notification_channels"]["L"][0].clone();
            entry["M"].as_object_mut().unwrap().remove("e164");
            item["notification_channels"] = serde_json::json!({ "M": { "+16105551212": entry } });
            item.to_string()
        }),
        ("channels in a list, erased", vec![opted_out_in_a_list()], "customer_channels", &[2], same),
        ("fifty-one numbers", full, "customer_over_limit", &[0], same),
        ("an invalid ccid", vec![odd("CLIENT#demo-clinic#CUSTOMER#a/b", "CUSTOMER")], "customer_key", &[0, 1], same),
        ("an invalid number", vec![odd("CLIENT#demo-clinic#PHONE#6105551212", "PHONE")], "phone_key", &[1], same),
        ("what nothing knows", vec![odd("what?", "is 'it")], "unknown_item", &[1], same),
        ("an invalid key", vec![odd("KEY#1234", "KEY")], "key_key", &[1], same),
        (
            "ccids that are not a set",
            vec![with(counter(ONE, &["A"]), items::CCIDS, AttributeValue::Bool(true))],
            "phone_ccids",
            &[0, 1],
            |item| item.replace("\"BOOL\": true", "\"SS\": [\"A\"]"),
        ),
        (
            "an invalid ccid, of a number",
            vec![with(with(counter(ONE, &["A"]), items::CCIDS, strings(&["A", "a/b"])), items::CCID_COUNT, number(2))],
            "phone_ccids",
            &[0, 1],
            |item| item.replace("\"A\",", "\"A\"").replace("\"a/b\"", "").replace("\"2\"", "\"1\""),
        ),
        (
            "a count of no one",
            vec![with(counter("6105557777", &[]), items::CCID_COUNT, number(3))],
            "phone_ccid_count",
            &[2],
            same,
        ),
        ("fifty-one customers", over, "phone_over_limit", &[0, 1], same),
        ("one more than fits", crowd, "channel_not_counted", &[0, 1], same),
    ];
    for (what, planted, finding, which, edit) in cases {
        let table = Table::new().await;
        for item in [record("A", &[ONE]), counter(ONE, &["A"])].into_iter().chain(planted) {
            table.put(item).await;
        }
        follow(&table, finding, which, edit).await;
        if what == "channels in a list" {
            // The channel, which is readable now, still holds its consent.
            table.done(&["check", "--fix", "--yes"]).await;
        }
        let ran = table.cdm(&["check"]).await;
        assert_eq!(ran.code, 0, "{what}: {ran:?}");
    }
}
