//! What a second run of an import does.

use super::{Input, imported, numbers, shown};
use crate::helpers::{CLIENT, Table, objects, path};
use serde_json::json;
use std::os::unix::fs::PermissionsExt as _;

/// What an operator removed or erased stays removed, however often the import runs.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_run_restores_nothing_that_was_removed() {
    let table = Table::new().await;
    let input = Input::new("a.csv", "ccid,phone_number\nA,6105551212\nB,6105551213\nC,\nD/,\n");
    assert_eq!(table.cdm(&input.arguments()).await.code, 1, "a line is rejected");
    table.done(&["phone", "remove", "--client", CLIENT, "--ccid", "A", "6105551212", "--yes"]).await;
    table.done(&["customer", "delete", "--client", CLIENT, "--ccid", "B", "--yes"]).await;
    let before = table.items().await;
    let ran = table.cdm(&input.json()).await;
    let reported = &objects(&ran.out)[0];
    assert_eq!((&reported["lines"], &reported["lines_finished_before"]), (&json!(4), &json!(4)));
    assert_eq!((ran.code, &reported["lines_rejected"]), (1, &json!(1)), "it is still rejected, and still in the file");
    assert_eq!(input.rejected().len(), 1);
    assert_eq!(table.items().await, before);

    // Only new lines are imported.
    std::fs::write(&input.file, "ccid,phone_number\nA,6105551212\nB,6105551213\nC,\nD/,\nE,6105551212\n").unwrap();
    let reported = objects(&table.cdm(&input.json()).await.out).remove(0);
    assert_eq!((&reported["lines_finished_before"], &reported["customers_created"]), (&json!(4), &json!(1)));
    assert_eq!(table.items().await.len(), before.len() + 1, "the record; the number's counter was there");
    let mode = std::fs::metadata(input.journal()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

/// Without a journal, an import cannot know what is finished. It says so and asks.
#[tokio::test(flavor = "multi_thread")]
async fn an_import_without_a_journal_asks() {
    let table = Table::new().await;
    let input = Input::new("a.csv", "ccid,phone_number\nA,6105551212\nB,6105551213\n");
    imported(&table, &input.arguments()).await;
    table.done(&["phone", "remove", "--client", CLIENT, "--ccid", "A", "6105551212", "--yes"]).await;
    let before = table.items().await;
    let no_journal = [&input.arguments()[..], &["--no-journal"]].concat();
    for answer in ["", "n\n"] {
        let ran = table.typed(&no_journal, answer).await;
        assert_eq!(ran.code, 1);
        assert!(ran.err.starts_with("Without a journal every line is imported"), "{ran:?}");
    }
    std::fs::remove_file(input.journal()).unwrap();
    for answer in ["", "n\n"] {
        let ran = table.typed(&input.arguments(), answer).await;
        assert_eq!(ran.code, 1);
        let question = format!(
            "The journal {} does not exist, but customers of this input do. If an earlier run imported this input, numbers and customers that were removed or erased since then come back. Import the file? [y/N]",
            path(&input.journal())
        );
        assert!(ran.err.starts_with(&question), "{ran:?}");
        assert!(!input.journal().exists(), "or the next run would not ask");
    }
    assert_eq!(table.items().await, before);
    // From standard input, the answer would be read as a line.
    let journal = path(&input.journal()).to_owned();
    let stdin = ["customer", "import", "--client", CLIENT, "-", "--journal", &journal];
    let ran = table.typed(&stdin, "ccid\nA\ny\n").await;
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("The journal") && ran.err.contains("Add --yes to do so"), "{ran:?}");
    assert_eq!(table.items().await, before);

    assert_eq!(table.typed(&input.arguments(), "y\n").await.code, 0);
    assert_eq!(numbers(&shown(&table, "A").await), ["+16105551212"]);
    // If all customers are new, it does not ask.
    let other = Input::new("b.csv", "ccid\nX\n");
    imported(&table, &other.arguments()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_input_is_detected() {
    let table = Table::new().await;
    let input = Input::new("a.csv", "ccid,phone_number\nA,6105551212\nb/,6105551213\nC,6105551214\n");
    assert_eq!(table.cdm(&input.arguments()).await.code, 1);
    assert_eq!(input.rejected().len(), 1);
    table.done(&["customer", "delete", "--client", CLIENT, "--ccid", "A", "--yes"]).await;
    let before = table.items().await;
    // Correct the rejected line in the file.
    std::fs::write(&input.file, "ccid,phone_number\nA,6105551212\nB,6105551213\nC,6105551214\n").unwrap();
    let ran = table.typed(&input.arguments(), "").await;
    assert_eq!(ran.code, 1);
    assert!(ran.err.starts_with(&format!("1 line of {} changed since an earlier run", path(&input.file))), "{ran:?}");
    assert_eq!((table.items().await, input.rejected().len()), (before, 1));

    let ran = table.typed(&input.json(), "y\n").await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let reported = objects(&ran.out).remove(0);
    assert_eq!((&reported["lines_finished_before"], &reported["customers_created"]), (&json!(2), &json!(1)));
    assert_eq!(input.rejected().len(), 0);
    assert_eq!(numbers(&shown(&table, "B").await), ["+16105551213"]);
    table.refused(&["customer", "show", "--client", CLIENT, "--ccid", "A"]).await;

    // A stream with another stream's journal: it cannot be read twice, so the import does not ask.
    let journal = path(&input.journal()).to_owned();
    let stdin = ["customer", "import", "--client", CLIENT, "-", "--journal", &journal];
    let ran = table.typed(&stdin, "ccid\nX\nY\n").await;
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("is the journal of another input, or the input has changed"), "{ran:?}");
    // It is also not the journal of another client's import.
    let other = ["customer", "import", "--client", "other-clinic", path(&input.file)];
    assert!(
        table.refused(&other).await.contains("is the journal of an import for demo-clinic into the table cdm-phones")
    );
}

/// As docs/operate.md describes for an erasure: the customer's line is blanked in the input file.
#[tokio::test(flavor = "multi_thread")]
async fn a_blanked_line_restores_nothing() {
    for (text, blanked) in
        [("ccid\nA\nB\n", "ccid\n\nB\n"), ("{\"ccid\":\"B\"}\n{\"ccid\":\"A\"}\n", "{\"ccid\":\"B\"}\n\n")]
    {
        let table = Table::new().await;
        let input = Input::new("a", text);
        imported(&table, &input.arguments()).await;
        table.done(&["customer", "delete", "--client", CLIENT, "--ccid", "A", "--yes", "--no-save"]).await;
        let before = table.items().await;
        std::fs::write(&input.file, blanked).unwrap();
        let ran = table.typed(&input.arguments(), "y\n").await;
        assert!(ran.code == 0 && ran.err.starts_with("1 line of"), "{ran:?}");
        table.done(&input.arguments()).await;
        table.done(&[&input.arguments()[..], &["--no-journal", "--yes"]].concat()).await;
        assert_eq!(table.items().await, before);
    }
}

/// Lines before `--from-line` keep their state: the next run without it still asks about them.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_from_a_later_line_keeps_the_state_of_earlier_lines() {
    let table = Table::new().await;
    let input = Input::new("a.csv", "ccid\nA\nB\nC\n");
    imported(&table, &input.arguments()).await;
    std::fs::write(&input.file, "ccid\nX\nB\nZ\n").unwrap();
    let from_line = [&input.arguments()[..], &["--from-line", "4"]].concat();
    let ran = table.typed(&from_line, "y\n").await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(numbers(&shown(&table, "Z").await).len(), 0);
    let before = table.items().await;
    let ran = table.typed(&input.arguments(), "").await;
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.err.starts_with(&format!("1 line of {} changed since an earlier run", path(&input.file))), "{ran:?}");
    assert_eq!(table.items().await, before);
}
