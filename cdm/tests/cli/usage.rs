use std::process::Stdio;

use tokio::process::Command;

use crate::helpers::{CLIENT, Ran, Table, objects, one_line, ran};

/// `cdm` with only these environment variables.
async fn bare(arguments: &[&str], environment: &[(&str, &str)]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cdm"));
    command.args(arguments).env_clear().envs(environment.iter().copied()).stdin(Stdio::null());
    ran(command.output().await.unwrap())
}

/// Every command. `every_command_is_in_the_list` compares it with the help of `cdm`.
const COMMANDS: [&[&str]; 21] = [
    &["dev"],
    &["key", "issue"],
    &["key", "list"],
    &["key", "identify"],
    &["key", "revoke"],
    &["customer", "create"],
    &["customer", "show"],
    &["customer", "delete"],
    &["customer", "import"],
    &["phone", "add"],
    &["phone", "remove"],
    &["phone", "who"],
    &["phone", "consent"],
    &["client", "delete"],
    &["check"],
    &["undo"],
    &["item", "show"],
    &["item", "put"],
    &["item", "delete"],
    &["table", "create"],
    &["completions"],
];

#[tokio::test(flavor = "multi_thread")]
async fn every_command_has_help_and_all_but_dev_have_examples() {
    for command in COMMANDS {
        let help = bare(&[command, &["--help"]].concat(), &[]).await;
        assert_eq!((help.code, help.err.as_str()), (0, ""), "{command:?}");
        assert!(help.out.contains("Usage: cdm"), "{command:?}");
        if command != ["dev"] {
            let example = format!("cdm {}", command.join(" "));
            let examples = help.out.split_once("Example").unwrap().1;
            assert!(examples.contains(&example), "{command:?}");
        }
        assert!(!help.out.contains('\u{1b}'));
    }
}

/// The names below "Commands:" in the help of a command.
async fn subcommands(command: &[&str]) -> Vec<String> {
    let help = bare(&[command, &["--help"]].concat(), &[]).await.out;
    let Some((_, list)) = help.split_once("Commands:\n") else { return Vec::new() };
    let lines = list.lines().take_while(|line| !line.is_empty());
    let names = lines.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    names.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help").map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_is_in_the_list() {
    let mut found = std::collections::BTreeSet::new();
    for first in subcommands(&[]).await {
        let second = subcommands(&[&first]).await;
        if second.is_empty() {
            found.insert(first);
        } else {
            found.extend(second.into_iter().map(|second| format!("{first} {second}")));
        }
    }
    assert_eq!(found, COMMANDS.iter().map(|command| command.join(" ")).collect());
}

#[tokio::test(flavor = "multi_thread")]
async fn completions_for_every_shell() {
    for (shell, word) in [
        ("bash", "_cdm()"),
        ("zsh", "#compdef cdm"),
        ("fish", "complete -c cdm"),
        ("powershell", "cdm"),
        ("elvish", "cdm"),
    ] {
        let script = bare(&["completions", shell], &[]).await;
        assert_eq!((script.code, script.err.as_str()), (0, ""), "{shell}");
        assert!(script.out.contains(word) && script.out.contains("revoke"), "{shell}");
    }
    assert_eq!(bare(&["completions", "cmd"], &[]).await.code, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn output_is_accepted_before_and_after_the_command() {
    let table = Table::demo().await;
    let show = ["customer", "show", "--client", CLIENT, "--ccid", testkit::demo::CUSTOMER];
    let after = table.done(&[&show[..], &["--output", "json"]].concat()).await;
    let before = table.done(&[&["--output", "json"], &show[..]].concat()).await;
    let between = table.done(&[&show[..1], &["--output=json"], &show[1..]].concat()).await;
    assert!(after == before && after == between && objects(&after).len() == 1);
    let both = table.done(&[&["--table", "cdm-phones"], &show[..], &["--output", "table"]].concat()).await;
    assert!(both.starts_with("Client    demo-clinic\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_usage_error_is_one_line_with_exit_code_2() {
    let table = Table::new().await;
    for (arguments, line) in [
        (
            &["--output", "xml", "check"][..],
            "invalid value 'xml' for '--output <table|json>' [possible values: table, json]: see --help",
        ),
        (
            &["--table", "x", "check"],
            "invalid value 'x' for '--table <NAME>': must name a DynamoDB table: 3 to 255 of the characters A-Z a-z 0-9 _ . -: see --help",
        ),
        (
            &["check", "--segments", "none"],
            "invalid value 'none' for '--segments <SEGMENTS>': invalid digit found in string: see --help",
        ),
        (&["dev", "--output", "json"], "this command does not take --table or --output: see --help"),
        (
            &["completions", "bash", "--table", "cdm-phones"],
            "this command does not take --table or --output: see --help",
        ),
    ] {
        assert_eq!(table.misused(arguments).await, line);
    }
    assert!(table.misused(&["kye", "list"]).await.starts_with("unrecognized subcommand 'kye'"));
    assert!(table.misused(&["customer", "--frobnicate"]).await.starts_with("unexpected argument '--frobnicate' found"));
    for arguments in [&[][..], &["key"], &["customer"], &["phone"], &["client"], &["item"], &["table"]] {
        let ran = table.cdm(arguments).await;
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{arguments:?}");
        assert!(ran.err.contains("Usage: cdm"), "{arguments:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_setting_is_named() {
    let endpoint = ("AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:1");
    let ran = bare(&["check"], &[endpoint]).await;
    assert_eq!(
        (ran.code, one_line(&ran.err).as_str()),
        (2, "no table is named: give --table or set TABLE_NAME: see --help")
    );
    let ran = bare(&["check"], &[endpoint, ("TABLE_NAME", "a b")]).await;
    assert_eq!(ran.code, 2);
    let ran = bare(
        &["check"],
        &[
            ("AWS_ENDPOINT_URL_DYNAMODB", "localhost"),
            ("TABLE_NAME", "cdm-phones"),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", "a"),
            ("AWS_SECRET_ACCESS_KEY", "b"),
        ],
    )
    .await;
    assert_eq!(ran.code, 1);
    assert!(
        one_line(&ran.err).starts_with("the environment variable AWS_ENDPOINT_URL_DYNAMODB must be a URL"),
        "{ran:?}"
    );

    // No region, no credentials, and no machine role.
    let nothing = [
        ("TABLE_NAME", "cdm-phones"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
        ("AWS_CONFIG_FILE", "/dev/null"),
        ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null"),
    ];
    let ran = bare(&["check"], &nothing).await;
    assert_eq!(
        (ran.code, one_line(&ran.err).as_str()),
        (1, "no region is set: set AWS_REGION, or AWS_PROFILE to a profile that names one")
    );
    let ran = bare(&["check"], &[&nothing[..], &[("AWS_REGION", "us-east-1")]].concat()).await;
    assert_eq!(ran.code, 1);
    assert!(one_line(&ran.err).starts_with("no AWS credentials are found: set AWS_PROFILE"), "{ran:?}");
}

/// Credentials come from a profile, as in other AWS tools. The endpoint is not on this machine, so they are
/// required.
#[tokio::test(flavor = "multi_thread")]
async fn a_profile_gives_region_and_credentials() {
    let folder = tempfile::tempdir().unwrap();
    let (config, credentials) = (folder.path().join("config"), folder.path().join("credentials"));
    std::fs::write(&config, "[profile clinic]\nregion = eu-west-1\n").unwrap();
    std::fs::write(&credentials, "[clinic]\naws_access_key_id = a\naws_secret_access_key = b\n").unwrap();
    let environment = [
        ("TABLE_NAME", "cdm-phones"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
        ("AWS_CONFIG_FILE", crate::helpers::path(&config)),
        ("AWS_SHARED_CREDENTIALS_FILE", crate::helpers::path(&credentials)),
        ("AWS_PROFILE", "clinic"),
        // A reserved name that is never a host.
        ("AWS_ENDPOINT_URL_DYNAMODB", "http://dynamodb.invalid:8000"),
    ];
    let ran = bare(&["phone", "who", "--client", "a", "6105551212"], &environment).await;
    assert_eq!(ran.code, 1);
    assert_eq!(
        one_line(&ran.err),
        "DynamoDB cannot be reached: dynamodb.invalid:8000 does not respond: check the network, the region and AWS_ENDPOINT_URL_DYNAMODB"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_database_is_one_line() {
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("http://127.0.0.1:{port}");
    let environment = [("AWS_ENDPOINT_URL_DYNAMODB", url.as_str()), ("TABLE_NAME", "cdm-phones")];
    let reach = format!(
        "DynamoDB cannot be reached: 127.0.0.1:{port} does not respond: check the network, the region and AWS_ENDPOINT_URL_DYNAMODB"
    );
    for arguments in [
        &["customer", "show", "--client", "a", "--ccid", "b"][..],
        &["phone", "add", "--client", "a", "--ccid", "b", "6105551212"],
        &["key", "list", "--client", "a"],
    ] {
        let ran = bare(arguments, &environment).await;
        assert_eq!(ran.code, 1);
        assert_eq!(one_line(&ran.err), reach, "{arguments:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn colors_appear_only_on_a_terminal() {
    let table = Table::demo().await;
    let listed = table.done(&["key", "list", "--client", CLIENT]).await;
    assert!(!listed.contains('\u{1b}'));
    assert!(!table.cdm(&["customer", "show", "--client", CLIENT, "--ccid", "UNKNOWN"]).await.err.contains('\u{1b}'));
    // Colors on request, as on a terminal, but not with NO_COLOR.
    let colors = |name: &'static str, value: &'static str| {
        let mut command = table.command(&["key", "list", "--client", CLIENT]);
        command.env("CLICOLOR_FORCE", "1").env(name, value);
        async move { ran(command.output().await.unwrap()).out.contains('\u{1b}') }
    };
    assert!(colors("NONE", "1").await);
    assert!(!colors("NO_COLOR", "1").await);
}
