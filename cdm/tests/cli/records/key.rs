use std::time::Duration;

use cdm_lambda::auth::{ApiKey, KeyCache};
use cdm_lambda::error::Error;
use cdm_lambda::store::CallContext;
use cdm_lambda::time::UnixMillis;
use serde_json::Value;

use crate::helpers::{CLIENT, Table};

/// Whether the function would accept the key.
async fn is_good(table: &Table, key: &str, client: &str) -> bool {
    let keys = KeyCache::new(Duration::ZERO);
    let mut context = CallContext::within(Duration::from_secs(10));
    let hash = ApiKey::parse(key).map(|key| key.sha256_hex());
    match keys.authorize(&table.connection.store, hash, Some(client), &mut context).await {
        Ok(_) => true,
        Err(Error::Unauthorized) => false,
        Err(error) => panic!("{error:?}"),
    }
}

fn text<'a>(row: &'a Value, member: &str) -> &'a str {
    row[member].as_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn rotation_issue_deploy_revoke() {
    let table = Table::new().await;
    let issue = ["key", "issue", "--client", CLIENT, "--label", "nightly sync", "--yes"];
    let old = table.json(&issue).await.remove(0);
    let (old_key, old_print) = (text(&old, "key"), text(&old, "fingerprint"));
    assert!(ApiKey::parse(old_key).unwrap().sha256_hex().starts_with(old_print) && old_print.len() == 12);
    assert!(is_good(&table, old_key, CLIENT).await);
    assert!(!is_good(&table, old_key, "other-clinic").await, "a key is one client's");

    let new = table.json(&issue).await.remove(0);
    assert_ne!(old_key, text(&new, "key"));
    let revoke = ["key", "revoke", "--client", CLIENT, old_print, "--yes"];
    let revoked = table.json(&revoke).await.remove(0);
    assert_eq!((text(&revoked, "state"), text(&revoked, "fingerprint")), ("revoked", old_print));
    assert!(!is_good(&table, old_key, CLIENT).await);
    assert!(is_good(&table, text(&new, "key"), CLIENT).await);
    assert_eq!(table.json(&revoke).await, [revoked], "a second revocation changes nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_shown_once_and_never_stored() {
    let table = Table::new().await;
    let shown = table.cdm(&["key", "issue", "--client", CLIENT, "--yes"]).await;
    assert_eq!(shown.code, 0);
    assert_eq!(shown.err, "Keep the key now: it is stored nowhere and cannot be shown again.\n");
    let key = shown.out.split_whitespace().find(|word| word.starts_with("relay_")).unwrap();
    let stored = format!("{:?}", table.items().await);
    let listed = table.cdm(&["key", "list", "--client", CLIENT, "--output", "json"]).await.out;
    let secret = key.strip_prefix("relay_").unwrap();
    assert!(!stored.contains(secret) && !listed.contains(secret));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_expires() {
    let table = Table::new().await;
    let issue = |expires| ["key", "issue", "--client", CLIENT, "--yes", "--expires", expires];
    let later = table.json(&issue("90d")).await.remove(0);
    assert!(is_good(&table, text(&later, "key"), CLIENT).await);
    let then = UnixMillis::now().millis() + 90 * 86_400_000;
    let expected = UnixMillis::new(then).unwrap().to_rfc3339();
    assert_eq!(text(&later, "expires_at")[..15], expected[..15]);
    let dated = table.json(&issue("2999-12-31")).await.remove(0);
    assert_eq!(text(&dated, "expires_at"), "2999-12-31T00:00:00.000Z");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_says_what_state_each_key_is_in() {
    let table = Table::demo().await;
    let states = |rows: Vec<Value>| {
        let mut states: Vec<_> = rows.iter().map(|row| text(row, "state").to_owned()).collect();
        states.sort();
        states
    };
    assert_eq!(states(table.json(&["key", "list", "--client", CLIENT]).await), ["active", "expired", "revoked"]);
    assert_eq!(states(table.json(&["key", "list", "--client", "other-clinic"]).await), ["active"]);
    assert_eq!(table.done(&["key", "list", "--client", "unknown"]).await, "unknown has no keys.\n");
    assert_eq!(table.done(&["key", "list", "--client", "unknown", "--output", "json"]).await, "");
    let drawn = table.done(&["key", "list", "--client", CLIENT]).await;
    let header: Vec<_> = drawn.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(header, ["FINGERPRINT", "LABEL", "STATE", "CREATED", "EXPIRES", "REVOKED"]);
    assert_eq!(drawn.lines().count(), 4);
}

/// More than one page of the index.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_complete() {
    let table = Table::new().await;
    let label = "x".repeat(100);
    for seed in 0..60_u8 {
        let key = ApiKey::from_secret(&[seed; 32]);
        let mut item = cdm_lambda::store::items::api_key_key(&key.sha256_hex());
        item.insert("client_id".to_owned(), crate::helpers::text(CLIENT));
        item.insert("label".to_owned(), crate::helpers::text(&label));
        item.insert("padding".to_owned(), crate::helpers::text(&"x".repeat(30_000)));
        item.insert("created_at".to_owned(), crate::helpers::number(usize::from(seed)));
        table.put(item).await;
    }
    let rows = table.json(&["key", "list", "--client", CLIENT]).await;
    assert_eq!(rows.len(), 60);
    assert!(rows.is_sorted_by_key(|row| text(row, "created_at").to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn revoking_asks_first() {
    let table = Table::demo().await;
    let key = ApiKey::parse(testkit::demo::KEY).unwrap();
    let print = &key.sha256_hex()[..12];
    let revoke = ["key", "revoke", "--client", CLIENT, print];
    for (input, code) in [("", 1), ("\n", 1), ("no\n", 1), ("y\n", 0)] {
        let ran = table.typed(&revoke, input).await;
        assert_eq!(ran.code, code, "{input:?}: {ran:?}");
        assert!(ran.err.starts_with(&format!("Revoke the key {print} of {CLIENT}?")), "{ran:?}");
        assert_eq!(is_good(&table, testkit::demo::KEY, CLIENT).await, code == 1);
    }
}

/// For a misspelled client, it asks before it issues a key.
#[tokio::test(flavor = "multi_thread")]
async fn the_first_key_of_a_client_needs_confirmation() {
    let table = Table::demo().await;
    let before = table.items().await.len();
    let misspelled = ["key", "issue", "--client", "demo-clinc"];
    for (input, code) in [("", 1), ("n\n", 1), ("y\n", 0)] {
        let ran = table.typed(&misspelled, input).await;
        assert_eq!(ran.code, code, "{input:?}: {ran:?}");
        assert!(ran.err.starts_with("demo-clinc has no API key so far. Issue the first key of demo-clinc? [y/N]"));
        assert_eq!(table.items().await.len(), before + usize::from(code == 0));
    }
    // For a client with keys, even invalid ones, it does not ask.
    table.done(&misspelled).await;
    table.done(&["key", "issue", "--client", CLIENT]).await;
    table.done(&["key", "issue", "--client", "third-clinic", "--yes"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leaked_key_is_identified_and_revoked_by_itself() {
    let table = Table::demo().await;
    let identify = ["key", "identify", "--output", "json"];
    for (key, client, state) in [
        (testkit::demo::KEY, CLIENT, "active"),
        (testkit::demo::EXPIRED_KEY, CLIENT, "expired"),
        (testkit::demo::REVOKED_KEY, CLIENT, "revoked"),
        (testkit::demo::OTHER_KEY, "other-clinic", "active"),
    ] {
        let ran = table.typed(&identify, &format!(" {key}\r\n")).await;
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{ran:?}");
        let row = &crate::helpers::objects(&ran.out)[0];
        assert_eq!((text(row, "client_id"), text(row, "state")), (client, state));
        assert!(ApiKey::parse(key).unwrap().sha256_hex().starts_with(text(row, "fingerprint")));
        assert!(!ran.out.contains(key));
    }
    let drawn = table.typed(&["key", "identify"], testkit::demo::OTHER_KEY).await.out;
    assert!(drawn.starts_with("Client       other-clinic\n") && drawn.contains("\nState        active\n"), "{drawn}");

    let revoke = ["key", "revoke", "--key-stdin"];
    let key = format!("{}\n", testkit::demo::OTHER_KEY);
    for input in [key.clone(), format!("{key}n\n")] {
        assert_eq!(table.typed(&revoke, &input).await.code, 1);
        assert!(is_good(&table, testkit::demo::OTHER_KEY, "other-clinic").await);
    }
    let ran = table.typed(&[&revoke[..], &["--yes", "--output", "json"]].concat(), &key).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(text(&crate::helpers::objects(&ran.out)[0], "state"), "revoked");
    assert!(!is_good(&table, testkit::demo::OTHER_KEY, "other-clinic").await);
    assert!(is_good(&table, testkit::demo::KEY, CLIENT).await);
}

/// A text that is not a key is not looked up: a look-up would report that the table does not exist.
#[tokio::test(flavor = "multi_thread")]
async fn a_text_that_is_not_a_key_is_not_looked_up() {
    let table = Table::new().await;
    let mut misspelled = testkit::demo::KEY.to_owned();
    misspelled.replace_range(20..21, if &misspelled[20..21] == "A" { "B" } else { "A" });
    let no_key =
        "this is not an API key (wrong format or checksum), so it was not looked up: check that all of it was copied";
    for (input, line) in [
        (misspelled.as_str(), no_key),
        ("hunter2\n", no_key),
        ("\n", no_key),
        ("", "the API key must be on standard input, which has no more lines: write the API key to it"),
    ] {
        for command in [&["key", "identify"][..], &["key", "revoke", "--key-stdin", "--yes"]] {
            let ran = table.typed(&[command, &["--table", "no-such-table"]].concat(), input).await;
            assert_eq!((ran.code, crate::helpers::one_line(&ran.err).as_str()), (1, line));
        }
    }
    let ran = table.typed(&["key", "identify", "--table", "no-such-table"], testkit::demo::KEY).await;
    assert!(crate::helpers::one_line(&ran.err).contains("the table no-such-table does not exist here"), "{ran:?}");
    let ran = table.typed(&["key", "identify"], testkit::demo::KEY).await;
    assert_eq!(
        crate::helpers::one_line(&ran.err),
        "the table cdm-phones has no such API key, so it is not valid here: check --table"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_of_another_client_is_not_revoked() {
    let table = Table::demo().await;
    let other = ApiKey::parse(testkit::demo::OTHER_KEY).unwrap().sha256_hex();
    for print in [&other[..12], "000000000000"] {
        let line = table.refused(&["key", "revoke", "--client", CLIENT, print, "--yes"]).await;
        assert_eq!(
            line,
            "no key of demo-clinic has this fingerprint: `cdm key list --client demo-clinic` lists its keys"
        );
    }
    assert!(is_good(&table, testkit::demo::OTHER_KEY, "other-clinic").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input() {
    let table = Table::new().await;
    let long = "x".repeat(101);
    for (arguments, word) in [
        (&["key", "issue"][..], "--client"),
        (&["key", "issue", "--client", "a#b"], "must be 1 to 100 of the characters"),
        (&["key", "issue", "--client", "a", "--label", &long], "at most 100 characters"),
        (&["key", "issue", "--client", "a", "--label", "a\nb"], "control character"),
        (&["key", "issue", "--client", "a", "--expires", "soon"], "must be a date such as"),
        (&["key", "issue", "--client", "a", "--expires", "2020-01-01"], "must be in the future"),
        (&["key", "issue", "--client", "a", "--expires", "0s"], "must be in the future"),
        (&["key", "revoke", "--client", "a", "zz"], "12 hexadecimal digits"),
        (&["key", "revoke", "--client", "a"], "<FINGERPRINT>"),
        (&["key", "list", "--client", ""], "--client"),
        (&["key", "revoke", "--client", "a", "--key-stdin"], "cannot be used with"),
        (&["key", "revoke", "000000000000", "--key-stdin"], "cannot be used with"),
        // A key must not be an argument.
        (&["key", "identify", testkit::demo::KEY], "unexpected argument"),
    ] {
        let line = table.misused(arguments).await;
        assert!(line.contains(word), "{arguments:?}: {line}");
    }
    assert_eq!(table.items().await.len(), 0);
}
