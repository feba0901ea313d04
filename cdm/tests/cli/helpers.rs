//! A table, and `cdm` run against it.

use std::collections::HashMap;
use std::path::Path;
use std::process::Stdio;

use aws_sdk_dynamodb::types::AttributeValue;
use cdm::table::connection::Connection;
use cdm_lambda::domain::{Ccid, Channel, ClientId, CountryCode, Digits, Phone};
use cdm_lambda::store::items::{self, Item};
use cdm_lambda::time::UnixMillis;
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use testkit::database::Database;

pub(crate) const CLIENT: &str = "demo-clinic";

/// A table in its own database.
pub(crate) struct Table {
    database: Database,
    pub(crate) connection: Connection,
    /// The current folder of its commands.
    pub(crate) folder: tempfile::TempDir,
}

/// The result of a command.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Table {
    /// An empty table.
    pub(crate) async fn new() -> Self {
        let database = Database::start().await;
        let connection =
            Connection::to(&database.endpoint(), database.credentials(), "cdm-phones".to_owned()).await.unwrap();
        testkit::create_table(&connection.client, "cdm-phones").await.unwrap();
        Self { database, connection, folder: tempfile::tempdir().unwrap() }
    }

    /// A table with the demo data, which has one corrupt record.
    pub(crate) async fn demo() -> Self {
        let table = Self::new().await;
        testkit::demo::seed(&table.connection.client, "cdm-phones").await.unwrap();
        table
    }

    /// The environment variables that lead a command to the table.
    pub(crate) fn environment(&self) -> [(&str, &str); 4] {
        [
            ("AWS_ENDPOINT_URL_DYNAMODB", self.database.url()),
            ("AWS_ACCESS_KEY_ID", self.database.access_key()),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
            ("TABLE_NAME", "cdm-phones"),
        ]
    }

    /// `cdm` with this table in its environment.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cdm"));
        command.args(arguments).env_clear().envs(self.environment()).stdin(Stdio::null()).kill_on_drop(true);
        command.current_dir(self.folder.path());
        command
    }

    pub(crate) async fn cdm(&self, arguments: &[&str]) -> Ran {
        ran(self.command(arguments).output().await.unwrap())
    }

    /// Asserts success, and returns the output.
    pub(crate) async fn done(&self, arguments: &[&str]) -> String {
        let ran = self.cdm(arguments).await;
        assert_eq!(ran.code, 0, "{arguments:?}: {ran:?}");
        ran.out
    }

    /// Asserts success, and returns each printed object.
    pub(crate) async fn json(&self, arguments: &[&str]) -> Vec<Value> {
        let out = self.done(&[arguments, &["--output", "json"]].concat()).await;
        objects(&out)
    }

    /// Asserts a failure with one line, and returns it.
    pub(crate) async fn refused(&self, arguments: &[&str]) -> String {
        let ran = self.cdm(arguments).await;
        assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{arguments:?}: {ran:?}");
        one_line(&ran.err)
    }

    /// Asserts a usage error with one line, and returns it.
    pub(crate) async fn misused(&self, arguments: &[&str]) -> String {
        let ran = self.cdm(arguments).await;
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{arguments:?}: {ran:?}");
        one_line(&ran.err)
    }

    /// Runs the command with this standard input.
    pub(crate) async fn typed(&self, arguments: &[&str], input: &str) -> Ran {
        typed(self.command(arguments), input).await
    }

    pub(crate) async fn put(&self, item: Item) {
        self.connection.client.put_item().table_name("cdm-phones").set_item(Some(item)).send().await.unwrap();
    }

    pub(crate) async fn item(&self, key: Item) -> Option<Item> {
        self.connection.item(key).await.unwrap()
    }

    /// Every item of the table.
    pub(crate) async fn items(&self) -> Vec<Item> {
        let mut pages = self.connection.client.scan().table_name("cdm-phones").into_paginator().items().send();
        let mut items = Vec::new();
        while let Some(item) = pages.next().await {
            items.push(item.unwrap());
        }
        items
    }

    /// Every item of the table, sorted by key, with sorted sets.
    pub(crate) async fn sorted(&self) -> Vec<Item> {
        let mut items = self.items().await;
        for item in &mut items {
            if let Some(AttributeValue::Ss(ccids)) = item.get_mut(items::CCIDS) {
                ccids.sort();
            }
        }
        items.sort_by_key(|item| (item["pk"].as_s().unwrap().clone(), item["sk"].as_s().unwrap().clone()));
        items
    }

    /// Stores a record and the counters of its numbers, as adds would store them.
    pub(crate) async fn customer(&self, ccid: &str, numbers: &[&str]) {
        self.done(&["customer", "create", "--client", CLIENT, "--ccid", ccid]).await;
        for number in numbers {
            self.done(&["phone", "add", "--client", CLIENT, "--ccid", ccid, number]).await;
        }
    }
}

/// Runs a command with this standard input.
pub(crate) async fn typed(mut command: Command, input: &str) -> Ran {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // After a usage error, the command may end before it reads.
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    ran(child.wait_with_output().await.unwrap())
}

pub(crate) fn ran(output: std::process::Output) -> Ran {
    Ran {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

pub(crate) fn objects(out: &str) -> Vec<Value> {
    out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The line, without the prefix of every error.
pub(crate) fn one_line(err: &str) -> String {
    assert_eq!(err.lines().count(), 1, "{err:?}");
    err.trim_end().strip_prefix("cdm: ").unwrap().to_owned()
}

pub(crate) fn client() -> ClientId {
    ClientId::parse(CLIENT).unwrap()
}

pub(crate) fn ccid(text: &str) -> Ccid {
    Ccid::parse(text).unwrap()
}

pub(crate) fn phone(digits: &str) -> Phone {
    Phone::new(Digits::parse(digits).unwrap(), CountryCode::default()).unwrap()
}

pub(crate) fn channel(digits: &str) -> Channel {
    Channel::new(phone(digits), UnixMillis::new(1_732_003_200_000).unwrap())
}

/// A record with these numbers, as it is stored.
pub(crate) fn record(ccid: &str, numbers: &[&str]) -> Item {
    let mut record = items::empty_record(&client(), &self::ccid(ccid), UnixMillis::new(1_732_003_200_000).unwrap());
    let channels: HashMap<_, _> =
        numbers.iter().map(|number| (phone(number).e164().to_owned(), items::from_channel(&channel(number)))).collect();
    record.insert(items::PHONE_COUNT.to_owned(), number(channels.len()));
    record.insert(items::NOTIFICATION_CHANNELS.to_owned(), AttributeValue::M(channels));
    record
}

/// A number's counter with these customers, as it is stored.
pub(crate) fn counter(digits: &str, ccids: &[&str]) -> Item {
    let mut counter = items::phone_key(&client(), &phone(digits));
    counter.insert(items::CCID_COUNT.to_owned(), number(ccids.len()));
    if !ccids.is_empty() {
        let ccids = ccids.iter().map(|ccid| (*ccid).to_owned()).collect();
        counter.insert(items::CCIDS.to_owned(), AttributeValue::Ss(ccids));
    }
    counter
}

pub(crate) fn number(number: usize) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

pub(crate) fn text(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}

pub(crate) fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}
