//! Rejected lines.

use super::{Input, numbers, shown};
use crate::helpers::{Table, objects, path};
use serde_json::json;
use std::os::unix::fs::PermissionsExt as _;

#[tokio::test(flavor = "multi_thread")]
async fn rejected_lines_go_to_a_file_with_the_reason() {
    let table = Table::demo().await;
    let long = "x".repeat(70_000);
    let mut bytes = format!(
        "{{\"ccid\":\"A\"}}\n{{\"ccid\":\"..\"}}\nnonsense\n{long}\n\
         {{\"ccid\":\"BAK-11984-050\",\"phone_numbers\":[\"6105550001\",\"6105551212\"]}}\n\
         {{\"ccid\":\"B\",\"phone_numbers\":[\"{}\",\"6105551212\"]}}\n\
         {{\"ccid\":\"CORRUPT-1\",\"phone_numbers\":[\"6105551212\"]}}\n",
        testkit::demo::PHONE_ON_50
    )
    .into_bytes();
    bytes.extend(b"{\"ccid\":\"\xff\"}\n");
    let input = Input::new("a.jsonl", bytes);
    let import = [&input.json()[..], &["--yes"]].concat();
    let ran = table.cdm(&import).await;
    assert_eq!(ran.code, 1);
    assert_eq!(ran.err, format!("cdm: 7 lines rejected: {} says why\n", path(&input.rejects())));
    let reported = &objects(&ran.out)[0];
    assert_eq!(
        (
            &reported["lines"],
            &reported["lines_rejected"],
            &reported["customers_created"],
            &reported["numbers_added"],
            &reported["numbers_present"]
        ),
        (&json!(8), &json!(7), &json!(2), &json!(1), &json!(1))
    );
    let mut rejected = input.rejected();
    rejected.sort_by_key(|row| row["line"].as_u64());
    let reasons: Vec<_> =
        rejected.iter().map(|row| (row["line"].as_u64().unwrap(), row["reason"].as_str().unwrap())).collect();
    assert_eq!(
        reasons,
        [
            (2, "ccid must not be . or .."),
            (3, "the line is not a valid row: expected ident at line 1 column 2"),
            (4, "the line is longer than 65536 bytes"),
            (5, "phone_numbers[1]: the customer already has 50 phone numbers: remove one with `cdm phone remove`"),
            (6, "phone_numbers[0]: the phone number is already on 50 customers: `cdm phone who` lists them"),
            (7, "the customer's record is corrupt: run `cdm check`"),
            (8, "the line is not UTF-8"),
        ]
    );
    assert_eq!(rejected[0]["text"], "{\"ccid\":\"..\"}");
    let mode = std::fs::metadata(input.rejects()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(numbers(&shown(&table, "B").await), ["+16105551212"], "what can go in goes in");

    // The next run keeps them. Without a journal they are replaced, or continued by a run with `--from-line`.
    table.cdm(&import).await;
    assert_eq!(input.rejected().len(), 7);
    let no_journal = [&import[..], &["--no-journal"]].concat();
    table.cdm(&no_journal).await;
    assert_eq!(input.rejected().len(), 7);
    let ran = table.cdm(&[&no_journal[..], &["--from-line", "8"]].concat()).await;
    assert_eq!((ran.code, objects(&ran.out)[0]["lines"].as_u64()), (1, Some(1)));
    assert_eq!(input.rejected().len(), 8);
}

/// A run with `--from-line` and without a journal keeps the rejects of the previous run.
#[tokio::test(flavor = "multi_thread")]
async fn the_rejects_of_a_run_without_a_journal_are_continued() {
    let table = Table::new().await;
    let input = Input::new("a.csv", "ccid\n..\n");
    table.cdm(&[&input.arguments()[..], &["--no-journal", "--yes"]].concat()).await;
    std::fs::write(&input.file, "ccid\n..\n.\n").unwrap();
    table.cdm(&[&input.arguments()[..], &["--from-line", "3", "--yes"]].concat()).await;
    let lines: Vec<_> = input.rejected().iter().map(|row| row["line"].clone()).collect();
    assert_eq!(lines, [json!(2), json!(3)]);
}

/// A kill can happen between the writes of the two files, or in the middle of a row.
#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_line_appears_once_in_the_file() {
    let table = Table::new().await;
    let input = Input::new("a.csv", "ccid\n..\n.\n");
    table.cdm(&input.arguments()).await;
    // As if the kill had happened before line 3 was in the journal, and before line 4 was complete in the
    // rejects.
    let journal = std::fs::read(input.journal()).unwrap();
    std::fs::write(input.journal(), &journal[..journal.len() - 8]).unwrap();
    let rejects = std::fs::read_to_string(input.rejects()).unwrap();
    std::fs::write(input.rejects(), format!("{rejects}{{\"line\":4,\"rea")).unwrap();
    let ran = table.cdm(&input.json()).await;
    assert_eq!(objects(&ran.out)[0]["lines_rejected"], json!(2), "{ran:?}");
    let lines: Vec<_> = input.rejected().iter().map(|row| row["line"].clone()).collect();
    assert_eq!(lines, [json!(2), json!(3)]);
}
