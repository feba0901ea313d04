//! `cdm dev` as a person uses it: start, requests, stop, restart, and wrong arguments.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at its first surprise")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use testkit::demo;

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
        let mut command = cdm();
        command.args(["dev", "--port", "0", "--dynamodb-port", "0"]).args(arguments);
        Self::spawn(command)
    }

    /// Starts the command and waits until it listens.
    fn spawn(mut command: Command) -> Self {
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
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

    /// Sends Ctrl-C, and returns the output after the announcement.
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

impl Drop for Server {
    /// A failing test must not leave a server running.
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap()
}

#[test]
fn the_printed_curl_commands_work() {
    let server = Server::start(&[]);
    // The URL, the key and the body of each printed command.
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
fn it_prints_one_line_per_request_without_the_path() {
    let server = Server::start(&[]);
    server.add(demo::CUSTOMER, "6105551212");
    server.send("GET", "/elsewhere/6105551212", demo::KEY, "");
    // One byte more than a gateway accepts. The server may close the connection before it has read everything.
    let mut stream = TcpStream::connect(&server.api).unwrap();
    let too_large = (10 << 20) + 1;
    let _ = write!(stream, "PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: {too_large}\r\nconnection: close\r\n\r\n");
    let _ = stream.write_all(&vec![b'x'; too_large]);
    let _ = stream.read_to_end(&mut Vec::new());
    let lines = server.stop();
    let mut lines = lines.lines();
    let add = lines.next().unwrap();
    assert!(add.starts_with("PUT /cdm/client/{client_id}/customer/{ccid}/add_phone/{phone_number} 200 ok "), "{add}");
    let other = lines.next().unwrap();
    assert!(other.starts_with("GET (no route) 404 route_not_found "), "{other}");
    let large = lines.next().unwrap();
    assert!(large.starts_with("PUT (no route) 413 too_large "), "{large}");
    assert!(!format!("{add}{other}").contains("6105551212"));
    assert_eq!(lines.last(), Some("stopped"));
}

#[test]
fn both_gateways_accept_the_odd_ccid() {
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
    assert!(!page.contains("{{") && !page.contains("//"), "a placeholder, or an address elsewhere");
    let loaded: Vec<_> = page.split('"').filter(|text| text.starts_with("/docs/")).collect();
    assert_eq!(loaded.len(), 3, "{page}");
    for path in loaded {
        assert_eq!(status(&server.send("GET", path, "", "")), "200", "{path}");
    }
    let said = server.stop();
    assert_eq!(said.trim(), "stopped", "the page is no request of the API");
}

#[test]
fn its_database_serves_other_programs() {
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
fn the_configured_endpoint_replaces_the_embedded_database() {
    let first = Server::start(&[]);
    let mut second = cdm();
    second.env("AWS_ENDPOINT_URL_DYNAMODB", format!("http://{}", first.dynamodb)).args(["dev", "--port", "0"]);
    let second = Server::spawn(second);
    assert_eq!(status(&first.add(demo::CUSTOMER, "6105551212")), "200");
    assert_eq!(status(&second.add(demo::CUSTOMER, "6105551212")), "409", "one database");
    second.stop();
    first.stop();
}

/// Asserts that it cannot start, and returns its line.
fn refused(arguments: &[&str]) -> String {
    refused_by(cdm().arg("dev").args(arguments))
}

fn refused_by(command: &mut Command) -> String {
    let mut process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Stop a server that starts after all, so that the test fails instead of waiting.
    let started = BufReader::new(process.stdout.take().unwrap()).lines().any(|line| line.unwrap().contains("Ctrl-C"));
    if started {
        process.kill().unwrap();
    }
    let Output { status, stderr, .. } = process.wait_with_output().unwrap();
    let said = String::from_utf8(stderr).unwrap();
    assert!(!started, "it started: {said}");
    assert_eq!((status.code(), said.trim_end().lines().count()), (Some(1), 1), "{said}");
    assert!(!said.contains("panicked") && !said.contains("backtrace"), "{said}");
    said
}

#[test]
fn a_port_in_use_is_one_clear_line() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let said = refused(&["--port", &port, "--dynamodb-port", "0"]);
    assert!(said.contains(&port) && said.contains("--port"), "{said}");
    let said = refused(&["--port", "0", "--dynamodb-port", &port]);
    assert!(said.contains(&port) && said.contains("--dynamodb-port"), "{said}");
}

/// Asserts that it refuses the data file and leaves it unchanged, and returns the line.
fn refused_file(file: &Path) -> String {
    let before = std::fs::read(file).ok();
    let said = refused(&["--port", "0", "--dynamodb-port", "0", "--data", file.to_str().unwrap()]);
    assert_eq!(std::fs::read(file).ok(), before, "{said}");
    let (_, why) = said.trim_end().split_once(&format!("--data {}: ", file.display())).unwrap_or(("", &said));
    why.to_owned()
}

#[test]
fn a_file_that_is_not_a_database_is_refused_unchanged() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("notes");
    for text in ["short".to_owned(), "this is no database, however long it is made to be".repeat(100)] {
        std::fs::write(&file, text).unwrap();
        assert!(refused_file(&file).starts_with("this is not a database: "));
    }
    assert_eq!(refused_file(folder.path()), "this is a directory: name a file in it");
    assert_eq!(refused_file(Path::new("/dev/null")), "this is not a regular file: name another");
    let nowhere = folder.path().join("no/such/folder/data");
    assert_eq!(refused_file(&nowhere), "the folder of the file does not exist: create it first");
    assert!(!nowhere.exists());
}

#[test]
fn another_programs_database_is_refused_unchanged() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bookmarks");
    let other = rusqlite::Connection::open(&file).unwrap();
    other.execute_batch("CREATE TABLE bookmarks (url TEXT); INSERT INTO bookmarks VALUES ('x');").unwrap();
    assert_eq!(refused_file(&file), "this is another program's SQLite database: name another file");
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    // Not through `refused_file`: when this process closes a file that it read, it loses SQLite's lock on the
    // file.
    let said = refused(&["--port", "0", "--dynamodb-port", "0", "--data", file.to_str().unwrap()]);
    assert!(said.contains("another program has locked the file: close it there, or name another file"), "{said}");
}

#[test]
fn a_corrupt_data_file_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("data");
    Server::start(&["--data", file.to_str().unwrap()]).stop();
    let whole = std::fs::read(&file).unwrap();
    // Corrupt everything but the first page, which identifies the file; and only the last page, which is not
    // read at once.
    for from in [4096, whole.len() - 4096] {
        let mut corrupt = whole.clone();
        corrupt.get_mut(from..).unwrap().fill(0x5a);
        std::fs::write(&file, corrupt).unwrap();
        assert!(refused_file(&file).starts_with("the database in the file is corrupt: "));
    }
}

#[test]
fn two_dev_servers_do_not_share_a_data_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("data");
    let path = file.to_str().unwrap();
    let first = Server::start(&["--data", path]);
    let said = refused(&["--port", "0", "--dynamodb-port", "0", "--data", path]);
    assert!(said.contains("another `cdm dev` uses the file: stop that one"), "{said}");
    first.stop();
    Server::start(&["--data", path]).stop();
}

/// The server must run as a user who may not write the files. If the test runs as root, it starts the server as another
/// user.
#[cfg(unix)]
#[test]
fn a_read_only_data_file_is_reported() {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt};
    use std::os::unix::process::CommandExt as _;

    let mode = |path: &Path, mode| std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    mode(folder.path(), 0o755);
    let (file, locked) = (folder.path().join("data"), folder.path().join("locked"));
    std::fs::write(&file, "").unwrap();
    mode(&file, 0o444);
    std::fs::create_dir(&locked).unwrap();
    mode(&locked, 0o555);
    let root = std::fs::metadata(folder.path()).unwrap().uid() == 0;
    // The other user may not have access to the build folder.
    let mut program = PathBuf::from(env!("CARGO_BIN_EXE_cdm"));
    if root {
        program = folder.path().join("cdm");
        // Copy with another process: a child that another test starts meanwhile would keep this process's
        // copy open, and then it could not run.
        let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_cdm")).arg(&program).status().unwrap();
        assert!(copied.success());
    }
    for file in [&file, &locked.join("data")] {
        let mut command = Command::new(&program);
        command.env_clear().args(["dev", "--port", "0", "--dynamodb-port", "0", "--data", file.to_str().unwrap()]);
        if root {
            command.uid(65534);
        }
        let output = command.output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.ends_with("you may not read and write the file: change its permissions\n"), "{said}");
    }
    mode(&locked, 0o755);
}

/// `cdm` in a shell that exports the variables of docs/cli.md, with this port.
fn exported(port: u16) -> Command {
    let mut command = cdm();
    command
        .env_clear()
        .env("AWS_ENDPOINT_URL_DYNAMODB", format!("http://127.0.0.1:{port}"))
        .env("TABLE_NAME", "cdm-phones")
        .stdin(Stdio::null());
    command
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn the_server_starts_in_a_shell_with_the_exported_variables() {
    let port = free_port();
    let ports = ["dev", "--port", "0", "--dynamodb-port", &port.to_string()];
    let mut command = exported(port);
    command.args(ports);
    let server = Server::spawn(command);
    assert_eq!(server.dynamodb, format!("127.0.0.1:{port}"));
    assert!(
        server.announced.contains(&format!(
            "AWS_ENDPOINT_URL_DYNAMODB=http://127.0.0.1:{port} names this address, and nothing else listened there."
        )),
        "{}",
        server.announced
    );
    assert_eq!(status(&server.add(demo::CUSTOMER, "6105551212")), "200");
    // The other commands of that shell, and a second server.
    let who = exported(port).args(["phone", "who", "--client", demo::CLIENT, "6105551212"]).output().unwrap();
    assert!(String::from_utf8(who.stdout).unwrap().contains(demo::CUSTOMER));
    let mut command = exported(port);
    command.args(ports);
    let second = Server::spawn(command);
    assert!(second.announced.contains("named by AWS_ENDPOINT_URL_DYNAMODB"), "{}", second.announced);
    assert_eq!(status(&second.add(demo::CUSTOMER, "6105551212")), "409", "one database");
    second.stop();
    server.stop();
}

#[test]
fn an_unreachable_configured_database_is_one_clear_line() {
    let port = free_port();
    let said = refused_by(exported(port).args(["dev", "--port", "0", "--dynamodb-port", "0"]));
    assert_eq!(
        said.trim_end(),
        format!(
            "cdm: nothing listens at AWS_ENDPOINT_URL_DYNAMODB=http://127.0.0.1:{port}: start that database, or unset the \
             variable to use the embedded one"
        )
    );
    let there = Server::start(&[]);
    let port = there.dynamodb.rsplit(':').next().unwrap().parse().unwrap();
    let said = refused_by(exported(port).args(["dev", "--port", "0", "--dynamodb-port", "0", "--data", "kept"]));
    assert!(said.contains("--data kept: ") && said.contains("unset the variable"), "{said}");
}

#[test]
fn it_listens_on_ipv6_and_on_localhost() {
    for (listen, urls) in [("::1", "http://[::1]:"), ("[::1]", "http://[::1]:"), ("localhost", "http://127.0.0.1:")] {
        let server = Server::start(&["--listen", listen]);
        assert_eq!(server.announced.matches(urls).count(), 6, "{}", server.announced);
        assert_eq!(status(&server.add(demo::CUSTOMER, "6105551212")), "200");
        // An operator's command reaches the database at the printed URL, and at the given name.
        let port = server.dynamodb.rsplit(':').next().unwrap();
        let named = if listen == "localhost" { format!("http://localhost:{port}") } else { String::new() };
        for url in [format!("http://{}", server.dynamodb), named].iter().filter(|url| !url.is_empty()) {
            let mut who = exported(0);
            who.env("AWS_ENDPOINT_URL_DYNAMODB", url).args(["phone", "who", "--client", demo::CLIENT, "6105551212"]);
            let who = who.output().unwrap();
            assert!(String::from_utf8(who.stdout).unwrap().contains(demo::CUSTOMER), "{listen}, {url}");
        }
        server.stop();
    }
    let every = Server::start(&["--listen", "::"]);
    assert!(every.announced.contains("API       http://[::1]:"), "{}", every.announced);
    every.stop();
    let said = refused(&["--listen", "192.0.2.1", "--port", "0"]);
    assert!(said.contains("192.0.2.1:0") && said.contains("--listen"), "{said}");
}
