//! `cdm dev` as a person uses it: started, asked, stopped, started again, and told nonsense.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at its first surprise")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use cdm::demo;

/// A dev server on free ports.
struct Server {
    process: Child,
    api: String,
    dynamodb: String,
    output: BufReader<std::process::ChildStdout>,
    announced: String,
}

fn cdm() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cdm"));
    command.env_remove("AWS_ENDPOINT_URL_DYNAMODB").env_remove("TABLE_NAME");
    command
}

impl Server {
    fn start(arguments: &[&str]) -> Self {
        let ports = ["dev", "--port", "0", "--dynamodb-port", "0"];
        let mut process = cdm().args(ports).args(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let mut announced = String::new();
        while !announced.contains("Ctrl-C") {
            assert_ne!(output.read_line(&mut announced).unwrap(), 0, "it ended: {announced}");
        }
        let address = |name: &str| {
            let line = announced.lines().find(|line| line.starts_with(name)).unwrap();
            line.split("http://").nth(1).unwrap().split_whitespace().next().unwrap().to_owned()
        };
        Self { api: address("API"), dynamodb: address("DynamoDB"), process, output, announced }
    }

    /// Status, headers and body.
    fn send(&self, method: &str, path: &str, key: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(&self.api).unwrap();
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: {}\r\nx-relay-api-key: {key}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}",
            self.api
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn add(&self, ccid: &str, digits: &str) -> String {
        self.send("PUT", &format!("/cdm/client/{}/customer/{ccid}/add_phone/{digits}", demo::CLIENT), demo::KEY, "")
    }

    /// Ctrl-C, and what it wrote after the announcement.
    fn stop(mut self) -> String {
        let interrupted =
            Command::new("sh").arg("-c").arg(format!("kill -INT {}", self.process.id())).status().unwrap();
        assert!(interrupted.success());
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).unwrap();
        assert_eq!(self.process.wait().unwrap().code(), Some(0), "{rest}");
        rest
    }
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap()
}

#[test]
fn the_printed_curl_lines_answer_as_printed() {
    let server = Server::start(&[]);
    // Each printed command, as its parts: the URL, the key and the body.
    let commands: Vec<_> = server.announced.split("curl -X PUT '").skip(1).collect();
    assert_eq!(commands.len(), 3);
    for (command, printed) in commands.iter().zip(["200", "409", "401"]) {
        let url = command.split('\'').next().unwrap();
        let path = url.strip_prefix(&format!("http://{}", server.api)).unwrap();
        let key = command.split("x-relay-api-key: ").nth(1).unwrap().split('\'').next().unwrap();
        let body = command.split("-d '").nth(1).unwrap().split('\'').next().unwrap();
        assert_eq!(status(&server.send("PUT", path, key, body)), printed, "{command}");
    }
    assert!(server.announced.contains("(200, then 409 when repeated)"));
    assert_eq!(status(&server.add(demo::CUSTOMER, "6105551212")), "409");
    server.stop();
}

#[test]
fn it_prints_one_line_a_request_without_the_path_and_stops_cleanly() {
    let server = Server::start(&[]);
    server.add(demo::CUSTOMER, "6105551212");
    server.send("GET", "/elsewhere/6105551212", demo::KEY, "");
    let lines = server.stop();
    let mut lines = lines.lines();
    let add = lines.next().unwrap();
    assert!(add.starts_with("PUT /cdm/client/{client_id}/customer/{ccid}/add_phone/{phone_number} 200 ok "), "{add}");
    let other = lines.next().unwrap();
    assert!(other.starts_with("GET (no route) 404 route_not_found "), "{other}");
    assert!(!format!("{add}{other}").contains("6105551212"));
    assert_eq!(lines.last(), Some("stopped"));
}

#[test]
fn both_gateways_take_the_odd_ccid() {
    for gateway in ["http", "rest"] {
        let server = Server::start(&["--gateway", gateway]);
        let answer = server.add("Zo%C3%AB%207%3F.%2541", "6105551212");
        assert_eq!(status(&answer), "200", "{gateway}: {answer}");
        assert!(answer.contains(demo::CUSTOMER_ODD), "{answer}");
        server.stop();
    }
}

#[test]
fn the_page_has_the_demo_key_and_loads_nothing_from_elsewhere() {
    let server = Server::start(&[]);
    assert!(server.announced.contains(&format!("http://{}/docs\n", server.api)), "{}", server.announced);
    let page = server.send("GET", "/docs", "", "");
    assert!(status(&page) == "200" && page.contains(demo::KEY), "{page}");
    assert!(!page.contains("{{") && !page.contains("//"), "a whole address, or a part of one");
    let loaded: Vec<_> = page.split('"').filter(|text| text.starts_with("/docs/")).collect();
    assert_eq!(loaded.len(), 3, "{page}");
    for path in loaded {
        assert_eq!(status(&server.send("GET", path, "", "")), "200", "{path}");
    }
    let said = server.stop();
    assert_eq!(said.trim(), "stopped", "the page is no request of the API");
}

#[test]
fn its_database_speaks_to_others() {
    let server = Server::start(&[]);
    let mut stream = TcpStream::connect(&server.dynamodb).unwrap();
    write!(stream, "GET / HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", server.dynamodb).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert_eq!(status(&answer), "200");
    server.stop();
}

#[test]
fn it_stops_cleanly_as_soon_as_it_says_that_ctrl_c_stops_it() {
    for _ in 0..20 {
        assert_eq!(Server::start(&[]).stop().trim(), "stopped");
    }
}

fn file(name: &str) -> PathBuf {
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
    let _ = std::fs::remove_file(&file);
    file
}

#[test]
fn a_data_file_keeps_what_was_added() {
    let file = file("kept");
    let path = file.to_str().unwrap();
    let server = Server::start(&["--data", path]);
    assert_eq!(status(&server.add(demo::CUSTOMER, "6105551212")), "200");
    server.stop();
    let server = Server::start(&["--data", path]);
    assert_eq!(status(&server.add(demo::CUSTOMER, "6105551212")), "409");
    server.stop();
}

#[test]
fn the_configured_endpoint_is_used_instead() {
    let first = Server::start(&[]);
    let mut second = cdm();
    second.env("AWS_ENDPOINT_URL_DYNAMODB", format!("http://{}", first.dynamodb)).env("AWS_REGION", "us-east-1");
    second.env("AWS_ACCESS_KEY_ID", "local").env("AWS_SECRET_ACCESS_KEY", "local");
    let mut process = second.args(["dev", "--port", "0"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut output = BufReader::new(process.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    let second = Server {
        api: line.split("http://").nth(1).unwrap().trim().to_owned(),
        dynamodb: String::new(),
        process,
        output,
        announced: String::new(),
    };
    assert_eq!(status(&first.add(demo::CUSTOMER, "6105551212")), "200");
    assert_eq!(status(&second.add(demo::CUSTOMER, "6105551212")), "409", "one database");
    second.stop();
    first.stop();
}

/// What it says when it cannot start: one line, exit code 1.
fn refused(arguments: &[&str]) -> String {
    let Output { status, stderr, .. } = cdm().arg("dev").args(arguments).output().unwrap();
    let said = String::from_utf8(stderr).unwrap();
    assert_eq!((status.code(), said.trim_end().lines().count()), (Some(1), 1), "{said}");
    assert!(!said.contains("panicked") && !said.contains("backtrace"), "{said}");
    said
}

#[test]
fn a_taken_port_is_one_clear_line() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let said = refused(&["--port", &port, "--dynamodb-port", "0"]);
    assert!(said.contains(&port) && said.contains("--port"), "{said}");
    let said = refused(&["--port", "0", "--dynamodb-port", &port]);
    assert!(said.contains(&port) && said.contains("--dynamodb-port"), "{said}");
}

#[test]
fn a_file_that_is_no_database_is_one_clear_line_and_stays_as_it_is() {
    let damaged = file("damaged");
    std::fs::write(&damaged, "this is no database, however long it is made to be".repeat(100)).unwrap();
    let before = std::fs::read(&damaged).unwrap();
    let said = refused(&["--port", "0", "--dynamodb-port", "0", "--data", damaged.to_str().unwrap()]);
    assert!(said.contains(damaged.to_str().unwrap()), "{said}");
    assert_eq!(std::fs::read(&damaged).unwrap(), before);
    let said = refused(&["--port", "0", "--dynamodb-port", "0", "--data", "/no/such/directory/data"]);
    assert!(said.contains("/no/such/directory/data"), "{said}");
}
