use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use cdm::connection::Connection;
use cdm::embedded::any_credentials;
use cdm_lambda::config::Endpoint;
use cdm_lambda::domain::ClientId;
use cdm_lambda::store::items;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::helpers::{CLIENT, Table, ccid, client, number, objects, path, ran, record};

/// A folder with one file in it.
struct Input {
    _folder: TempDir,
    file: PathBuf,
}

impl Input {
    fn of(name: &str, text: impl AsRef<[u8]>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(name);
        std::fs::write(&file, text).unwrap();
        Self { _folder: folder, file }
    }

    fn arguments(&self) -> Vec<&str> {
        vec!["customer", "import", "--client", CLIENT, path(&self.file)]
    }

    /// The same, for programs.
    fn json(&self) -> Vec<&str> {
        [&self.arguments()[..], &["--output", "json"]].concat()
    }

    fn rejects(&self) -> PathBuf {
        let mut name = self.file.clone().into_os_string();
        name.push(".rejects.jsonl");
        name.into()
    }

    fn rejected(&self) -> Vec<Value> {
        objects(&std::fs::read_to_string(self.rejects()).unwrap())
    }
}

fn summary(lines: u64, customers: (u64, u64), numbers: (u64, u64)) -> Value {
    json!({
        "lines": lines, "customers_created": customers.0, "customers_present": customers.1, "numbers_added": numbers.0,
        "numbers_present": numbers.1, "lines_rejected": 0, "rejects_file": null, "finished": true, "next_line": null,
    })
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
async fn csv_twice() {
    let table = Table::new().await;
    let input = Input::of(
        "customers.csv",
        "\u{feff}ccid,phone_number,consent_type,client_source\r\n\
         A,6105551212,written,web\r\n\
         \r\n\
         A,16105551213,,\r\n\
         B,,,\r\n\
         \"Zoë, 7?\",6105551212,stop,\"a \"\"b\"\"\"\r\n",
    );
    assert_eq!(table.json(&input.arguments()).await, [summary(4, (3, 1), (3, 0))]);
    let a = shown(&table, "A").await;
    assert_eq!(numbers(&a), ["+16105551212", "+16105551213"]);
    let zoe = shown(&table, "Zoë, 7?").await;
    assert_eq!(zoe["notification_channels"][0]["client_source"], "a \"b\"");
    assert_eq!(zoe["notification_channels"][0]["consent_type"], "stop");
    let before = table.items().await;
    assert_eq!(table.json(&input.arguments()).await, [summary(4, (0, 4), (0, 3))], "the second run changes nothing");
    assert_eq!(table.items().await, before);
    assert!(!input.rejects().exists());
    table.done(&["check"]).await;
    let told = table.done(&input.arguments()).await;
    assert_eq!(
        told,
        "4 lines: 0 customers created, 4 there already; 0 numbers added, 3 there already; 0 lines rejected.\n"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn json_lines_from_standard_input() {
    let table = Table::new().await;
    let lines = concat!(
        r#"{"ccid":"A","phone_numbers":["6105551212",{"phone_number":"0612345678","country_code":"33","phone_type":"mobile"}]}"#,
        "\n",
        r#"{"ccid":"B"}"#,
    );
    let arguments = ["customer", "import", "--client", CLIENT, "-", "--output", "json"];
    let ran = table.typed(&arguments, lines).await;
    assert_eq!((ran.code, objects(&ran.out)), (0, vec![summary(2, (2, 0), (2, 0))]), "{ran:?}");
    assert_eq!(numbers(&shown(&table, "A").await), ["+16105551212", "+33612345678"]);
    assert_eq!(numbers(&shown(&table, "B").await).len(), 0);
    assert_eq!(objects(&table.typed(&arguments, "").await.out), [summary(0, (0, 0), (0, 0))]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_there_is_not_overwritten() {
    let table = Table::new().await;
    table.put(record("A", &["6105551212"])).await;
    table.put(crate::helpers::counter("6105551212", &["A"])).await;
    let input = Input::of(
        "a.jsonl",
        r#"{"ccid":"A","phone_numbers":[{"phone_number":"6105551212","consent_type":"stop"},"6105551213"]}"#,
    );
    assert_eq!(table.json(&input.arguments()).await, [summary(1, (0, 1), (1, 1))]);
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
         {{\"ccid\":\"DAMAGED-1\",\"phone_numbers\":[\"6105551212\"]}}\n",
        cdm::demo::PHONE_ON_50
    )
    .into_bytes();
    bytes.extend(b"{\"ccid\":\"\xff\"}\n");
    let input = Input::of("a.jsonl", bytes);
    let ran = table.cdm(&input.json()).await;
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
            (3, "the line is no entry: expected ident at line 1 column 2"),
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

    // Its own rejects are replaced by the next run, and continued by one that goes on.
    table.cdm(&input.json()).await;
    assert_eq!(input.rejected().len(), 7);
    let ran = table.cdm(&[&input.json()[..], &["--from-line", "8"]].concat()).await;
    assert_eq!((ran.code, objects(&ran.out)[0]["lines"].as_u64()), (1, Some(1)));
    assert_eq!(input.rejected().len(), 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_not_its_own_is_not_touched() {
    let table = Table::new().await;
    let input = Input::of("a.csv", "ccid\n..\n");
    let mine = Input::of("mine.txt", "a letter\n");
    for file in [path(&mine.file), path(&input.file), "/dev/null", "/"] {
        let line = table.refused(&[&input.arguments()[..], &["--rejects", file]].concat()).await;
        assert_eq!(
            line,
            format!("{file} is there and holds no rejects of an import: name another file with --rejects")
        );
    }
    assert_eq!(std::fs::read_to_string(&mine.file).unwrap(), "a letter\n");
    assert_eq!(std::fs::read_to_string(&input.file).unwrap(), "ccid\n..\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input() {
    let table = Table::new().await;
    for text in ["A,6105551212\n", "phone_number\n", "ccid,phone\nA,1\n", "\n", "\u{0}\n"] {
        let input = Input::of("a.csv", text);
        let line = table.refused(&input.arguments()).await;
        assert!(line.starts_with("the first line is neither a JSON object nor a CSV header"), "{text:?}: {line}");
    }
    let input = Input::of("a.csv", "ccid\n");
    let with = |extra: [&'static str; 2]| [&input.arguments()[..], &extra].concat();
    assert!(table.misused(&with(["--parallel", "0"])).await.contains("--parallel"));
    assert!(table.misused(&with(["--from-line", "0"])).await.contains("--from-line"));
    assert!(table.misused(&["customer", "import", "--client", CLIENT]).await.contains("<FILE>"));
    let import = ["customer", "import", "--client", CLIENT];
    assert!(table.refused(&[&import[..], &["/nowhere.csv"]].concat()).await.starts_with("/nowhere.csv cannot be read"));
    assert!(table.refused(&[&import[..], &["/tmp"]].concat()).await.starts_with("/tmp is a directory"));
    assert_eq!(table.items().await.len(), 0);
}

/// Many lines of few customers and numbers: the order within a customer is kept, the limits hold, the counts agree.
#[tokio::test(flavor = "multi_thread")]
async fn the_limits_hold() {
    let table = Table::new().await;
    let mut text = "ccid,phone_number\n".to_owned();
    for n in 0..60 {
        writeln!(text, "FULL,61055500{n:02}\nC{n},6105559999").unwrap();
    }
    let input = Input::of("a.csv", text);
    let ran = table.cdm(&input.json()).await;
    let told = &objects(&ran.out)[0];
    assert_eq!((&told["lines_rejected"], &told["numbers_added"]), (&json!(20), &json!(100)), "{ran:?}");
    let full = shown(&table, "FULL").await;
    assert_eq!(numbers(&full).last(), Some(&"+16105550049"), "the first fifty lines are in");
    assert_eq!(table.json(&["phone", "who", "--client", CLIENT, "6105559999"]).await.len(), 50);
    table.done(&["check"]).await;
}

/// `cdm dev` as a database in a process of its own.
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

/// The most memory that the process has held so far, in kilobytes.
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

/// The same at length. In an optimised build it takes minutes:
/// `cargo test --release --package cdm --test cli -- --ignored --nocapture`
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes long, and a gigabyte for the database"]
async fn a_million_lines() {
    a_long_file_takes_no_memory_and_survives_a_kill(1_000_000).await;
}

/// A long file takes no more memory than a hundred lines; a kill in the middle loses nothing, a second run doubles
/// nothing. The database is in a process of its own.
async fn a_long_file_takes_no_memory_and_survives_a_kill(count: u64) {
    let database = Elsewhere::start().await;
    // Each look asks the database something, so that looking takes no time from those who work.
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

    let (done, small, _) = measure(&Input::of("small.csv", lines(100)), "small", None).await;
    assert!(done);
    let input = Input::of("large.csv", lines(count));
    let (done, _, _) = measure(&input, "large", Some(&format!("CUST-{:08}", count / 5))).await;
    assert!(!done, "it was killed in the middle");
    let (done, large, ran) = measure(&input, "large", None).await;
    assert!(done, "{ran:?}");
    let told = &objects(&ran.out)[0];
    let (created, present) = (told["customers_created"].as_u64().unwrap(), told["customers_present"].as_u64().unwrap());
    assert_eq!(created + present, count);
    assert!(present > count / 10 && created > 0, "{told}");
    let (added, there) = (told["numbers_added"].as_u64().unwrap(), told["numbers_present"].as_u64().unwrap());
    assert_eq!(added + there, count / 20);
    let figures = format!("peak memory: {small} kB for 100 lines, {large} kB for {count}");
    println!("{figures}\n{told}");
    assert!(large < small + 8 * 1024, "{figures}");

    let checked = self::ran(database.cdm(&["check"]).output().await.unwrap()).out;
    let expected = format!("{} customers, {} phone numbers and 4 keys checked", count + 157, count / 20 + 58);
    assert!(checked.contains(&expected), "{checked}");
    assert!(checked.contains("1 finding."), "only the demo data's own: {checked}");
    drop(database.server);
}

/// Ctrl-C, or SIGTERM: what is under way is finished, and the summary says where to go on.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_is_orderly_and_the_next_run_finishes() {
    for signal in ["INT", "TERM"] {
        let table = Table::new().await;
        let input = Input::of("a.csv", lines(2_000));
        let mut command = table.command(&input.json());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        let process = child.id().unwrap().to_string();
        let first = items::customer_key(&client(), &ccid("CUST-00000300"));
        while table.item(first.clone()).await.is_none() {}
        assert!(Command::new("kill").args([&format!("-{signal}"), &process]).status().await.unwrap().success());
        let stopped = ran(child.wait_with_output().await.unwrap());
        assert_eq!(stopped.code, 1, "{stopped:?}");
        let told = objects(&stopped.out).remove(0);
        assert_eq!(told["finished"], json!(false));
        let next = told["next_line"].as_u64().unwrap();
        assert_eq!(told["lines"].as_u64().unwrap(), next - 2, "the header and what comes next are not among them");
        assert_eq!(
            stopped.err.lines().last().unwrap(),
            format!(
                "cdm: stopped: run the same command again to finish, or add --from-line {next} to pass over what is done"
            )
        );
        assert_eq!(
            table.items().await.iter().filter(|item| item["sk"].as_s().unwrap() == "CUSTOMER").count() as u64,
            next - 2
        );

        let rest = table.json(&[&input.arguments()[..], &["--from-line", &next.to_string()]].concat()).await.remove(0);
        assert_eq!((&rest["customers_created"], &rest["customers_present"]), (&json!(2_002 - next), &json!(0)));
        let again = table.json(&input.arguments()).await.remove(0);
        assert_eq!((&again["customers_present"], &again["numbers_present"]), (&json!(2_000), &json!(100)));
        table.done(&["check"]).await;
    }
}

/// The database goes away: that is no fault of the lines.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_fails_stops_the_import() {
    let mut database = Elsewhere::start().await;
    let input = Input::of("a.csv", lines(20_000));
    let child = database.import(&input.file, "large").spawn().unwrap();
    while !database.has("large", "CUST-00000100").await {}
    database.server.kill().await.unwrap();
    let stopped = ran(child.wait_with_output().await.unwrap());
    assert_eq!(stopped.code, 1, "{stopped:?}");
    let told = objects(&stopped.out).remove(0);
    assert_eq!((&told["finished"], &told["lines_rejected"]), (&json!(false), &json!(0)));
    assert!(stopped.err.contains("DynamoDB cannot be reached"), "{stopped:?}");
    assert!(!input.rejects().exists());
}
