mod interrupted;
mod journal;
mod long;
mod rejects;

use std::fmt::Write as _;
use std::path::PathBuf;

use cdm_lambda::store::items;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::helpers::{CLIENT, Table, ccid, client, number, objects, path, record};

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
        "numbers_added": numbers.0, "numbers_present": numbers.1, "numbers_stopped": 0, "lines_rejected": 0, "rejects_file": null,
        "finished": true, "next_line": null,
    })
}

/// Runs an import, asserts success, and returns its summary without the name of the journal.
async fn imported(table: &Table, arguments: &[&str]) -> Value {
    let mut reported = table.json(arguments).await.remove(0);
    reported.as_object_mut().unwrap().remove("journal").unwrap();
    reported
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
         \"Zoë, 7?\",6105551214,stop,\"a \"\"b\"\"\"\r\n",
    );
    assert_eq!(imported(&table, &input.arguments()).await, summary(4, (3, 1), (3, 0)));
    let a = shown(&table, "A").await;
    assert_eq!(numbers(&a), ["+16105551212", "+16105551213"]);
    let zoe = shown(&table, "Zoë, 7?").await;
    assert_eq!(zoe["notification_channels"][0]["client_source"], "a \"b\"");
    assert_eq!(zoe["notification_channels"][0]["consent_type"], "stop");
    let before = table.items().await;
    let reported = table.done(&input.arguments()).await;
    assert_eq!(
        reported,
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

    // A line has changed since, and `--yes` agrees to import it again.
    let journal = std::fs::read(input.journal()).unwrap();
    std::fs::write(&input.file, "ccid\nB\n..\n").unwrap();
    std::fs::write(input.rejects(), "a letter\n").unwrap();
    let line = table.refused(&[&input.arguments()[..], &["--yes"]].concat()).await;
    assert!(line.contains("does not contain rejects of an import"), "{line}");
    assert_eq!(std::fs::read(input.journal()).unwrap(), journal, "the line still counts as changed");

    std::fs::remove_file(input.journal()).unwrap();
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
        let mut reported = objects(&ran.out).remove(0);
        assert_eq!((ran.code, &reported["journal"]), (0, &json!(journal)), "{ran:?}");
        reported.as_object_mut().unwrap().remove("journal");
        reported
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
    // A stream whose first line is longer than any row.
    let array = format!("[{}]\n", vec![r#"{"ccid":"A"}"#; 6_000].join(","));
    let arguments = ["customer", "import", "--client", CLIENT, "-", "--journal", "a.journal", "--rejects", "a.rejects"];
    for (files, array) in [("none", array.as_str()), ("those of a finished import", &array)] {
        let ran = table.typed(&arguments, array).await;
        assert!(ran.code == 1 && ran.err.contains("the first line is neither"), "{files}: {ran:?}");
        let folder = table.folder.path();
        let kept = ["a.journal", "a.rejects"].map(|file| std::fs::read(folder.join(file)).ok());
        if files == "none" {
            assert_eq!(kept, [None, None]);
            assert_eq!(table.typed(&arguments, "ccid\nA\n..\n").await.code, 1);
        } else {
            assert!(kept.iter().all(|file| file.as_ref().is_some_and(|bytes| !bytes.is_empty())));
        }
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
    let reported = &objects(&ran.out)[0];
    assert_eq!((&reported["lines_rejected"], &reported["numbers_added"]), (&json!(20), &json!(100)), "{ran:?}");
    let full = shown(&table, "FULL").await;
    assert_eq!(numbers(&full).last(), Some(&"+16105550049"), "the first fifty lines are in");
    assert_eq!(table.json(&["phone", "who", "--client", CLIENT, "6105559999"]).await.len(), 50);
    table.done(&["check"]).await;
}

fn lines(count: u64) -> String {
    (0..count).fold("ccid,phone_number\n".to_owned(), |mut text, n| {
        let number = if n % 20 == 0 { format!("61{:08}", n % 100_000_000) } else { String::new() };
        writeln!(text, "CUST-{n:08},{number}").unwrap();
        text
    })
}
