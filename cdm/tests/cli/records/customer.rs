use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use cdm_lambda::store::items;
use serde_json::json;

use crate::helpers::{CLIENT, Table, ccid, client, counter, number, phone, record, text};

fn on<'a>(verb: &'a str, ccid: &'a str) -> [&'a str; 6] {
    ["customer", verb, "--client", CLIENT, "--ccid", ccid]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_is_created_shown_and_deleted() {
    let table = Table::new().await;
    let odd = "Zoë 7?.%41 #PHONE#";
    assert_eq!(table.done(&on("create", odd)).await, format!("Customer {odd} of {CLIENT} was created.\n"));
    let shown = table.json(&on("show", odd)).await.remove(0);
    assert_eq!(shown["ccid"], odd);
    assert_eq!(shown["client_id"], CLIENT);
    assert_eq!((&shown["phone_count"], &shown["notification_channels"]), (&json!(0), &json!([])));
    assert!(shown["created_at"].as_str().unwrap().ends_with('Z'));

    let deleted = table.json(&[&on("delete", odd)[..], &["--yes"]].concat()).await;
    assert_eq!(deleted, [json!({ "client_id": CLIENT, "ccid": odd, "numbers_removed": 0 })]);
    assert_eq!(table.items().await.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_existing_record_is_not_changed() {
    let table = Table::demo().await;
    let key = items::customer_key(&client(), &ccid(testkit::demo::CUSTOMER_WITH_50));
    let before = table.item(key.clone()).await;
    let line = table.refused(&on("create", testkit::demo::CUSTOMER_WITH_50)).await;
    assert_eq!(line, "the client already has a customer with this ccid: nothing was changed");
    assert_eq!(table.item(key).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn show_prints_the_api_response() {
    let table = Table::demo().await;
    let shown = table.json(&on("show", testkit::demo::CUSTOMER_WITH_PHONE)).await;
    assert_eq!(
        shown,
        [json!({
            "client_id": CLIENT,
            "ccid": testkit::demo::CUSTOMER_WITH_PHONE,
            "created_at": "2024-11-19T08:00:00.000Z",
            "phone_count": 1,
            "notification_channels": [{
                "channel_type": "sms", "channel_addr": "+16105551208", "phone_number": "6105551208",
                "country_code": "1", "phone_type": "mobile", "consent_type": "written", "client_source": "internal",
                "created_at": "2024-11-19T08:00:00.000Z",
            }],
        })]
    );
    let drawn = table.done(&on("show", testkit::demo::CUSTOMER_WITH_PHONE)).await;
    let expected = "\
Client    demo-clinic
Customer  BAK-11984-008
Created   2024-11-19T08:00:00.000Z
Numbers   1

NUMBER        COUNTRY  TYPE    CONSENT  SOURCE    ADDED
+16105551208  1        mobile  written  internal  2024-11-19T08:00:00.000Z
";
    assert_eq!(drawn, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_customer_is_neither_shown_nor_deleted() {
    let table = Table::demo().await;
    let before = table.items().await.len();
    assert_eq!(
        table.refused(&on("show", "UNKNOWN")).await,
        "the client has no customer with this ccid: check both, or create it with `cdm customer create`"
    );
    assert_eq!(
        table.refused(&[&on("delete", "UNKNOWN")[..], &["--yes"]].concat()).await,
        "the client has no customer with this ccid: nothing was deleted"
    );
    assert_eq!(table.items().await.len(), before);
    assert_eq!(
        table.refused(&on("show", testkit::demo::CUSTOMER_CORRUPT)).await,
        "the customer's record is corrupt: run `cdm check`"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_asks_first() {
    let table = Table::demo().await;
    let key = items::customer_key(&client(), &ccid(testkit::demo::CUSTOMER));
    for (input, code) in [("", 1), ("n\n", 1), ("BAK\n", 1), ("yes\n", 0)] {
        let ran = table.typed(&on("delete", testkit::demo::CUSTOMER), input).await;
        assert_eq!(ran.code, code, "{ran:?}");
        assert_eq!(table.item(key.clone()).await.is_some(), code == 1);
    }
}

/// Fifty numbers, each of them also on one or on 49 other customers.
#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_customer_is_in_no_count() {
    let table = Table::demo().await;
    for ccid in [
        testkit::demo::CUSTOMER_WITH_50,
        "FAM-00001",
        testkit::demo::CUSTOMER_WITH_PHONE,
        testkit::demo::CUSTOMER_CORRUPT,
    ] {
        table.done(&[&on("delete", ccid)[..], &["--yes"]].concat()).await;
    }
    assert!(table.cdm(&["check"]).await.out.contains("; 0 numbers without customers"));
    assert_eq!(table.cdm(&["check"]).await.code, 0);
    let who = ["phone", "who", "--client", CLIENT];
    assert_eq!(table.json(&[&who[..], &[testkit::demo::PHONE_ON_50]].concat()).await.len(), 49);
    assert_eq!(table.json(&[&who[..], &["6105550001"]].concat()).await, [json!({ "ccid": "BAK-11984-049" })]);
    let last = items::phone_key(&client(), &phone("6105550050"));
    assert_eq!(table.item(last).await, None, "a number that no customer has is gone");
}

/// It is one transaction, so an interruption leaves the record unchanged or deleted. Either way it can be undone.
#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_is_all_or_nothing_and_can_be_undone() {
    let table = Table::demo().await;
    let key = items::customer_key(&client(), &ccid(testkit::demo::CUSTOMER_WITH_50));
    let before = table.sorted().await;
    for run in 0..5 {
        let file = format!("saved-{run}.jsonl");
        let delete = [&on("delete", testkit::demo::CUSTOMER_WITH_50)[..], &["--yes", "--save", &file]].concat();
        let mut child = table.command(&delete).stderr(std::process::Stdio::null()).spawn().unwrap();
        // Killed as soon as the file exists, before or after the write. The last run finishes.
        let saved = table.folder.path().join(&file);
        let ended = loop {
            if let Some(ended) = child.try_wait().unwrap() {
                break Some(ended);
            }
            if run < 4 && saved.exists() {
                child.kill().await.unwrap();
                break None;
            }
        };
        if table.item(key.clone()).await.is_some() {
            assert!(ended.is_none() && table.sorted().await == before);
        }
        let ran = table.cdm(&["check", "--output", "json"]).await;
        let findings: Vec<_> = crate::helpers::objects(&ran.out).iter().map(|row| row["finding"].clone()).collect();
        assert_eq!(findings, ["customer_channels"], "only what is corrupt in the demo data, in run {run}");
        // A file without a complete first line is not a file of saved items, and nothing was changed.
        if saved.metadata().unwrap().len() > 0 {
            table.done(&["undo", &file, "--yes"]).await;
        }
        assert_eq!(table.sorted().await, before, "run {run}");
    }
}

/// More numbers than fit into one transaction, which only a corrupt record has.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_with_too_many_numbers_can_be_deleted_and_restored() {
    let table = Table::new().await;
    let numbers: Vec<_> = (0..130).map(|n| format!("6105554{n:03}")).collect();
    let numbers: Vec<_> = numbers.iter().map(String::as_str).collect();
    for number in &numbers {
        table.put(counter(number, &["A", "B"])).await;
    }
    table.put(record("A", &numbers)).await;
    let before = table.sorted().await;
    table.done(&[&on("delete", "A")[..], &["--yes", "--save", "a.jsonl"]].concat()).await;
    let left = table.sorted().await;
    assert_eq!(left.len(), numbers.len());
    assert!(left.iter().all(|item| item[items::CCIDS] == AttributeValue::Ss(vec!["B".to_owned()])));
    table.done(&["undo", "a.jsonl", "--yes"]).await;
    assert_eq!(table.sorted().await, before);
}

/// A record can be erased whatever is wrong with it, and no count becomes wrong.
#[tokio::test(flavor = "multi_thread")]
async fn a_corrupt_record_can_be_deleted() {
    let corruption: [(&str, AttributeValue); 4] = [
        (items::NOTIFICATION_CHANNELS, AttributeValue::Bool(true)),
        (items::PHONE_COUNT, AttributeValue::S("2".to_owned())),
        (items::PHONE_COUNT, number(7)),
        (
            items::NOTIFICATION_CHANNELS,
            AttributeValue::M(HashMap::from([
                ("+16105551212".to_owned(), AttributeValue::Bool(true)),
                ("no number".to_owned(), AttributeValue::Bool(true)),
                ("+16105551299".to_owned(), AttributeValue::Bool(true)),
            ])),
        ),
    ];
    for (attribute, value) in corruption {
        let table = Table::new().await;
        let mut corrupt = record("A", &["6105551212", "6105551213"]);
        corrupt.insert(attribute.to_owned(), value.clone());
        table.put(corrupt).await;
        table.put(record("B", &["6105551212"])).await;
        table.put(counter("6105551212", &["A", "B"])).await;
        table.put(counter("6105551213", &["A"])).await;
        table.done(&[&on("delete", "A")[..], &["--yes"]].concat()).await;
        assert_eq!(table.item(items::customer_key(&client(), &ccid("A"))).await, None, "{value:?}");
        if !matches!(value, AttributeValue::Bool(_)) {
            let both = table.item(items::phone_key(&client(), &phone("6105551212"))).await;
            assert_eq!(both, Some(counter("6105551212", &["B"])), "{value:?}");
        }
        table.cdm(&["check", "--fix", "--yes"]).await;
        assert_eq!(table.items().await.len(), 2, "{value:?}: B and its number are left");
        table.done(&["check"]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input() {
    let table = Table::new().await;
    let long = "é".repeat(101);
    for (arguments, word) in [
        (&on("create", "a/b")[..], "must not contain control characters or /"),
        (&on("create", "..")[..], "must not be . or .."),
        (&on("create", &long)[..], "must be 1 to 100 characters"),
        (&on("create", "")[..], "--ccid"),
        (&["customer", "create", "--client", "a"][..], "--ccid"),
        (&["customer", "show", "--client", "a", "b"][..], "unexpected argument"),
        (&["customer", "delete", "--client", "a b", "--ccid", "b"][..], "must be 1 to 100 of the characters"),
    ] {
        let line = table.misused(arguments).await;
        assert!(line.contains(word), "{arguments:?}: {line}");
    }
    assert_eq!(table.items().await.len(), 0);
}

/// An erasure that would leave the ccid in an unreadable number's item is refused before anything is written.
#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_is_refused_if_a_number_cannot_be_read() {
    let ccids = AttributeValue::L(vec![text("A")]);
    let mut corrupt = counter("6105551212", &["A"]);
    corrupt.insert(items::CCIDS.to_owned(), ccids);
    let readable = record("A", &["6105551212", "6105551213"]);
    // The table is searched for its numbers.
    let mut unreadable = readable.clone();
    unreadable.insert(items::NOTIFICATION_CHANNELS.to_owned(), AttributeValue::Bool(true));
    for record in [readable, unreadable] {
        let table = Table::new().await;
        for item in [record, corrupt.clone(), counter("6105551213", &["A"])] {
            table.put(item).await;
        }
        let before = table.sorted().await;
        let line = table.refused(&["customer", "delete", "--client", CLIENT, "--ccid", "A", "--yes"]).await;
        assert_eq!(
            line,
            "the item of a number is corrupt, so the customer cannot be taken out of it: `cdm check` says what to do"
        );
        assert_eq!(table.sorted().await, before);
        // Deleting the whole client also deletes the number's item.
        table.done(&["client", "delete", "--client", CLIENT, "--yes"]).await;
        assert!(table.items().await.is_empty());
    }
}
