use std::fmt::Write as _;
use std::path::Path;

use crate::helpers::{Table, ran};

/// The input files of the page's imports.
const CUSTOMERS: &str = "\
ccid,phone_number,consent_type
IMP-1,6105557001,written
IMP-1,6105557002,
IMP-2,,
IMP/3,6105557003,
BAK-11984-050,6105557001,
";

/// Every transcript of docs/cli.md is the output of its commands, in order, on the demo data. Times, keys and
/// fingerprints differ between runs and are not compared. `UPDATE_TRANSCRIPTS=1` rewrites the page.
#[tokio::test(flavor = "multi_thread")]
async fn the_pages_transcripts_are_current() {
    let page_file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/cli.md");
    let page = std::fs::read_to_string(&page_file).unwrap();
    let table = Table::demo().await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("customers.csv"), CUSTOMERS).unwrap();
    std::fs::write(folder.path().join("leaked-key.txt"), testkit::demo::OTHER_KEY).unwrap();

    let (mut real, mut is_transcript, mut commands) = (String::new(), false, 0);
    for line in page.lines() {
        match line {
            "```console" => is_transcript = true,
            "```" => is_transcript = false,
            _ => {}
        }
        let command = line.strip_prefix("$ ").filter(|_| is_transcript);
        if !is_transcript || command.is_some() || line == "```console" {
            writeln!(real, "{line}").unwrap();
        }
        if let Some(command) = command {
            commands += 1;
            real.push_str(&table.shell(command, folder.path()).await);
        }
    }
    assert!(commands > 30, "{commands}");
    if std::env::var_os("UPDATE_TRANSCRIPTS").is_some() {
        std::fs::write(&page_file, &real).unwrap();
    }
    let (page, real) = (steady(&page), steady(&real));
    for (number, (page, real)) in page.lines().zip(real.lines()).enumerate() {
        assert_eq!(page, real, "docs/cli.md, line {}", number + 1);
    }
    assert_eq!(page.lines().count(), real.lines().count());
}

/// Every possible finding is in the page's table.
#[test]
fn the_page_has_every_finding() {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/cli.md")).unwrap();
    for (code, what, fix) in cdm::commands::check::findings() {
        let row = format!("| `{code}` | {what} | {fix} |");
        assert!(page.contains(&row), "{row}");
    }
}

impl Table {
    /// The output of a shell command.
    pub(crate) async fn shell(&self, command: &str, folder: &Path) -> String {
        let program = Path::new(env!("CARGO_BIN_EXE_cdm")).parent().unwrap();
        let mut shell = tokio::process::Command::new("sh");
        shell
            .args(["-c", &format!("{{ {command}\n}} 2>&1")])
            .current_dir(folder)
            .env("PATH", format!("{}:{}", program.display(), std::env::var("PATH").unwrap()))
            .envs(self.environment())
            .stdin(std::process::Stdio::null());
        ran(shell.output().await.unwrap()).out
    }
}

/// Removes what differs between runs.
fn steady(text: &str) -> String {
    let mut steady = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        let is_word = |character: char| character.is_ascii_alphanumeric() || "_-:.".contains(character);
        let end = rest.find(|character| !is_word(character)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        let (word, stop) = word.strip_suffix('.').map_or((word, ""), |word| (word, "."));
        let is_moment = word.len() == 24 && word.ends_with('Z') && word.contains('T') && word.contains(':');
        let is_fingerprint = word.len() == 12 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
        steady.push_str(match word {
            _ if is_moment => "MOMENT",
            _ if is_fingerprint => "FINGERPRINT",
            _ if word.starts_with("relay_") && word.len() > 20 => "KEY",
            _ if word.starts_with("cdm-") && word.ends_with("Z.jsonl") => "FILE",
            _ => word,
        });
        steady.push_str(stop);
        let separator = after.chars().next();
        steady.extend(separator);
        rest = after.get(separator.map_or(0, char::len_utf8)..).unwrap_or_default();
    }
    steady
}
