use std::path::PathBuf;

use aws_sdk_dynamodb::types::AttributeValue;
use cdm_lambda::store::items;
use serde_json::json;

use crate::helpers::{CLIENT, Table, ccid, client, counter, one_line, phone, record};
use crate::proxy::{Mode, Proxy};

const ONE: &str = "6105551212";

/// The files of saved items in the commands' folder.
fn files(table: &Table) -> Vec<PathBuf> {
    std::fs::read_dir(table.folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// Each command that removes something saves the items, without an option, in a file that only the operator can
/// read. They can be put back from it.
#[tokio::test(flavor = "multi_thread")]
async fn every_removal_can_be_undone() {
    let number_pk = "CLIENT#demo-clinic#PHONE#+16105551208";
    let commands: [&[&str]; 5] = [
        &["phone", "remove", "--client", CLIENT, "--ccid", testkit::demo::CUSTOMER_WITH_PHONE, testkit::demo::PHONE],
        &["customer", "delete", "--client", CLIENT, "--ccid", "FAM-00001"],
        &["client", "delete", "--client", CLIENT],
        &["item", "delete", "--pk", number_pk, "--sk", "PHONE"],
        &["check", "--fix"],
    ];
    for command in commands {
        let table = Table::demo().await;
        let before = table.sorted().await;
        let ran = table.cdm(&[command, &["--yes"]].concat()).await;
        assert_eq!(ran.code, 0, "{command:?}: {ran:?}");
        assert_ne!(table.sorted().await, before, "{command:?}");
        let [file] = files(&table).try_into().unwrap();
        let name = file.file_name().unwrap().to_str().unwrap();
        assert!(name.starts_with(&format!("cdm-{}-", command[0])), "{name}");
        assert!(ran.err.contains(&format!("`cdm undo {name}` puts them back")), "{ran:?}");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }

        for (input, code) in [("", 1), ("n\n", 1), ("y\n", 0), ("y\n", 0)] {
            let ran = table.typed(&["undo", name], input).await;
            assert_eq!(ran.code, code, "{command:?}: {ran:?}");
            assert_eq!(table.sorted().await == before, code == 0, "{command:?}: {ran:?}");
        }
        assert_eq!(files(&table).len(), 1, "an undo saves nothing");
    }
}

/// Killed while several of its parts remove customers from the items of the same numbers.
#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_command_can_be_undone() {
    let table = Table::demo().await;
    let before = table.sorted().await;
    let mut killed = 0;
    for run in 0..4 {
        let file = format!("saved-{run}.jsonl");
        let delete = ["client", "delete", "--client", CLIENT, "--yes", "--save", &file];
        let mut child = table.command(&delete).spawn().unwrap();
        // The kill comes later in each run.
        while child.try_wait().unwrap().is_none() {
            if table.items().await.len() + 20 * run < before.len() {
                child.kill().await.unwrap();
                break;
            }
        }
        killed += u32::from(!child.wait().await.unwrap().success());
        assert_ne!(table.sorted().await, before);
        let ran = table.cdm(&["undo", &file, "--yes"]).await;
        assert_eq!(ran.code, 0, "{ran:?}");
        assert_eq!(table.sorted().await, before, "{ran:?}");
    }
    assert!(killed > 0, "each command was faster than its kill");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_keeps_no_copy() {
    let commands: [&[&str]; 3] = [
        &["phone", "remove", "--client", CLIENT, "--ccid", testkit::demo::CUSTOMER_WITH_PHONE, testkit::demo::PHONE],
        &["customer", "delete", "--client", CLIENT, "--ccid", "FAM-00001"],
        &["client", "delete", "--client", CLIENT],
    ];
    for command in commands {
        let table = Table::demo().await;
        let ran = table.cdm(&[command, &["--yes", "--no-save"]].concat()).await;
        assert!(ran.code == 0 && ran.err.contains("No copy was kept"), "{ran:?}");
        assert!(files(&table).is_empty());
        let line = table.misused(&[command, &["--no-save", "--save", "x"]].concat()).await;
        assert!(line.contains("cannot be used with"), "{line}");
    }
}

/// Nothing is changed before its old state is saved. If the file cannot be created, nothing is changed.
#[tokio::test(flavor = "multi_thread")]
async fn a_command_changes_nothing_if_it_cannot_save_the_items() {
    let table = Table::demo().await;
    let before = table.sorted().await;
    std::fs::write(table.folder.path().join("earlier.jsonl"), "precious").unwrap();
    for (file, word) in [("earlier.jsonl", "already exists"), ("no/such/folder/x", "cannot be kept")] {
        let commands: [&[&str]; 4] = [
            &[
                "phone",
                "remove",
                "--client",
                CLIENT,
                "--ccid",
                testkit::demo::CUSTOMER_WITH_PHONE,
                testkit::demo::PHONE,
            ],
            &["customer", "delete", "--client", CLIENT, "--ccid", "FAM-00001"],
            &["client", "delete", "--client", CLIENT],
            &["check", "--fix"],
        ];
        for command in commands {
            let ran = table.cdm(&[command, &["--yes", "--save", file]].concat()).await;
            assert!(ran.code == 1 && ran.err.contains(word), "{command:?}: {ran:?}");
            assert_eq!(table.sorted().await, before, "{command:?}");
        }
    }
    assert_eq!(std::fs::read_to_string(table.folder.path().join("earlier.jsonl")).unwrap(), "precious");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_item_that_changed_since_is_not_put_back() {
    let table = Table::new().await;
    table.customer("A", &[ONE, "6105551213"]).await;
    table.customer("B", &[]).await;
    let delete = ["customer", "delete", "--client", CLIENT, "--ccid", "A", "--yes", "--save", "a.jsonl"];
    table.done(&delete).await;
    // One number now has another customer, and the other number has none.
    table.done(&["phone", "add", "--client", CLIENT, "--ccid", "B", ONE]).await;
    let ran = table.cdm(&["undo", "a.jsonl", "--yes", "--output", "json"]).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    let results: Vec<_> =
        crate::helpers::objects(&ran.out).into_iter().map(|row| (row["pk"].clone(), row["result"].clone())).collect();
    assert_eq!(results.len(), 3);
    for (pk, result) in results {
        let is_changed = pk == "CLIENT#demo-clinic#PHONE#+16105551212";
        assert_eq!(result, if is_changed { "changed_since" } else { "put_back" }, "{pk}");
    }
    // The missing count follows from the record with certainty.
    let ran = table.cdm(&["check", "--fix", "--yes"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let number = table.item(items::phone_key(&client(), &phone(ONE))).await.unwrap();
    let AttributeValue::Ss(mut ccids) = number[items::CCIDS].clone() else { panic!() };
    ccids.sort();
    assert_eq!(ccids, ["A", "B"]);
}

/// A record that was created again is not overwritten, and its number's item does not name it.
#[tokio::test(flavor = "multi_thread")]
async fn a_number_is_not_put_back_without_its_record() {
    let table = Table::new().await;
    table.customer("A", &[ONE]).await;
    table.done(&["customer", "delete", "--client", CLIENT, "--ccid", "A", "--yes", "--save", "a.jsonl"]).await;
    table.customer("A", &[]).await;
    let before = table.sorted().await;
    let ran = table.cdm(&["undo", "a.jsonl", "--yes"]).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.out.contains("a record that it belongs to has changed since"), "{ran:?}");
    assert_eq!(table.sorted().await, before);
    table.done(&["check"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_another_kind_or_table_is_refused() {
    let table = Table::demo().await;
    let before = table.sorted().await;
    assert!(table.refused(&["undo", "nothing.jsonl", "--yes"]).await.contains("cannot be read"));
    std::fs::write(table.folder.path().join("other.jsonl"), "{\"line\":1}\n").unwrap();
    assert!(table.refused(&["undo", "other.jsonl", "--yes"]).await.contains("is not a file of saved items"));
    table.done(&["customer", "delete", "--client", CLIENT, "--ccid", "FAM-00001", "--yes", "--save", "a.jsonl"]).await;
    table.done(&["table", "create", "--table", "another"]).await;
    let ran = table.cdm(&["undo", "a.jsonl", "--yes", "--table", "another"]).await;
    assert_eq!(
        (ran.code, one_line(&ran.err).as_str()),
        (1, "the items are of the table cdm-phones: name it with --table")
    );
    // The same names at another endpoint.
    let proxy = Proxy::before(table.environment()[0].1).await;
    let mut elsewhere = table.command(&["undo", "a.jsonl", "--yes"]);
    elsewhere.env("AWS_ENDPOINT_URL_DYNAMODB", &proxy.url);
    let ran = crate::helpers::typed(elsewhere, "").await;
    let message = format!(
        "the items are of the table cdm-phones at {}, but this command uses {}: use that table, or name another file",
        table.environment()[0].1,
        proxy.url
    );
    assert_eq!((ran.code, one_line(&ran.err)), (1, message));
    table.done(&["undo", "a.jsonl", "--yes"]).await;
    assert_eq!(table.sorted().await, before);
}

/// A corrected item is checked first, so a correction cannot bypass the rules.
#[tokio::test(flavor = "multi_thread")]
async fn item_put_refuses_an_item_that_is_still_corrupt() {
    let table = Table::new().await;
    table.put(record("A", &[ONE])).await;
    table.put(counter(ONE, &["A"])).await;
    let pk = "CLIENT#demo-clinic#CUSTOMER#A";
    let show = ["item", "show", "--pk", pk, "--sk", "CUSTOMER"];
    let shown = table.json(&show).await.remove(0);
    assert_eq!(shown["phone_count"], json!({ "N": "1" }));
    let file = table.folder.path().join("item.json");
    let put = ["item", "put", "item.json", "--yes", "--save", "put.jsonl"];
    for (text, word) in [
        (
            shown.to_string().replace("\"1\"", "\"2\""),
            "customer_phone_count: phone_count is not the number of channels",
        ),
        (shown.to_string().replace("CUSTOMER#A", "CUSTOMER#B"), "there is no such item"),
        (shown.to_string().replace("cdm_shown", "other"), "the item has changed since it was shown: show it again"),
        ("{}".to_owned(), "is not correct yet: unknown_item"),
        ("[]".to_owned(), "is not an item in DynamoDB's JSON"),
    ] {
        std::fs::write(&file, text).unwrap();
        assert!(table.refused(&put).await.contains(word), "{word}");
    }
    std::fs::write(&file, shown.to_string()).unwrap();
    assert_eq!(table.done(&put).await, "The item already has this content.\n");
    assert_eq!(files(&table).len(), 1, "nothing was saved");
    assert!(table.item(items::customer_key(&client(), &ccid("A"))).await.is_some());
    assert!(table.refused(&["item", "show", "--pk", "x", "--sk", "y"]).await.contains("there is no such item"));
    assert!(
        table.refused(&["item", "delete", "--pk", "x", "--sk", "y", "--yes"]).await.contains("there is no such item")
    );
}

/// A change between `item show` and `item put` is not reverted: an added or a removed number.
#[tokio::test(flavor = "multi_thread")]
async fn an_item_that_changed_since_it_was_shown_is_not_overwritten() {
    let table = Table::new().await;
    table.customer("A", &[ONE]).await;
    let show = ["item", "show", "--pk", "CLIENT#demo-clinic#CUSTOMER#A", "--sk", "CUSTOMER"];
    let put = ["item", "put", "item.json", "--yes", "--save", "put.jsonl"];
    let file = table.folder.path().join("item.json");
    let shown = table.done(&show).await;
    // Add an attribute to the shown item.
    let edited = shown.replace("\"phone_count\"", "\"note\": {\"S\": \"checked\"}, \"phone_count\"");
    assert_ne!(edited, shown);
    std::fs::write(&file, &edited).unwrap();
    for change in [["phone", "add"], ["phone", "remove"]] {
        let yes: &[&str] = if change[1] == "remove" { &["--yes", "--no-save"] } else { &[] };
        let changed = [&change[..], &["--client", CLIENT, "--ccid", "A", "6105551213"], yes].concat();
        if change[1] == "remove" {
            std::fs::write(&file, table.done(&show).await).unwrap();
        }
        table.done(&changed).await;
        let before = table.sorted().await;
        // It is refused before the question.
        let ran = table.typed(&put[..3], "").await;
        assert_eq!(
            (ran.code, one_line(&ran.err).as_str()),
            (1, "the item has changed since it was shown: show it again"),
        );
        assert_eq!(table.sorted().await, before);
        assert_eq!(files(&table).len(), 1, "nothing was saved");
    }
    // The hash of the item as it is now, after the removal restored it.
    std::fs::write(&file, &edited).unwrap();
    table.done(&put).await;
    let record = table.item(items::customer_key(&client(), &ccid("A"))).await.unwrap();
    assert_eq!(record.get("note"), Some(&AttributeValue::S("checked".to_owned())));
    assert!(!record.contains_key("cdm_shown"));
}

/// A command that certainly failed keeps no file, so that no undo restores what a later erasure removed.
#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_wrote_nothing_leaves_nothing_to_undo() {
    let commands: [&[&str]; 5] = [
        &["phone", "remove", "--client", CLIENT, "--ccid", testkit::demo::CUSTOMER_WITH_PHONE, testkit::demo::PHONE],
        &["customer", "delete", "--client", CLIENT, "--ccid", "FAM-00001"],
        &["item", "delete", "--pk", "CLIENT#demo-clinic#CUSTOMER#FAM-00001", "--sk", "CUSTOMER"],
        &["check", "--fix"],
        &["client", "delete", "--client", CLIENT, "--segments", "1"],
    ];
    let table = Table::demo().await;
    let before = table.sorted().await;
    let proxy = Proxy::before(table.environment()[0].1).await;
    proxy.set(Mode::Deny, 0);
    for command in commands {
        let mut denied = table.command(&[command, &["--yes"]].concat());
        denied.env("AWS_ENDPOINT_URL_DYNAMODB", &proxy.url);
        let ran = crate::helpers::typed(denied, "").await;
        assert_eq!(ran.code, 1, "{command:?}: {ran:?}");
        assert!(!ran.err.contains("cdm undo"), "{command:?}: {ran:?}");
        assert_eq!(table.sorted().await, before, "{command:?}");
        assert_eq!(files(&table), Vec::<PathBuf>::new(), "{command:?}");
    }
}

/// The first attempt writes and its response is lost; the next one is refused. The write may have happened, so the file stays.
/// Only a removal can be an erasure, for which no copy may stay.
#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_after_a_lost_response_keeps_the_file() {
    let pk = "CLIENT#demo-clinic#CUSTOMER#A";
    let commands: [(&[&str], bool); 2] =
        [(&["customer", "delete", "--client", CLIENT, "--ccid", "A"], true), (&["item", "put", "item.json"], false)];
    for (command, may_be_erasure) in commands {
        let table = Table::new().await;
        table.customer("A", &[ONE]).await;
        let before = table.sorted().await;
        let shown = table.done(&["item", "show", "--pk", pk, "--sk", "CUSTOMER"]).await;
        let edited = shown.replace("\"phone_count\"", "\"note\": {\"S\": \"checked\"}, \"phone_count\"");
        std::fs::write(table.folder.path().join("item.json"), edited).unwrap();
        let proxy = Proxy::before(table.environment()[0].1).await;
        // The command's first call opens a connection.
        proxy.set(Mode::LoseResponses, 1);
        let mut through_proxy = table.command(&[command, &["--yes", "--save", "saved.jsonl"]].concat());
        through_proxy.env("AWS_ENDPOINT_URL_DYNAMODB", &proxy.url);
        let refuse_later = async {
            proxy.disturbed(1).await;
            proxy.set(Mode::Deny, 0);
        };
        let (ran, ()) = tokio::join!(crate::helpers::typed(through_proxy, ""), refuse_later);
        assert_eq!(ran.code, 1, "{command:?}: {ran:?}");
        assert_ne!(table.sorted().await, before, "{command:?}");
        assert!(ran.err.contains("`cdm undo saved.jsonl` puts them back"), "{command:?}: {ran:?}");
        assert_eq!(ran.err.contains("--no-save"), may_be_erasure, "{command:?}: {ran:?}");
        proxy.set(Mode::Forward, 0);
        let mut undo = table.command(&["undo", "saved.jsonl", "--yes"]);
        undo.env("AWS_ENDPOINT_URL_DYNAMODB", &proxy.url);
        let ran = crate::helpers::typed(undo, "").await;
        assert_eq!(ran.code, 0, "{command:?}: {ran:?}");
        assert_eq!(table.sorted().await, before, "{command:?}");
    }
}

/// An item whose write has an unknown outcome may be put back, and the command says so. An item that was certainly
/// not written is not put back.
#[tokio::test(flavor = "multi_thread")]
async fn only_what_was_written_is_put_back() {
    let table = Table::new().await;
    table.customer("A", &[ONE]).await;
    let with_a = table.sorted().await;
    table.done(&["customer", "delete", "--client", CLIENT, "--ccid", "A", "--yes", "--save", "a.jsonl"]).await;
    let file = table.folder.path().join("a.jsonl");
    let text = std::fs::read_to_string(&file).unwrap();
    let (items, mark) = text.trim_end().rsplit_once('\n').unwrap();
    assert_eq!(mark, r#"{"written":[1,2]}"#);
    let without_a = table.sorted().await;

    std::fs::write(&file, format!("{items}\n{{\"not_written\":[1,2]}}\n")).unwrap();
    let ran = table.cdm(&["undo", "a.jsonl", "--yes"]).await;
    assert!(ran.code == 0 && ran.out.starts_with("0 items put back"), "{ran:?}");
    assert_eq!(table.sorted().await, without_a);

    for unknown in [format!("{items}\n"), format!("{items}\n{{\"writ")] {
        std::fs::write(&file, unknown).unwrap();
        let ran = table.cdm(&["undo", "a.jsonl"]).await;
        assert!(ran.code == 1 && ran.err.contains("It is unknown whether the command wrote 2 of the items"), "{ran:?}");
        assert_eq!(table.sorted().await, without_a);
    }
    table.done(&["undo", "a.jsonl", "--yes"]).await;
    assert_eq!(table.sorted().await, with_a);
}
