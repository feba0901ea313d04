//! The whole command against a database: repairing planted corruption loses nothing, and can be undone.

use cdm_lambda::time::UnixMillis;
use std::sync::Mutex;
use std::time::Instant;

use std::path::Path;

use clap::Parser;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

use super::reading::{SharedReading, pairs_of};
use super::*;
use crate::commands::undo::Undo;
use crate::table::change;
use crate::table::connection::TableAddress;
use crate::table::erase;
use crate::table::repair::corrupt_tables::{
    self, KINDS, Table, assert_nothing_lost, corrupt, corruption, healthy, of_kind,
};
use crate::table::scan::sums::Side;
use crate::table::scan::{Page, Position};
use testkit::embedded::{Embedded, any_credentials};

#[derive(Parser)]
enum Commands {
    Check(Check),
    Undo(Undo),
}

/// Creates a table with these items.
async fn planted(database: &Embedded, name: &str, items: &Table) -> Connection {
    let connection = Connection::to(&database.endpoint(), any_credentials(), name.to_owned()).await.unwrap();
    crate::commands::table::create(&connection.client, name).await.unwrap();
    for item in items.values() {
        connection.client.put_item().table_name(name).set_item(Some(item.clone())).send().await.unwrap();
    }
    connection
}

async fn read_all(connection: &Connection) -> Table {
    let mut pages = connection.client.scan().table_name(&connection.table).into_paginator().items().send();
    let mut table = Table::new();
    while let Some(item) = pages.next().await {
        let item = item.unwrap();
        table.insert(change::key_text(&item), item);
    }
    table
}

fn same_tables(a: &Table, b: &Table) -> bool {
    a.len() == b.len() && a.iter().all(|(key, item)| crate::table::dynamo_json::same(Some(item), b.get(key)))
}

/// `cdm check --fix`, then `cdm undo` of what it saved.
async fn repair_and_undo(database: &Embedded, folder: &Path, name: &str, corrupted: &Table, what: &str) {
    let connection = planted(database, name, corrupted).await;
    let saved = folder.join(name);
    let saved_name = saved.to_str().unwrap();
    let Commands::Check(check) = Commands::parse_from(["cdm", "check", "--fix", "--yes", "--save", saved_name]) else {
        unreachable!()
    };
    // Whether findings remain for a person does not matter here.
    let _ = check.run(&connection, Output::Json).await;
    let repaired = read_all(&connection).await;
    assert_nothing_lost(corrupted, &repaired, what);

    for _ in 0..2 {
        if saved.exists() {
            let Commands::Undo(undo) = Commands::parse_from(["cdm", "undo", "--yes", saved_name]) else {
                unreachable!()
            };
            undo.run(&connection, Output::Json).await.unwrap();
        }
        assert!(same_tables(&read_all(&connection).await, corrupted), "{what}: undone");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn repairing_each_kind_of_corruption_loses_nothing_and_is_undone() {
    let (database, folder) = (Embedded::in_memory().await.unwrap(), tempfile::tempdir().unwrap());
    let healthy = corrupt_tables::table(&[]);
    let mut planted_kinds = 0;
    for kind in 0..KINDS {
        let mut corrupted = healthy.clone();
        corrupt(&mut corrupted, &of_kind(kind));
        planted_kinds += usize::from(!same_tables(&corrupted, &healthy));
        repair_and_undo(&database, folder.path(), &format!("kind-{kind}"), &corrupted, &format!("kind {kind}")).await;
    }
    assert!(planted_kinds >= 45, "{planted_kinds}");
}

#[tokio::test(flavor = "multi_thread")]
async fn repairing_random_corruption_loses_nothing_and_is_undone() {
    let (database, folder) = (Embedded::in_memory().await.unwrap(), tempfile::tempdir().unwrap());
    let mut runner = TestRunner::default();
    let cases = (healthy(), prop::collection::vec(corruption(), 1..5));
    for case in 0..30 {
        let (mut corrupted, corruptions) = cases.new_tree(&mut runner).unwrap().current();
        for corruption in &corruptions {
            corrupt(&mut corrupted, corruption);
        }
        let what = format!("{corruptions:?}");
        repair_and_undo(&database, folder.path(), &format!("case-{case}"), &corrupted, &what).await;
    }
}

/// A check that stops at any point of its reading continues from there, with the result of an uninterrupted check.
#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_check_continues_where_it_stopped() {
    let (database, folder) = (Embedded::in_memory().await.unwrap(), tempfile::tempdir().unwrap());
    let mut items = corrupt_tables::table(&[7; 20]);
    for kind in [13, 25, 39, 40] {
        corrupt(&mut items, &of_kind(kind));
    }
    let connection = planted(&database, "interrupted", &items).await;
    let scan = || Scan { segments: 2, page: 1, ..Scan::default() };
    let whole = find(&connection, scan(), None).await.unwrap();
    assert!(whole.checked().findings >= 4);

    for stop_after in 0..=items.len() {
        let file = ResumeFile(folder.path().join(format!("state-{stop_after}")));
        let interrupted = Arc::new(Mutex::new((Reading::new(2, UnixMillis::now()), 0)));
        let seen = Arc::clone(&interrupted);
        let each = move |page: Page| {
            let mut seen = seen.lock().unwrap();
            let is_over = seen.1 == stop_after;
            if !is_over {
                seen.0.add(page);
                seen.1 += 1;
            }
            async move { if is_over { Err(Failure(String::new())) } else { Ok(()) } }
        };
        let _ = scan().pages(&connection, None, &[], each).await;
        file.store(&connection.address(), &interrupted.lock().unwrap().0).unwrap();

        // A resumed check keeps the parts that it began with, whatever its arguments are.
        let resumed = find(&connection, Scan { segments: 5, ..scan() }, Some(&file)).await.unwrap();
        assert_eq!(resumed.checked(), whole.checked(), "stopped after {stop_after}");
        let findings = |found: &Found| found.findings().cloned().collect::<Vec<_>>();
        assert_eq!(findings(&resumed), findings(&whole));
        assert_eq!(file.load(&connection.address()).unwrap(), None, "what it says of the table is soon old");
    }
}

/// A check was killed between the end of its reading and its result. The table may have changed since.
#[tokio::test(flavor = "multi_thread")]
async fn a_finished_reading_is_not_continued() {
    let (database, folder) = (Embedded::in_memory().await.unwrap(), tempfile::tempdir().unwrap());
    let mut items = corrupt_tables::table(&[]);
    corrupt(&mut items, &of_kind(13));
    let connection = planted(&database, "ended", &items).await;
    let file = ResumeFile(folder.path().join("state"));
    let mut ended = Reading::new(2, UnixMillis::now());
    ended.positions.fill(Position::End);
    file.store(&connection.address(), &ended).unwrap();
    let found = find(&connection, Scan::default(), Some(&file)).await.unwrap().checked();
    assert_eq!(found, find(&connection, Scan::default(), None).await.unwrap().checked());
    assert!(found.findings > 0);
}

/// When a check is interrupted, a part may still have a page to add. It must not write the file.
#[test]
fn a_page_after_the_interruption_leaves_the_file_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = ResumeFile(folder.path().join("state"));
    let address = TableAddress { table: "a-table".to_owned(), endpoint: "us-east-1".to_owned() };
    let store = |reading: &Reading| file.store(&address, reading);
    let page = || Page { segment: 0, items: Vec::new(), position: Position::End };
    let long_ago = Instant::now().checked_sub(EVERY).unwrap();
    let mut shared = SharedReading { reading: Reading::new(2, UnixMillis::now()), stored: long_ago };
    shared.add(page(), store).unwrap();
    shared.stored = long_ago;
    let reading = shared.take();
    assert_eq!(file.load(&address).unwrap().as_ref(), Some(&reading), "it was time to write it");
    shared.add(page(), store).unwrap();
    assert_eq!(file.load(&address).unwrap().as_ref(), Some(&reading));
}

/// The reads that plan a repair also keep the limit: they wait while another read has its turn.
#[tokio::test(flavor = "multi_thread")]
async fn planning_reads_take_their_turn() {
    let database = Embedded::in_memory().await.unwrap();
    let mut items = corrupt_tables::table(&[]);
    corrupt(&mut items, &of_kind(13));
    let connection = planted(&database, "turns", &items).await;
    let pace = Arc::new(Pace::limited(1000));
    let rereader = Rereader { connection: connection.clone(), pace: Arc::clone(&pace), pairs: Arc::default() };
    let targets: Vec<_> = items
        .values()
        .map(|item| match subject(item) {
            Subject::Phone { client_id, phone } => PlanTarget::Number { client_id, phone, ccids: Vec::new() },
            _ => PlanTarget::Item(change::key_of(item)),
        })
        .collect();
    let mut findings = 0;
    for target in targets {
        let turn = pace.turn().await;
        let other_reads = async {
            for _ in 0..50 {
                read_all(&connection).await;
            }
        };
        tokio::select! {
            _ = rereader.plan(&target) => panic!("it did not wait for its turn"),
            () = other_reads => turn.took(Some(0.0)),
        }
        findings += rereader.plan(&target).await.unwrap().findings.len();
    }
    assert!(findings > 0);
}

/// More pairs are on one side only than the sums can separate. The second reading finds them all.
#[tokio::test(flavor = "multi_thread")]
async fn pairs_that_the_sums_cannot_tell_apart_are_searched_for() {
    let database = Embedded::in_memory().await.unwrap();
    let items = corrupt_tables::table(&[7; 20]);
    let connection = planted(&database, "search", &items).await;
    let mut sums = crate::table::scan::sums::Sums::small(1);
    let mut reading = Reading::new(1, UnixMillis::now());
    for item in items.values() {
        for pair in pairs_of(item).iter().filter(|_| matches!(subject(item), Subject::Customer { .. })) {
            sums.add(Side::Record, pair);
        }
        reading.add(Page { segment: 0, items: vec![item.clone()], position: Position::End });
    }
    assert_eq!(reading.counts.pairs, 20);
    let left = sums.left();
    assert!(left.is_incomplete());
    let named = left.pairs.clone();
    let mut found = search(&connection, &Scan::default(), left).await.unwrap();
    found.extend(named);
    found.sort();
    found.dedup();
    assert_eq!(found.len(), 20);
}

/// The customer is deleted between the plan and the write. An erased customer must not be written into a number's
/// item.
#[tokio::test(flavor = "multi_thread")]
async fn a_customer_that_is_deleted_meanwhile_is_not_added() {
    let (database, folder) = (Embedded::in_memory().await.unwrap(), tempfile::tempdir().unwrap());
    let mut items = corrupt_tables::table(&[7; 20]);
    corrupt(&mut items, &of_kind(39));
    let connection = planted(&database, "meanwhile", &items).await;
    let found = find(&connection, Scan::default(), None).await.unwrap();
    let finding = found.findings().find(|finding| finding.kind == Kind::ChannelNotCounted).unwrap();
    let record = change::key_of(&finding.key);
    connection.client.delete_item().table_name("meanwhile").set_key(Some(record)).send().await.unwrap();
    let before = read_all(&connection).await;

    let Commands::Check(Check { save, .. }) =
        Commands::parse_from(["cdm", "check", "--save", folder.path().join("saved").to_str().unwrap()])
    else {
        unreachable!()
    };
    let saving = save.open(connection.address(), "check --fix");
    let repaired = found.repair(&connection, saving, true, Output::Json).await.unwrap();
    // The count follows from the ccids of the item, and is repaired.
    assert_eq!(repaired.findings, 1);
    let ccids = |table: &Table| table.values().map(item_parts::ccids).collect::<Vec<_>>();
    assert_eq!(ccids(&read_all(&connection).await), ccids(&before));
}

/// The item changes between the plan and the write, but the finding remains. The repair uses the changed item.
#[tokio::test(flavor = "multi_thread")]
async fn an_item_that_changes_meanwhile_is_planned_again() {
    let (database, folder) = (Embedded::in_memory().await.unwrap(), tempfile::tempdir().unwrap());
    let mut items = corrupt_tables::table(&[7; 20]);
    corrupt(&mut items, &of_kind(39));
    let connection = planted(&database, "changes", &items).await;
    let found = find(&connection, Scan::default(), None).await.unwrap();
    let [Corrupt { target: PlanTarget::Number { client_id, phone, .. }, .. }] = found.items.as_slice() else {
        panic!()
    };
    // Remove another customer of the number.
    let other = Ccid::parse("Zoë").unwrap();
    let none = Commands::parse_from(["cdm", "check", "--save", folder.path().join("removed").to_str().unwrap()]);
    let Commands::Check(Check { save, .. }) = none else { unreachable!() };
    let removed = save.open(connection.address(), "phone remove").shared();
    erase::number(&connection, client_id, &other, phone, &removed).await.unwrap();

    let saved = folder.path().join("saved");
    let fix = Commands::parse_from(["cdm", "check", "--save", saved.to_str().unwrap()]);
    let Commands::Check(Check { save, .. }) = fix else { unreachable!() };
    let before = read_all(&connection).await;
    let repaired =
        found.repair(&connection, save.open(connection.address(), "check --fix"), true, Output::Json).await.unwrap();
    // The removal already corrected the count.
    assert_eq!(repaired.findings, 1);
    let number = connection.item(items::phone_key(client_id, phone)).await.unwrap().unwrap();
    assert!(!item_parts::ccids(&number).contains("Zoë") && item_parts::ccids(&number).len() == 4);
    assert_eq!(find(&connection, Scan::default(), None).await.unwrap().checked().findings, 0);
    let Commands::Undo(undo) = Commands::parse_from(["cdm", "undo", "--yes", saved.to_str().unwrap()]) else {
        unreachable!()
    };
    undo.run(&connection, Output::Json).await.unwrap();
    assert!(same_tables(&read_all(&connection).await, &before));
}
