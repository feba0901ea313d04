mod corruptions;
mod evidence;
mod load;

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use cdm::commands::check::{Checked, check};
use cdm::table::scan::Scan;
use cdm::ui::output::Output;
use cdm_lambda::auth::ApiKey;
use cdm_lambda::store::items::{self, Item};
use serde_json::Value;

use crate::helpers::{CLIENT, Ran, Table, client, counter, number, objects, one_line, phone, record, text};

/// Runs `cdm check --output json`, and returns its findings and how it ended.
async fn findings(table: &Table, extra: &[&str]) -> (Vec<Value>, Ran) {
    let ran = table.cdm(&[&["check", "--output", "json"], extra].concat()).await;
    (objects(&ran.out), ran)
}

fn sorted(mut items: Vec<Item>) -> Vec<Item> {
    for item in &mut items {
        if let Some(AttributeValue::Ss(ccids)) = item.get_mut(items::CCIDS) {
            ccids.sort();
        }
    }
    items.sort_by_key(|item| (item["pk"].as_s().unwrap().clone(), item["sk"].as_s().unwrap().clone()));
    items
}

fn kinds(rows: &[Value]) -> Vec<&str> {
    let mut kinds: Vec<_> = rows.iter().map(|row| row["finding"].as_str().unwrap()).collect();
    kinds.sort_unstable();
    kinds
}

fn with(mut item: Item, name: &str, value: Option<AttributeValue>) -> Item {
    match value {
        Some(value) => item.insert(name.to_owned(), value),
        None => item.remove(name),
    };
    item
}

fn channels(record: Item, change: impl Fn(&mut Item)) -> Item {
    let mut channels = record[items::NOTIFICATION_CHANNELS].as_m().unwrap().clone();
    change(&mut channels);
    let count = number(channels.len());
    let record = with(record, items::NOTIFICATION_CHANNELS, Some(AttributeValue::M(channels)));
    with(record, items::PHONE_COUNT, Some(count))
}

fn key(name: &str, value: Option<AttributeValue>) -> Item {
    let mut item = items::api_key_key(&ApiKey::from_secret(&[7; 32]).sha256_hex());
    item.insert(items::CLIENT_ID.to_owned(), text(CLIENT));
    item.insert(items::LABEL.to_owned(), text(""));
    item.insert(items::CREATED_AT.to_owned(), number(1));
    with(item, name, value)
}

fn at(pk: &str, sk: &str) -> Item {
    HashMap::from([("pk".to_owned(), text(pk)), ("sk".to_owned(), text(sk))])
}

const ONE: &str = "6105551212";

#[tokio::test(flavor = "multi_thread")]
async fn numbers_without_customers_are_not_corrupt() {
    let table = Table::new().await;
    table.customer("A", &[ONE]).await;
    table.done(&["phone", "remove", "--client", CLIENT, "--ccid", "A", ONE, "--yes"]).await;
    let key = items::phone_key(&client(), &phone(ONE));
    assert_eq!(
        table.done(&["check"]).await,
        "1 customer, 1 phone number and 0 keys checked; 0 pairs read, 0 of them again; 1 number without customers (not \
         corrupt; --fix deletes them); 0 findings.\n"
    );
    assert!(table.item(key.clone()).await.is_some());
    table.done(&["check", "--fix", "--yes"]).await;
    assert_eq!(table.item(key).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_data_has_one_corrupt_record() {
    let table = Table::demo().await;
    for segments in ["1", "3", "100"] {
        let ran = table.cdm(&["check", "--segments", segments]).await;
        assert_eq!(ran.code, 1);
        assert_eq!(one_line(&ran.err), "1 finding: `cdm check --fix` repairs 1");
        let expected = "\
customer_channels: notification_channels is not a map
  partition key CLIENT#demo-clinic#CUSTOMER#CORRUPT-1, sort key CUSTOMER
  --fix: notification_channels made an empty map
57 customers, 53 phone numbers and 4 keys checked; 199 pairs read, 0 of them again; 0 numbers without customers (not corrupt; --fix deletes them); 1 finding.
";
        assert_eq!(ran.out, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_plan_is_shown_before_it_asks() {
    let table = Table::demo().await;
    let before = table.sorted().await;
    for (input, code) in [("", 1), ("n\n", 1), ("y\n", 0)] {
        let ran = table.typed(&["check", "--fix", "--save", "saved.jsonl"], input).await;
        assert_eq!(ran.code, code, "{ran:?}");
        assert!(ran.out.contains("--fix: notification_channels made an empty map"), "{ran:?}");
        let question = "Repair 1 finding in the table cdm-phones and delete 0 numbers without customers? [y/N]";
        assert!(ran.err.starts_with(question), "{ran:?}");
        assert_eq!(table.sorted().await == before, code == 1);
        assert_eq!(table.folder.path().join("saved.jsonl").exists(), code == 0, "no file without a change");
    }
    // With nothing to repair, it does not ask.
    assert_eq!(table.cdm(&["check", "--fix"]).await.code, 0);
    let line = table.misused(&["check", "--segments", "0"]).await;
    assert!(line.contains("--segments"));
}

/// Each segment has ten pages and more.
#[tokio::test(flavor = "multi_thread")]
async fn every_page_is_read() {
    let table = Table::new().await;
    let names: Vec<_> = (0..300).map(|n| format!("C{n}")).collect();
    for name in &names {
        table.put(record(name, &[])).await;
    }
    let scan = Scan { segments: 3, page: 7, ..Scan::default() };
    let checked = check(&table.connection, scan, Output::Json).await.unwrap();
    assert_eq!(checked, Checked { customers: 300, ..Checked::default() });
}

/// Ctrl-C keeps the progress, and the same command continues from there.
#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_keeps_the_progress() {
    use std::os::unix::fs::PermissionsExt as _;

    use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};

    let table = Table::demo().await;
    let whole = table.cdm(&["check"]).await;
    let resume = ["check", "--resume", "check.state"];
    // With one read unit per second it does not finish.
    let mut command = table.command(&[&resume[..], &["--read-units", "1"]].concat());
    let mut child = command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let mut err = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    err.read_line(&mut line).await.unwrap();
    assert_eq!(line, "Press Ctrl-C to stop the scan. To continue, run the same command again.\n");
    let pid = child.id().unwrap().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    assert_eq!(child.wait().await.unwrap().code(), Some(1));
    let mut rest = String::new();
    err.read_to_string(&mut rest).await.unwrap();
    assert_eq!(one_line(&rest), "interrupted: run the same command again to continue");

    let state = table.folder.path().join("check.state");
    assert_eq!(state.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let line = table.cdm(&[&resume[..], &["--table", "another"]].concat()).await;
    assert!(line.err.contains("is of the table cdm-phones"), "{line:?}");
    let resumed = table.cdm(&resume).await;
    assert_eq!((resumed.code, &resumed.out), (whole.code, &whole.out));
    assert!(resumed.err.starts_with("This check continues a scan that began 20"), "{resumed:?}");
    assert!(!state.exists(), "the check is complete");
}

/// Only the scan can be continued. Afterwards Ctrl-C ends the command, as it ends every other command.
#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_ends_a_check_that_waits_for_an_answer() {
    use tokio::io::AsyncReadExt as _;

    for signal in ["-INT", "-TERM"] {
        let table = Table::demo().await;
        let before = table.sorted().await;
        let mut command = table.command(&["check", "--fix", "--resume", "check.state"]);
        command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::null());
        let mut child = command.stderr(std::process::Stdio::piped()).spawn().unwrap();
        let (mut err, mut seen) = (child.stderr.take().unwrap(), Vec::new());
        while !seen.ends_with(b"[y/N] ") {
            seen.push(err.read_u8().await.unwrap());
        }
        let pid = child.id().unwrap().to_string();
        assert!(std::process::Command::new("kill").args([signal, &pid]).status().unwrap().success());
        assert_eq!(child.wait().await.unwrap().code(), Some(1), "{signal}");
        assert_eq!(table.sorted().await, before);
    }
}

/// A finished reading is out of date, so the next run reads the table again, whatever became of the first run.
#[tokio::test(flavor = "multi_thread")]
async fn a_finished_reading_is_not_used_again() {
    let table = Table::demo().await;
    let ran = table.typed(&["check", "--fix", "--resume", "check.state"], "n\n").await;
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(!table.folder.path().join("check.state").exists(), "there is nothing to continue");
    let mut corrupt = record("A", &[]);
    corrupt.insert(items::PHONE_COUNT.to_owned(), number(7));
    table.put(corrupt).await;
    let (rows, ran) = findings(&table, &["--resume", "check.state"]).await;
    assert_eq!((kinds(&rows), ran.code), (vec!["customer_channels", "customer_phone_count"], 1), "{ran:?}");
}

/// `--ccid -` reads standard input, so the commands of a finding about the customer `-` write the ccid there.
#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn the_commands_for_a_ccid_that_is_a_hyphen_work() {
    let table = Table::new().await;
    table.put(counter(ONE, &["-", "B"])).await;
    table.put(record("B", &[ONE])).await;
    table.put(record("-", &[])).await;
    let (rows, _) = findings(&table, &[]).await;
    assert_eq!(kinds(&rows), ["ccid_without_channel"]);
    let command = rows[0]["commands"][0].as_str().unwrap();
    assert!(command.starts_with("printf '%s\\n' - | cdm phone remove "), "{command}");
    let folder = std::path::Path::new(env!("CARGO_BIN_EXE_cdm")).parent().unwrap();
    let mut shell = tokio::process::Command::new("sh");
    shell.args(["-c", command]).env("PATH", format!("{}:/usr/bin:/bin", folder.display())).envs(table.environment());
    let ran = crate::helpers::ran(shell.current_dir(table.folder.path()).output().await.unwrap());
    assert_eq!(ran.code, 0, "{ran:?}");
    table.done(&["check"]).await;
}
