use std::collections::HashMap;

use cdm_lambda::store::items;
use serde_json::json;

use crate::helpers::{CLIENT, Table, counter, text};

#[tokio::test(flavor = "multi_thread")]
async fn a_client_is_deleted_completely_and_nothing_else() {
    let table = Table::demo().await;
    // Orphans are deleted too: a counter of a customer that does not exist, and corrupt items.
    table.put(counter("6105557777", &["GONE"])).await;
    table.put(counter("6105557778", &[])).await;
    let mut corrupt = HashMap::from([("pk".to_owned(), text("CLIENT#demo-clinic#CUSTOMER#a/b"))]);
    corrupt.insert("sk".to_owned(), text("CUSTOMER"));
    table.put(corrupt).await;
    let neighbour = HashMap::from([
        ("pk".to_owned(), text("CLIENT#demo-clinic-2#PHONE#+16105551212")),
        ("sk".to_owned(), text("PHONE")),
    ]);
    table.put(neighbour).await;
    let before = table.items().await.len();

    let delete = ["client", "delete", "--client", CLIENT];
    let counted = table.json(&[&delete[..], &["--dry-run"]].concat()).await.remove(0);
    assert_eq!(table.items().await.len(), before, "a dry run changes nothing");
    let deleted = table.json(&[&delete[..], &["--yes"]].concat()).await.remove(0);
    assert_eq!((&counted["dry_run"], &deleted["dry_run"]), (&json!(true), &json!(false)));
    assert_eq!(deleted["customers"], 57);
    assert_eq!((&deleted["phone_numbers"], &deleted["keys"]), (&json!(55), &json!(3)));
    for member in ["customers", "phone_numbers", "keys"] {
        assert_eq!(counted[member], deleted[member], "{member}");
    }

    let left = table.items().await;
    let mut names: Vec<_> = left.iter().map(|item| item[items::PK].as_s().unwrap()).collect();
    names.sort();
    assert_eq!(names.len(), 3, "{names:?}");
    assert!(names[0].starts_with("CLIENT#demo-clinic-2#") && names[1].starts_with("CLIENT#other-clinic#"));
    assert!(names[2].starts_with("KEY#"));
    let again = table.done(&[&delete[..], &["--yes"]].concat()).await;
    assert_eq!(again, "0 customers, 0 phone numbers and 0 keys of demo-clinic are deleted.\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_clients_name_must_be_typed() {
    let table = Table::demo().await;
    let before = table.items().await.len();
    let delete = ["client", "delete", "--client", CLIENT];
    for input in ["", "y\n", "yes\n", "other-clinic\n"] {
        let ran = table.typed(&delete, input).await;
        assert_eq!(ran.code, 1, "{ran:?}");
        assert_eq!(table.items().await.len(), before);
    }
    let ran = table.typed(&delete, "demo-clinic\n").await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(table.items().await.len(), 2);
}

/// A misspelled client is an error, unless the operator confirms the name.
#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_client_is_asked_about() {
    let table = Table::demo().await;
    let before = table.sorted().await;
    let delete = ["client", "delete", "--client", "demo-clinc"];
    let question = "The table cdm-phones has no data of demo-clinc. Is this the right name? [y/N]";
    for (input, code) in [("", 1), ("n\n", 1), ("demo-clinc\n", 1), ("y\n", 0)] {
        let ran = table.typed(&delete, input).await;
        assert!(ran.code == code && ran.err.starts_with(question), "{ran:?}");
    }
    for option in ["--yes", "--dry-run"] {
        let ran = table.cdm(&[&delete[..], &[option]].concat()).await;
        assert_eq!(ran.code, 0, "{ran:?}");
        let note = "The table cdm-phones has no data of demo-clinc: is this the right name?\n";
        assert!(ran.err.contains(note), "{option}: {ran:?}");
    }
    let ran = table.cdm(&["client", "delete", "--client", CLIENT, "--dry-run"]).await;
    assert!(!ran.err.contains("has no data of"), "{ran:?}");
    assert_eq!(table.sorted().await, before);
}

/// Killed repeatedly while it works.
#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_can_be_repeated_after_an_interruption() {
    let table = Table::demo().await;
    let delete = ["client", "delete", "--client", CLIENT, "--yes", "--segments", "2"];
    for _ in 0..4 {
        let before = table.items().await.len();
        let mut child = table.command(&delete).spawn().unwrap();
        while child.try_wait().unwrap().is_none() {
            if table.items().await.len() < before {
                child.kill().await.unwrap();
                break;
            }
        }
        let ran = table.cdm(&["check", "--output", "json"]).await;
        let findings = crate::helpers::objects(&ran.out);
        assert!(findings.iter().all(|row| row["pk"].as_str().unwrap().ends_with("CORRUPT-1")), "{findings:?}");
    }
    table.done(&delete).await;
    assert_eq!(table.items().await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input() {
    let table = Table::new().await;
    for (arguments, word) in [
        (&["client", "delete"][..], "--client"),
        (&["client", "delete", "--client", "a#"], "must be 1 to 100 of the characters"),
        (&["client", "delete", "--client", "a", "--segments", "0"], "--segments"),
        (&["client", "delete", "a"], "unexpected argument"),
    ] {
        let line = table.misused(arguments).await;
        assert!(line.contains(word), "{arguments:?}: {line}");
    }
}
