//! The whole command against a database: planting corruption and repairing it loses nothing, and can be undone.

use std::path::Path;

use clap::Parser;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

use super::*;
use crate::corruption::{self, KINDS, Table, assert_nothing_lost, corrupt, corruption, healthy, of_kind, place};
use crate::embedded::{Embedded, any_credentials};
use crate::undo::Undo;

#[derive(Parser)]
enum Commands {
    Check(Check),
    Undo(Undo),
}

/// A table of this name with these items.
async fn planted(database: &Embedded, name: &str, items: &Table) -> Connection {
    let connection = Connection::to(&database.endpoint(), any_credentials(), name.to_owned()).await.unwrap();
    crate::table::create(&connection.client, name).await.unwrap();
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
        table.insert(place(&item), item);
    }
    table
}

fn same_tables(a: &Table, b: &Table) -> bool {
    a.len() == b.len() && a.iter().all(|(place, item)| crate::dynamo_json::same(Some(item), b.get(place)))
}

/// `cdm check --fix`, then `cdm undo` of what it saved.
async fn repair_and_undo(database: &Embedded, folder: &Path, name: &str, corrupted: &Table, what: &str) {
    let connection = planted(database, name, corrupted).await;
    let saved = folder.join(name);
    let saved_name = saved.to_str().unwrap();
    let Commands::Check(check) = Commands::parse_from(["cdm", "check", "--fix", "--yes", "--save", saved_name]) else {
        unreachable!()
    };
    // Whether something is left for a person or not.
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
    let healthy = corruption::table(&[]);
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
