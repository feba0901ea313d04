//! A long file: memory, kills, and a database in another process.

use super::{Input, lines};
use crate::helpers::{ccid, objects, path, ran};
use cdm::table::connection::Connection;
use cdm_lambda::config::Endpoint;
use cdm_lambda::domain::ClientId;
use cdm_lambda::store::items;
use std::path::Path;
use std::process::Stdio;
use testkit::embedded::any_credentials;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

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

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_lines() {
    a_long_file_takes_no_memory_and_survives_a_kill(10_000).await;
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
    // Each poll waits for a query, so that the loop does not compete with the import.
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
    let reported = &objects(&ran.out)[0];
    let figure = |name: &str| reported[name].as_u64().unwrap();
    let (before, created, present) =
        (figure("lines_finished_before"), figure("customers_created"), figure("customers_present"));
    assert_eq!((figure("lines"), before + created + present), (count, count), "each line is finished once");
    assert!(before > count / 10 && created > 0, "{reported}");
    // A line that was written but not yet in the journal at the kill is imported again, and finds its own items.
    assert!(present <= 2 * 128, "no more lines are under way at a time: {reported}");
    let figures = format!("peak memory: {small} kB for 100 lines, {large} kB for {count}");
    println!("{figures}\n{reported}");
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
