//! Imports that are interrupted or wait for the database.

use super::{Input, imported, lines};
use crate::helpers::{Table, ccid, client, objects, ran};
use crate::proxy::{Mode, Proxy};
use cdm_lambda::store::items;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::process::Stdio;
use tokio::process::Command;

/// On Ctrl-C or SIGTERM, lines in progress are finished, and the summary says where to continue.
#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_import_is_finished_by_the_next_run() {
    for signal in ["INT", "TERM"] {
        let table = Table::new().await;
        let input = Input::new("a.csv", lines(1_000));
        let mut command = table.command(&input.json());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let process = child.id().unwrap().to_string();
        let first = items::customer_key(&client(), &ccid("CUST-00000200"));
        while table.item(first.clone()).await.is_none() {
            assert_eq!(child.try_wait().unwrap(), None, "it ended too soon");
        }
        assert!(Command::new("kill").args([&format!("-{signal}"), &process]).status().await.unwrap().success());
        let stopped = ran(child.wait_with_output().await.unwrap());
        assert_eq!(stopped.code, 1, "{stopped:?}");
        let reported = objects(&stopped.out).remove(0);
        assert_eq!(reported["finished"], json!(false));
        let next = reported["next_line"].as_u64().unwrap();
        assert_eq!(reported["lines"].as_u64().unwrap(), next - 2, "the header and what comes next are not among them");
        assert_eq!(stopped.err.lines().last().unwrap(), "cdm: stopped: run the same command again to finish");
        assert_eq!(
            table.items().await.iter().filter(|item| item["sk"].as_s().unwrap() == "CUSTOMER").count() as u64,
            next - 2
        );

        let rest = table.json(&input.arguments()).await.remove(0);
        assert_eq!((&rest["lines_finished_before"], &rest["customers_present"]), (&json!(next - 2), &json!(0)));
        assert_eq!(rest["customers_created"], json!(1_002 - next));
        let from_line = ["--no-journal", "--yes", "--from-line", &next.to_string()];
        let again = imported(&table, &[&input.arguments()[..], &from_line].concat()).await;
        assert_eq!((&again["lines"], &again["customers_present"]), (&json!(1_002 - next), &json!(1_002 - next)));
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
        let reported = objects(&ran.out).remove(0);
        assert_eq!((&reported["lines"], &reported["lines_rejected"]), (&json!(400), &json!(0)), "{mode:?}");
        assert_eq!(reported["customers_created"], json!(400), "one whose response was lost is known again");
        assert!(!input.rejects().exists());
        table.done(&["check"]).await;
        let records = table.items().await.iter().filter(|item| item["sk"].as_s().unwrap() == "CUSTOMER").count();
        assert_eq!((records, table.items().await.len()), (400, 420), "{mode:?}");
    }
}

/// If a line is not finished, no later line of its customer is written either.
#[tokio::test(flavor = "multi_thread")]
async fn the_lines_of_a_customer_keep_their_order_after_a_stop() {
    let table = Table::new().await;
    let proxy = Proxy::before(table.environment()[0].1).await;
    let input = Input::new("a.csv", "ccid,phone_number,consent_type\nA,6105551212,express\nA,6105551212,written\n");
    let mut command = table.command(&input.json());
    command.env("AWS_ENDPOINT_URL_DYNAMODB", &proxy.url).stdout(Stdio::piped()).stderr(Stdio::piped());
    proxy.set(Mode::Throttle, 0);
    let child = command.spawn().unwrap();
    // By now the first line pauses for seconds between its attempts.
    proxy.disturbed(6).await;
    proxy.set(Mode::Forward, 0);
    let process = child.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-INT", &process]).status().await.unwrap().success());
    let stopped = ran(child.wait_with_output().await.unwrap());
    assert_eq!(stopped.code, 1, "{stopped:?}");
    let reported = objects(&stopped.out).remove(0);
    assert_eq!((&reported["finished"], &reported["next_line"]), (&json!(false), &json!(2)), "{stopped:?}");
    assert!(table.items().await.is_empty(), "{stopped:?}");
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
    let reported = objects(&ran.out).remove(0);
    assert_eq!((&reported["numbers_added"], &reported["lines_rejected"]), (&json!(40), &json!(0)));
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
    let reported = objects(&stopped.out).remove(0);
    assert_eq!((&reported["finished"], &reported["lines_rejected"]), (&json!(false), &json!(0)));
    assert!(stopped.err.ends_with("cdm: stopped: run the same command again to finish\n"), "{stopped:?}");
    assert!(!input.rejects().exists());

    proxy.set(Mode::Forward, 0);
    let rest = ran(import().output().await.unwrap());
    assert_eq!(rest.code, 0, "{rest:?}");
    let rest = objects(&rest.out).remove(0);
    assert_eq!(rest["lines_finished_before"], reported["lines"]);
    // A record may have been created when its number had to wait.
    let figure = |summary: &Value, name: &str| summary[name].as_u64().unwrap();
    let done = figure(&rest, "customers_created") + figure(&rest, "customers_present");
    assert_eq!(done, 400 - figure(&reported, "lines"));
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
