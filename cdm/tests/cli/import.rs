use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use cdm::table::connection::Connection;
use cdm_lambda::config::Endpoint;
use cdm_lambda::domain::ClientId;
use cdm_lambda::store::items;
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::embedded::any_credentials;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::helpers::{CLIENT, Table, ccid, client, number, objects, path, ran, record};
use crate::proxy::{Mode, Proxy};

/// A folder with one input file.
struct Input {
    _folder: TempDir,
    file: PathBuf,
}

impl Input {
    fn new(name: &str, text: impl AsRef<[u8]>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(name);
        std::fs::write(&file, text).unwrap();
        Self { _folder: folder, file }
    }

    fn arguments(&self) -> Vec<&str> {
        vec!["customer", "import", "--client", CLIENT, path(&self.file)]
    }

    /// The arguments for JSON output.
    fn json(&self) -> Vec<&str> {
        [&self.arguments()[..], &["--output", "json"]].concat()
    }

    fn rejects(&self) -> PathBuf {
        let mut name = self.file.clone().into_os_string();
        name.push(".rejects.jsonl");
        name.into()
    }

    fn journal(&self) -> PathBuf {
        let mut name = self.file.clone().into_os_string();
        name.push(".journal");
        name.into()
    }

    fn rejected(&self) -> Vec<Value> {
        objects(&std::fs::read_to_string(self.rejects()).unwrap())
    }
}

/// The summary of a finished import without rejects, without the name of its journal.
fn summary(lines: u64, customers: (u64, u64), numbers: (u64, u64)) -> Value {
    json!({
        "lines": lines, "lines_finished_before": 0, "customers_created": customers.0, "customers_present": customers.1,
        "numbers_added": numbers.0, "numbers_present": numbers.1, "lines_rejected": 0, "rejects_file": null,
        "finished": true, "next_line": null,
    })
}

/// Runs an import, asserts success, and returns its summary without the name of the journal.
async fn imported(table: &Table, arguments: &[&str]) -> Value {
    let mut told = table.json(arguments).await.remove(0);
    told.as_object_mut().unwrap().remove("journal").unwrap();
    told
}

async fn shown(table: &Table, ccid: &str) -> Value {
    table.json(&["customer", "show", "--client", CLIENT, "--ccid", ccid]).await.remove(0)
}

fn numbers(shown: &Value) -> Vec<&str> {
    let channels = shown["notification_channels"].as_array().unwrap();
    let mut numbers: Vec<_> = channels.iter().map(|channel| channel["channel_addr"].as_str().unwrap()).collect();
    numbers.sort_unstable();
    numbers
}

#[tokio::test(flavor = "multi_thread")]
async fn a_csv_file_is_imported_once() {
    let table = Table::new().await;
    let input = Input::new(
        "customers.csv",
        "\u{feff}ccid,phone_number,consent_type,client_source\r\n\
         A,6105551212,written,web\r\n\
         \r\n\
         A,16105551213,,\r\n\
         B,,,\r\n\
         \"Zoë, 7?\",6105551212,stop,\"a \"\"b\"\"\"\r\n",
    );
    assert_eq!(imported(&table, &input.arguments()).await, summary(4, (3, 1), (3, 0)));
    let a = shown(&table, "A").await;
    assert_eq!(numbers(&a), ["+16105551212", "+16105551213"]);
    let zoe = shown(&table, "Zoë, 7?").await;
    assert_eq!(zoe["notification_channels"][0]["client_source"], "a \"b\"");
    assert_eq!(zoe["notification_channels"][0]["consent_type"], "stop");
    let before = table.items().await;
    let told = table.done(&input.arguments()).await;
    assert_eq!(
        told,
        "4 lines (4 finished by an earlier run): 0 customers created, 0 already present; 0 numbers added, 0 already present; 0 \
         lines rejected.\n"
    );
    // Without the journal, every write finds the existing items.
    let again = [&input.arguments()[..], &["--no-journal", "--yes"]].concat();
    assert_eq!(imported(&table, &again).await, summary(4, (0, 4), (0, 3)));
    assert_eq!(table.items().await, before);
    assert!(!input.rejects().exists());
    table.done(&["check"]).await;
}

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
    let told = &objects(&ran.out)[0];
    assert_eq!((&told["lines"], &told["lines_finished_before"]), (&json!(4), &json!(4)));
    assert_eq!((ran.code, &told["lines_rejected"]), (1, &json!(1)), "it is still rejected, and still in the file");
    assert_eq!(input.rejected().len(), 1);
    assert_eq!(table.items().await, before);

    // Only new lines are imported.
    std::fs::write(&input.file, "ccid,phone_number\nA,6105551212\nB,6105551213\nC,\nD/,\nE,6105551212\n").unwrap();
    let told = objects(&table.cdm(&input.json()).await.out).remove(0);
    assert_eq!((&told["lines_finished_before"], &told["customers_created"]), (&json!(4), &json!(1)));
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
    let told = objects(&ran.out).remove(0);
    assert_eq!((&told["lines_finished_before"], &told["customers_created"]), (&json!(2), &json!(1)));
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

/// An import that cannot start leaves the files of earlier runs, and creates none.
#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_cannot_start_changes_no_file() {
    let table = Table::new().await;
    let input = Input::new("a.csv", "ccid\nA\n..\n");
    assert_eq!(table.cdm(&input.arguments()).await.code, 1);
    let rejects = std::fs::read_to_string(input.rejects()).unwrap();
    assert_eq!(input.rejected().len(), 1);
    let elsewhere = ["--yes", "--journal", "no/such/folder/journal"];
    let line = table.refused(&[&input.arguments()[..], &elsewhere].concat()).await;
    assert!(line.contains("the journal no/such/folder/journal cannot be used"), "{line}");
    assert_eq!(std::fs::read_to_string(input.rejects()).unwrap(), rejects);

    std::fs::remove_file(input.journal()).unwrap();
    std::fs::write(input.rejects(), "a letter\n").unwrap();
    let line = table.refused(&[&input.arguments()[..], &["--yes"]].concat()).await;
    assert!(line.contains("does not contain rejects of an import"), "{line}");
    assert!(!input.journal().exists(), "or the next run would not ask");
    assert_eq!(std::fs::read_to_string(input.rejects()).unwrap(), "a letter\n");
}

/// The output of `cdm customer show` can be imported, with its times.
#[tokio::test(flavor = "multi_thread")]
async fn a_shown_record_can_be_imported() {
    let table = Table::new().await;
    table.customer("A", &["6105551212", "+33612345678", "+4532123456", "+390612345678"]).await;
    let stop = ["--consent-type", "stop", "--phone-type", "mobile", "--client-source", "a desk"];
    table.done(&[&["phone", "add", "--client", CLIENT, "--ccid", "A", "+4915123456789"][..], &stop].concat()).await;
    table.customer("B", &[]).await;
    let show =
        async |ccid| table.done(&["customer", "show", "--client", CLIENT, "--ccid", ccid, "--output", "json"]).await;
    let (a, b) = (show("A").await, show("B").await);
    let input = Input::new("shown.jsonl", format!("{a}{b}"));
    for ccid in ["A", "B"] {
        table.done(&["customer", "delete", "--client", CLIENT, "--ccid", ccid, "--yes"]).await;
    }
    assert_eq!(imported(&table, &input.arguments()).await, summary(2, (2, 0), (5, 0)));
    assert_eq!((show("A").await, show("B").await), (a, b));
    table.done(&["check"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn json_lines_from_standard_input() {
    let table = Table::new().await;
    let lines = concat!(
        r#"{"ccid":"A","phone_numbers":["6105551212",{"phone_number":"0612345678","country_code":"33","phone_type":"mobile"}]}"#,
        "\n",
        r#"{"ccid":"B"}"#,
    );
    let folder = Input::new("unused", "");
    let journal = path(&folder.journal()).to_owned();
    let arguments = ["customer", "import", "--client", CLIENT, "-", "--output", "json", "--journal", &journal];
    let typed = async |input: &str| {
        let ran = table.typed(&arguments, input).await;
        let mut told = objects(&ran.out).remove(0);
        assert_eq!((ran.code, &told["journal"]), (0, &json!(journal)), "{ran:?}");
        told.as_object_mut().unwrap().remove("journal");
        told
    };
    assert_eq!(typed(lines).await, summary(2, (2, 0), (2, 0)));
    assert_eq!(numbers(&shown(&table, "A").await), ["+16105551212", "+33612345678"]);
    assert_eq!(numbers(&shown(&table, "B").await).len(), 0);
    let again = typed(lines).await;
    assert_eq!((&again["lines_finished_before"], &again["customers_present"]), (&json!(2), &json!(0)));
    assert_eq!(typed("").await, summary(0, (0, 0), (0, 0)));
    // Without an option, the journal is in the current folder, as the rejects are.
    let here = tempfile::tempdir().unwrap();
    let mut command = table.command(&["customer", "import", "--client", CLIENT, "-"]);
    command.current_dir(here.path());
    assert_eq!(crate::helpers::typed(command, "ccid\n..\n").await.code, 1);
    assert!(here.path().join("import.journal").exists() && here.path().join("import.rejects.jsonl").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn existing_records_are_not_overwritten() {
    let table = Table::new().await;
    table.put(record("A", &["6105551212"])).await;
    table.put(crate::helpers::counter("6105551212", &["A"])).await;
    let input = Input::new(
        "a.jsonl",
        r#"{"ccid":"A","phone_numbers":[{"phone_number":"6105551212","consent_type":"stop"},"6105551213"]}"#,
    );
    assert_eq!(imported(&table, &[&input.arguments()[..], &["--yes"]].concat()).await, summary(1, (0, 1), (1, 1)));
    let a = table.item(items::customer_key(&client(), &ccid("A"))).await.unwrap();
    let before = record("A", &["6105551212"]);
    assert_eq!(a[items::CREATED_AT], before[items::CREATED_AT]);
    let channel = |item: &items::Item| item[items::NOTIFICATION_CHANNELS].as_m().unwrap()["+16105551212"].clone();
    assert_eq!(channel(&a), channel(&before), "its consent and its moment are what they were");
    assert_eq!(a[items::PHONE_COUNT], number(2));
}

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
    let told = &objects(&ran.out)[0];
    assert_eq!(
        (
            &told["lines"],
            &told["lines_rejected"],
            &told["customers_created"],
            &told["numbers_added"],
            &told["numbers_present"]
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

/// An input that is not valid leaves the files of an earlier run unchanged.
#[tokio::test(flavor = "multi_thread")]
async fn an_input_that_cannot_be_read_changes_no_file() {
    let table = Table::new().await;
    let input = Input::new("a.csv", "ccid\n..\n");
    table.cdm(&input.arguments()).await;
    let kept = || [input.rejects(), input.journal()].map(|file| std::fs::read(file).unwrap());
    let before = kept();
    std::fs::rename(&input.file, input.file.with_extension("moved")).unwrap();
    for arguments in [input.arguments(), [&input.arguments()[..], &["--no-journal", "--yes"]].concat()] {
        assert!(table.refused(&arguments).await.contains("a.csv cannot be read (No such file"));
        assert_eq!(kept(), before);
        std::fs::write(&input.file, "no header, no entry\n").unwrap();
        assert!(table.refused(&arguments).await.starts_with("the first line is neither"));
        assert_eq!(kept(), before);
        std::fs::remove_file(&input.file).unwrap();
        std::fs::create_dir(&input.file).unwrap();
        assert!(table.refused(&arguments).await.contains("is a directory"));
        assert_eq!(kept(), before);
        std::fs::remove_dir(&input.file).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unrelated_file_is_not_changed() {
    let table = Table::new().await;
    let input = Input::new("a.csv", "ccid\n..\n");
    let mine = Input::new("mine.txt", "a letter\n");
    for file in [path(&mine.file), path(&input.file), "/dev/null", "/"] {
        let line = table.refused(&[&input.arguments()[..], &["--rejects", file]].concat()).await;
        assert_eq!(line, format!("{file} does not contain rejects of an import: name another file with --rejects"));
    }
    for file in [path(&mine.file), path(&input.file)] {
        let line = table.refused(&[&input.arguments()[..], &["--journal", file]].concat()).await;
        assert_eq!(line, format!("{file} is not the journal of an import: name another file with --journal"));
    }
    assert_eq!(std::fs::read_to_string(&mine.file).unwrap(), "a letter\n");
    assert_eq!(std::fs::read_to_string(&input.file).unwrap(), "ccid\n..\n");
    assert!(!input.journal().exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input() {
    let table = Table::new().await;
    for text in ["A,6105551212\n", "phone_number\n", "ccid,phone\nA,1\n", "\n", "\u{0}\n"] {
        let input = Input::new("a.csv", text);
        let line = table.refused(&input.arguments()).await;
        assert!(line.starts_with("the first line is neither a JSON object nor a CSV header"), "{text:?}: {line}");
    }
    let input = Input::new("a.csv", "ccid\n");
    let with = |extra: [&'static str; 2]| [&input.arguments()[..], &extra].concat();
    assert!(table.misused(&with(["--parallel", "0"])).await.contains("--parallel"));
    assert!(table.misused(&with(["--from-line", "0"])).await.contains("--from-line"));
    assert!(table.misused(&["customer", "import", "--client", CLIENT]).await.contains("<FILE>"));
    let import = ["customer", "import", "--client", CLIENT];
    assert!(table.refused(&[&import[..], &["/nowhere.csv"]].concat()).await.starts_with("/nowhere.csv cannot be read"));
    assert!(table.refused(&[&import[..], &["/tmp"]].concat()).await.starts_with("/tmp is a directory"));
    assert_eq!(table.items().await.len(), 0);
}

/// Many lines of few customers and numbers: the order within a customer is kept, the limits hold, the counts are
/// correct.
#[tokio::test(flavor = "multi_thread")]
async fn the_limits_hold() {
    let table = Table::new().await;
    let mut text = "ccid,phone_number\n".to_owned();
    for n in 0..60 {
        writeln!(text, "FULL,61055500{n:02}\nC{n},6105559999").unwrap();
    }
    let input = Input::new("a.csv", text);
    let ran = table.cdm(&input.json()).await;
    let told = &objects(&ran.out)[0];
    assert_eq!((&told["lines_rejected"], &told["numbers_added"]), (&json!(20), &json!(100)), "{ran:?}");
    let full = shown(&table, "FULL").await;
    assert_eq!(numbers(&full).last(), Some(&"+16105550049"), "the first fifty lines are in");
    assert_eq!(table.json(&["phone", "who", "--client", CLIENT, "6105559999"]).await.len(), 50);
    table.done(&["check"]).await;
}

/// `cdm dev` as a database in its own process.
struct Elsewhere {
    server: Child,
    url: String,
    connection: Connection,
}

impl Elsewhere {
    async fn start() -> Self {
        let mut server = Command::new(env!("CARGO_BIN_EXE_cdm"))
            .args(["dev", "--port", "0", "--dynamodb-port", "0"])
            .env_clear()
            .env("TABLE_NAME", "cdm-phones")
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
        loop {
            let line = lines.next_line().await.unwrap().unwrap();
            if let Some(rest) = line.strip_prefix("DynamoDB") {
                let url = rest.split_whitespace().next().unwrap().to_owned();
                tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
                let endpoint = Endpoint {
                    region: "us-east-1".to_owned(),
                    url: Some(url.clone()),
                    ca_bundle: None,
                    use_fips: false,
                    use_dual_stack: false,
                };
                let connection = Connection::to(&endpoint, any_credentials(), "cdm-phones".to_owned()).await.unwrap();
                return Self { server, url, connection };
            }
        }
    }

    fn cdm(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cdm"));
        command
            .args(arguments)
            .env_clear()
            .env("TABLE_NAME", "cdm-phones")
            .env("AWS_ENDPOINT_URL_DYNAMODB", &self.url)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    fn import(&self, file: &Path, client: &str) -> Command {
        self.cdm(&["customer", "import", "--client", client, path(file), "--output", "json"])
    }

    async fn has(&self, client: &str, ccid: &str) -> bool {
        let key = items::customer_key(&ClientId::parse(client).unwrap(), &self::ccid(ccid));
        self.connection.item(key).await.unwrap().is_some()
    }
}

/// The peak memory of the process, in kilobytes.
fn peak(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

fn lines(count: u64) -> String {
    (0..count).fold("ccid,phone_number\n".to_owned(), |mut text, n| {
        let number = if n % 20 == 0 { format!("61{:08}", n % 100_000_000) } else { String::new() };
        writeln!(text, "CUST-{n:08},{number}").unwrap();
        text
    })
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn twenty_thousand_lines() {
    a_long_file_takes_no_memory_and_survives_a_kill(20_000).await;
}

/// The same with more lines. In an optimized build it takes minutes:
/// `cargo test --release --package cdm --test cli -- --ignored --nocapture`
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes long, and a gigabyte for the database"]
async fn a_million_lines() {
    a_long_file_takes_no_memory_and_survives_a_kill(1_000_000).await;
}

/// A long file needs no more memory than a hundred lines. A kill loses nothing, and a second run adds nothing
/// twice. The database is in its own process.
async fn a_long_file_takes_no_memory_and_survives_a_kill(count: u64) {
    let database = Elsewhere::start().await;
    // Each poll queries the database, so that polling takes no CPU time from the import.
    let measure = async |input: &Input, client: &str, kill_when_there: Option<&str>| {
        let mut child = database.import(&input.file, client).spawn().unwrap();
        let process = child.id().unwrap();
        let mut most = 0;
        let mut is_killed = false;
        let ended = loop {
            most = most.max(peak(process).unwrap_or_default());
            if let Some(ended) = child.try_wait().unwrap() {
                break ended;
            }
            let is_there = database.has(client, kill_when_there.unwrap_or("CUST-00000000")).await;
            if is_there && kill_when_there.is_some() && !is_killed {
                child.start_kill().unwrap();
                is_killed = true;
            }
        };
        let output = child.wait_with_output().await.unwrap();
        (ended.success(), most, ran(output))
    };

    let (done, small, _) = measure(&Input::new("small.csv", lines(100)), "small", None).await;
    assert!(done);
    let input = Input::new("large.csv", lines(count));
    let (done, _, _) = measure(&input, "large", Some(&format!("CUST-{:08}", count / 5))).await;
    assert!(!done, "it was killed in the middle");
    // What is erased and removed now must not come back.
    let erase = ["customer", "delete", "--client", "large", "--ccid", "CUST-00000000", "--yes", "--no-save"];
    let remove =
        ["phone", "remove", "--client", "large", "--ccid", "CUST-00000020", "6100000020", "--yes", "--no-save"];
    for command in [&erase[..], &remove] {
        let ran = ran(database.cdm(command).output().await.unwrap());
        assert_eq!(ran.code, 0, "{ran:?}");
    }
    let (done, _, _) = measure(&input, "large", Some("CUST-00000001")).await;
    assert!(!done, "it was killed again");
    let (done, large, ran) = measure(&input, "large", None).await;
    assert!(done, "{ran:?}");
    let told = &objects(&ran.out)[0];
    let figure = |name: &str| told[name].as_u64().unwrap();
    let (before, created, present) =
        (figure("lines_finished_before"), figure("customers_created"), figure("customers_present"));
    assert_eq!((figure("lines"), before + created + present), (count, count), "each line is finished once");
    assert!(before > count / 10 && created > 0, "{told}");
    // A line that was written but not yet in the journal at the kill is imported again, and finds its own items.
    assert!(present <= 2 * 128, "no more lines are under way at a time: {told}");
    let figures = format!("peak memory: {small} kB for 100 lines, {large} kB for {count}");
    println!("{figures}\n{told}");
    assert!(large < small + 8 * 1024, "{figures}");
    assert!(!database.has("large", "CUST-00000000").await, "what was erased is back");
    let who = ["phone", "who", "--client", "large", "6100000020", "--output", "json"];
    assert_eq!(self::ran(database.cdm(&who).output().await.unwrap()).out, "", "what was removed is back");

    let checked = self::ran(database.cdm(&["check"]).output().await.unwrap()).out;
    let expected = format!("{} customers, {} phone numbers and 4 keys checked", count + 156, count / 20 + 57);
    assert!(checked.contains(&expected), "{checked}");
    assert!(checked.contains("1 finding."), "only the demo data's own: {checked}");
    drop(database.server);
}

/// On Ctrl-C or SIGTERM, lines in progress are finished, and the summary says where to continue.
#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_import_is_finished_by_the_next_run() {
    for signal in ["INT", "TERM"] {
        let table = Table::new().await;
        let input = Input::new("a.csv", lines(2_000));
        let mut command = table.command(&input.json());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let process = child.id().unwrap().to_string();
        let first = items::customer_key(&client(), &ccid("CUST-00000300"));
        while table.item(first.clone()).await.is_none() {
            assert_eq!(child.try_wait().unwrap(), None, "it ended too soon");
        }
        assert!(Command::new("kill").args([&format!("-{signal}"), &process]).status().await.unwrap().success());
        let stopped = ran(child.wait_with_output().await.unwrap());
        assert_eq!(stopped.code, 1, "{stopped:?}");
        let told = objects(&stopped.out).remove(0);
        assert_eq!(told["finished"], json!(false));
        let next = told["next_line"].as_u64().unwrap();
        assert_eq!(told["lines"].as_u64().unwrap(), next - 2, "the header and what comes next are not among them");
        assert_eq!(stopped.err.lines().last().unwrap(), "cdm: stopped: run the same command again to finish");
        assert_eq!(
            table.items().await.iter().filter(|item| item["sk"].as_s().unwrap() == "CUSTOMER").count() as u64,
            next - 2
        );

        let rest = table.json(&input.arguments()).await.remove(0);
        assert_eq!((&rest["lines_finished_before"], &rest["customers_present"]), (&json!(next - 2), &json!(0)));
        assert_eq!(rest["customers_created"], json!(2_002 - next));
        let from_line = ["--no-journal", "--yes", "--from-line", &next.to_string()];
        let again = imported(&table, &[&input.arguments()[..], &from_line].concat()).await;
        assert_eq!((&again["lines"], &again["customers_present"]), (&json!(2_002 - next), &json!(2_002 - next)));
        table.done(&["check"]).await;
    }
}

/// A throttled table, lost responses and lost connections are not the lines' fault. The lines wait until they pass.
#[tokio::test(flavor = "multi_thread")]
async fn an_import_waits_for_a_failing_database() {
    for mode in [Mode::Throttle, Mode::LoseResponses, Mode::Unreachable] {
        let table = Table::new().await;
        let proxy = Proxy::before(table.environment()[0].1).await;
        let input = Input::new("a.csv", lines(400));
        let mut command = table.command(&input.json());
        command.env("AWS_ENDPOINT_URL_DYNAMODB", &proxy.url).stdout(Stdio::piped()).stderr(Stdio::piped());
        proxy.set(mode, 50);
        let child = command.spawn().unwrap();
        proxy.disturbed(100).await;
        proxy.set(Mode::Forward, 0);
        let ran = ran(child.wait_with_output().await.unwrap());
        assert_eq!(ran.code, 0, "{mode:?}: {ran:?}");
        assert!(
            ran.err.starts_with("DynamoDB throttles the writes or does not respond: retrying"),
            "{mode:?}: {ran:?}"
        );
        let told = objects(&ran.out).remove(0);
        assert_eq!((&told["lines"], &told["lines_rejected"]), (&json!(400), &json!(0)), "{mode:?}");
        assert_eq!(told["customers_created"], json!(400), "one whose response was lost is known again");
        assert!(!input.rejects().exists());
        table.done(&["check"]).await;
        let records = table.items().await.iter().filter(|item| item["sk"].as_s().unwrap() == "CUSTOMER").count();
        assert_eq!((records, table.items().await.len()), (400, 420), "{mode:?}");
    }
}

/// The function's own write gives up after a while and reports that it wrote nothing. The line must not be
/// rejected.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_gives_up_is_repeated() {
    let table = Table::new().await;
    let proxy = Proxy::before(table.environment()[0].1).await;
    let mut text = "ccid,phone_number\n".to_owned();
    for n in 0..40 {
        writeln!(text, "C{n},61055500{n:02}").unwrap();
    }
    let input = Input::new("a.csv", text);
    let mut command = table.command(&input.json());
    command.env("AWS_ENDPOINT_URL_DYNAMODB", &proxy.url).stdout(Stdio::piped()).stderr(Stdio::piped());
    proxy.set(Mode::ThrottleItems, 0);
    let child = command.spawn().unwrap();
    // 32 lines at once, and about eight attempts before each of them gives up.
    proxy.disturbed(500).await;
    proxy.set(Mode::Forward, 0);
    let ran = ran(child.wait_with_output().await.unwrap());
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.err.starts_with("DynamoDB throttles the writes or does not respond: retrying"), "{ran:?}");
    let told = objects(&ran.out).remove(0);
    assert_eq!((&told["numbers_added"], &told["lines_rejected"]), (&json!(40), &json!(0)));
    assert!(!input.rejects().exists());
    table.done(&["check"]).await;
}

/// The operator stops an import that waits. Its lines are unfinished, and the next run imports them.
#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_waits_can_be_stopped() {
    let table = Table::new().await;
    let proxy = Proxy::before(table.environment()[0].1).await;
    let input = Input::new("a.csv", lines(400));
    let import = || {
        let mut command = table.command(&input.json());
        command.env("AWS_ENDPOINT_URL_DYNAMODB", &proxy.url).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    };
    proxy.set(Mode::Throttle, 100);
    let child = import().spawn().unwrap();
    let process = child.id().unwrap().to_string();
    proxy.disturbed(50).await;
    assert!(Command::new("kill").args(["-INT", &process]).status().await.unwrap().success());
    let stopped = ran(child.wait_with_output().await.unwrap());
    assert_eq!(stopped.code, 1, "{stopped:?}");
    let told = objects(&stopped.out).remove(0);
    assert_eq!((&told["finished"], &told["lines_rejected"]), (&json!(false), &json!(0)));
    assert!(stopped.err.ends_with("cdm: stopped: run the same command again to finish\n"), "{stopped:?}");
    assert!(!input.rejects().exists());

    proxy.set(Mode::Forward, 0);
    let rest = ran(import().output().await.unwrap());
    assert_eq!(rest.code, 0, "{rest:?}");
    let rest = objects(&rest.out).remove(0);
    assert_eq!(rest["lines_finished_before"], told["lines"]);
    // A record may have been created when its number had to wait.
    let figure = |summary: &Value, name: &str| summary[name].as_u64().unwrap();
    let done = figure(&rest, "customers_created") + figure(&rest, "customers_present");
    assert_eq!(done, 400 - figure(&told, "lines"));
    table.done(&["check"]).await;
}

/// A failure that does not pass ends the import at once, and rejects no line.
#[tokio::test(flavor = "multi_thread")]
async fn a_missing_table_stops_the_import() {
    let table = Table::new().await;
    let input = Input::new("a.csv", "ccid\nA\n");
    let arguments = [&["--table", "no-such-table"][..], &input.arguments(), &["--yes"]].concat();
    let ran = table.cdm(&arguments).await;
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("the table no-such-table does not exist here"), "{ran:?}");
    assert!(!input.rejects().exists());
}
