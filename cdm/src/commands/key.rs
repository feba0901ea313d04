//! `cdm key`: issue, list, identify and revoke API keys.

use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::types::AttributeValue;
use cdm_lambda::auth::ApiKey;
use cdm_lambda::domain::ClientId;
use cdm_lambda::store::items::{self, Item};
use cdm_lambda::store::schema;
use cdm_lambda::time::UnixMillis;
use clap::{Args, Subcommand};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, SpanRelativeTo, Timestamp};
use serde_json::{Value, json};

use crate::commands::arguments::client_id;
use crate::table::change::{self, Change, ROUNDS};
use crate::table::connection::Connection;
use crate::ui::Failure;
use crate::ui::output::{self, Output};
use crate::ui::stdin;

/// Issue, list, identify and revoke API keys.
#[derive(Debug, Subcommand)]
pub(crate) enum Key {
    Issue(Issue),
    List(List),
    Identify(Identify),
    Revoke(Revoke),
}

/// Create a key and show it once: only its hash is stored.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cdm key issue --client demo-clinic --label 'nightly sync'
  cdm key issue --client new-clinic --yes
  cdm key issue --client demo-clinic --expires 90d
  cdm key issue --client demo-clinic --expires 2030-01-01 --output json | jq -r .key")]
pub(crate) struct Issue {
    /// The client that the key is valid for.
    #[arg(long, value_name = "ID", value_parser = client_id)]
    client: ClientId,
    /// A name for the key: who uses it, and where. It is not secret.
    #[arg(long, value_name = "TEXT", value_parser = label, default_value = "")]
    label: String,
    /// When the key expires: a date (at its first moment, UTC), a time (RFC 3339), or a duration such as 30s,
    /// 45m, 12h, 90d. Without it, the key is valid until it is revoked.
    #[arg(long, value_name = "DATE|DURATION", value_parser = expiry)]
    expires: Option<UnixMillis>,
    /// Do not ask if the client has no key yet.
    #[arg(long, short)]
    yes: bool,
}

/// List a client's keys by their fingerprints. The keys themselves are not stored.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cdm key list --client demo-clinic
  cdm key list --client demo-clinic --output json | jq -r 'select(.state == \"active\").fingerprint'")]
pub(crate) struct List {
    /// The client that the keys belong to.
    #[arg(long, value_name = "ID", value_parser = client_id)]
    client: ClientId,
}

/// Show which client a key belongs to, for example a leaked key. It reads the key from standard input.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cdm key identify < leaked-key.txt
  cdm key identify --output json < leaked-key.txt | jq -r .client_id")]
pub(crate) struct Identify {}

/// Revoke a key. A function that has cached it accepts it until the cached entry expires, by default after a minute.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cdm key revoke --client demo-clinic 9b8ff2baeb4c
  cdm key revoke --key-stdin --yes < leaked-key.txt")]
pub(crate) struct Revoke {
    /// The client that the key belongs to.
    #[arg(long, value_name = "ID", value_parser = client_id, required_unless_present = "key_stdin")]
    client: Option<ClientId>,
    /// The key's fingerprint, as `cdm key list` shows it.
    #[arg(value_parser = fingerprint, required_unless_present = "key_stdin")]
    fingerprint: Option<String>,
    /// Read the key itself from standard input, and find its client.
    #[arg(long, conflicts_with_all = ["client", "fingerprint"])]
    key_stdin: bool,
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
}

/// The length of a fingerprint: 48 bits of the key's SHA-256, enough to tell a client's keys apart.
const FINGERPRINT_LENGTH: usize = 12;

const COLUMNS: [output::Column; 6] = [
    ("FINGERPRINT", "fingerprint"),
    ("LABEL", "label"),
    ("STATE", "state"),
    ("CREATED", "created_at"),
    ("EXPIRES", "expires_at"),
    ("REVOKED", "revoked_at"),
];

/// Runs the command.
///
/// # Errors
/// What was refused or failed, in one line.
pub(crate) async fn run(command: Key, connection: &Connection, output: Output) -> Result<(), Failure> {
    match command {
        Key::Issue(issue) => issue.run(connection, output).await,
        Key::List(list) => list.run(connection, output).await,
        Key::Identify(_) => identify(connection, output).await,
        Key::Revoke(revoke) => revoke.run(connection, output).await,
    }
}

impl Issue {
    async fn run(self, connection: &Connection, output: Output) -> Result<(), Failure> {
        if !has_keys(connection, &self.client).await? {
            let client = self.client.as_str();
            output::confirm(
                &format!("{client} has no API key so far. Issue the first key of {client}?"),
                "y",
                self.yes,
            )?;
        }
        let mut secret = [0; 32];
        getrandom::getrandom(&mut secret)
            .map_err(|_| Failure("no key was created: the system has no random numbers".to_owned()))?;
        let key = ApiKey::from_secret(&secret);
        let hash = key.sha256_hex();
        let mut item = items::api_key_key(&hash);
        let mut put = |name: &str, value| item.insert(name.to_owned(), value);
        put(items::CLIENT_ID, AttributeValue::S(self.client.as_str().to_owned()));
        put(items::LABEL, AttributeValue::S(self.label));
        put(items::CREATED_AT, items::from_unix_millis(UnixMillis::now()));
        if let Some(expires) = self.expires {
            put(items::EXPIRES_AT, items::from_unix_millis(expires));
        }
        if connection.create(item.clone()).await?.is_some() {
            return Err(Failure(
                "no key was created, because the table already has this key: run the command again".to_owned(),
            ));
        }
        let mut row = row(&item, UnixMillis::now());
        if let Some(object) = row.as_object_mut() {
            object.remove("revoked_at");
            object.insert("key".to_owned(), key.reveal().into());
        }
        output.details(
            &[
                ("Key", "key"),
                ("Fingerprint", "fingerprint"),
                ("Client", "client_id"),
                ("Label", "label"),
                ("Expires", "expires_at"),
            ],
            &row,
        )?;
        output::note("Keep the key now: it is stored nowhere and cannot be shown again.");
        Ok(())
    }
}

impl List {
    async fn run(self, connection: &Connection, output: Output) -> Result<(), Failure> {
        let now = UnixMillis::now();
        let rows: Vec<_> = of_client(connection, &self.client).await?.iter().map(|item| row(item, now)).collect();
        output.list(&COLUMNS, &rows, &format!("{} has no keys.", self.client.as_str()))
    }
}

async fn identify(connection: &Connection, output: Output) -> Result<(), Failure> {
    let row = row(&of_stdin(connection).await?, UnixMillis::now());
    output.details(
        &[
            ("Client", "client_id"),
            ("Label", "label"),
            ("Fingerprint", "fingerprint"),
            ("State", "state"),
            ("Created", "created_at"),
            ("Expires", "expires_at"),
            ("Revoked", "revoked_at"),
        ],
        &row,
    )
}

impl Revoke {
    async fn run(self, connection: &Connection, output: Output) -> Result<(), Failure> {
        let item = match (&self.client, &self.fingerprint) {
            (Some(client), Some(fingerprint)) => of_fingerprint(connection, client, fingerprint).await?,
            _ => of_stdin(connection).await?,
        };
        let named = row(&item, UnixMillis::now());
        let text = |name| named.get(name).and_then(Value::as_str).unwrap_or_default();
        let (client, fingerprint) = (text("client_id"), text("fingerprint"));
        let hash = hash(&item).unwrap_or_default();
        if !item.contains_key(items::REVOKED_AT) {
            output::confirm(
                &format!(
                    "Revoke the key {fingerprint} of {client}? A function that has cached the key accepts it until the cached entry expires."
                ),
                "y",
                self.yes,
            )?;
        }
        let revoked = revoke(connection, items::api_key_key(hash)).await?;
        let row = row(&revoked, UnixMillis::now());
        let when = row.get("revoked_at").and_then(Value::as_str);
        let when = when.map_or("is revoked".to_owned(), |when| format!("was revoked at {when}"));
        output.done(&format!("The key {fingerprint} of {client} {when}."), &row)
    }
}

/// Revokes the key, and returns its item. If it is revoked already, the earlier time stays.
async fn revoke(connection: &Connection, key: Item) -> Result<Item, Failure> {
    for _ in 0..ROUNDS {
        let read = connection.item(key.clone()).await?;
        let item = read.ok_or_else(|| Failure("the key was deleted meanwhile, so it is not valid".to_owned()))?;
        let mut revoked = item.clone();
        revoked.entry(items::REVOKED_AT.to_owned()).or_insert_with(|| items::from_unix_millis(connection.now()));
        let Some(change) = Change::new(Some(item), Some(revoked.clone())) else { return Ok(revoked) };
        if change::apply(connection, &[change], &[]).await? {
            return Ok(revoked);
        }
    }
    Err(Failure("other programs keep changing the key: run the command again".to_owned()))
}

async fn of_fingerprint(connection: &Connection, client: &ClientId, fingerprint: &str) -> Result<Item, Failure> {
    let named = |item: &Item| hash(item).is_some_and(|hash| hash.starts_with(fingerprint));
    let mut found: Vec<_> = of_client(connection, client).await?.into_iter().filter(named).collect();
    match (found.pop(), found.pop()) {
        (Some(item), None) => Ok(item),
        _ => Err(Failure(format!(
            "no key of {0} has this fingerprint: `cdm key list --client {0}` lists its keys",
            client.as_str()
        ))),
    }
}

/// Reads a key from standard input and finds its item. A key is never an argument, because arguments appear in the
/// shell's history and in the list of processes.
async fn of_stdin(connection: &Connection) -> Result<Item, Failure> {
    let line = stdin::line("API key").map_err(|rule| Failure(format!("the API key {rule}")))?;
    let Some(key) = ApiKey::parse(line.trim()) else {
        return Err(Failure(
            "this is not an API key (wrong format or checksum), so it was not looked up: check that all of it was \
             copied"
                .to_owned(),
        ));
    };
    let item = connection.item(items::api_key_key(&key.sha256_hex())).await?;
    item.ok_or_else(|| {
        Failure(format!("the table {} has no such API key, so it is not valid here: check --table", connection.table))
    })
}

/// Whether the table has a key of the client, including revoked and expired keys.
async fn has_keys(connection: &Connection, client: &ClientId) -> Result<bool, Failure> {
    let first = keys_of(connection, client).limit(1).send().await;
    let first = first.map_err(|error| connection.failed("the keys cannot be listed", &error))?;
    Ok(first.count() > 0)
}

fn keys_of(connection: &Connection, client: &ClientId) -> QueryFluentBuilder {
    connection
        .client
        .query()
        .table_name(&connection.table)
        .index_name(schema::KEYS_BY_CLIENT)
        .key_condition_expression("client_id = :client")
        .expression_attribute_values(":client", AttributeValue::S(client.as_str().to_owned()))
}

/// Every key of a client, oldest first. The index follows the table within moments.
///
/// # Errors
/// The failure of the call, in one line.
pub(crate) async fn of_client(connection: &Connection, client: &ClientId) -> Result<Vec<Item>, Failure> {
    let mut pages = keys_of(connection, client).into_paginator().items().send();
    let mut items = Vec::new();
    while let Some(item) = pages.next().await {
        items.push(item.map_err(|error| connection.failed("the keys cannot be listed", &error))?);
    }
    Ok(items)
}

/// What may be shown of a key's item.
fn row(item: &Item, now: UnixMillis) -> Value {
    let text = |name: &str| item.get(name).and_then(|value| value.as_s().ok());
    let moment = |name: &str| items::unix_millis(item.get(name));
    let (expires_at, revoked_at) = (moment(items::EXPIRES_AT), moment(items::REVOKED_AT));
    let state = if item.contains_key(items::REVOKED_AT) {
        "revoked"
    } else if item.contains_key(items::EXPIRES_AT) && expires_at.is_none_or(|expires_at| expires_at <= now) {
        "expired"
    } else {
        "active"
    };
    json!({
        "fingerprint": hash(item).and_then(|hash| hash.get(..FINGERPRINT_LENGTH)),
        "client_id": text(items::CLIENT_ID),
        "label": text(items::LABEL),
        "state": state,
        "created_at": moment(items::CREATED_AT).map(UnixMillis::to_rfc3339),
        "expires_at": expires_at.map(UnixMillis::to_rfc3339),
        "revoked_at": revoked_at.map(UnixMillis::to_rfc3339),
    })
}

/// The hash that is the key's name in the table.
fn hash(item: &Item) -> Option<&str> {
    item.get(items::PK)?.as_s().ok()?.strip_prefix("KEY#")
}

fn label(text: &str) -> Result<String, String> {
    if text.chars().count() <= 100 && !text.chars().any(char::is_control) {
        Ok(text.to_owned())
    } else {
        Err("must be at most 100 characters, none of them a control character".to_owned())
    }
}

fn fingerprint(text: &str) -> Result<String, String> {
    let text = text.to_ascii_lowercase();
    if (FINGERPRINT_LENGTH..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        Ok(text)
    } else {
        Err("must be a fingerprint as `cdm key list` shows it: 12 hexadecimal digits".to_owned())
    }
}

fn expiry(text: &str) -> Result<UnixMillis, String> {
    expiry_at(text, UnixMillis::now())
}

fn expiry_at(text: &str, now: UnixMillis) -> Result<UnixMillis, String> {
    const RULE: &str = "must be a date such as 2030-01-01, or a time from now such as 12h or 90d";
    let moment = match text.parse::<Span>() {
        Ok(span) => span
            .to_duration(SpanRelativeTo::days_are_24_hours())
            .ok()
            .and_then(|duration| i64::try_from(now.millis()).ok()?.checked_add(duration.as_millis().try_into().ok()?)),
        Err(_) => date(text),
    };
    let moment = moment.and_then(|millis| UnixMillis::new(millis.try_into().ok()?)).ok_or(RULE)?;
    if moment > now { Ok(moment) } else { Err("must be in the future".to_owned()) }
}

/// `2030-01-01`, which is its first moment in UTC, or a time with an offset; in milliseconds since 1970.
fn date(text: &str) -> Option<i64> {
    let moment = match text.parse::<Timestamp>() {
        Ok(moment) => moment,
        Err(_) if text.len() == 10 => text.parse::<Date>().ok()?.to_zoned_datetime(TimeZone::UTC).ok()?.timestamp(),
        Err(_) => return None,
    };
    Some(moment.as_millisecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expiry_is_a_date_a_moment_or_a_time_from_now() {
        let now = UnixMillis::new(1_732_003_200_000).unwrap(); // 2024-11-19T08:00:00Z
        let at = |text: &str| expiry_at(text, now).map(UnixMillis::to_rfc3339);
        for (text, moment) in [
            ("1s", "2024-11-19T08:00:01.000Z"),
            ("45m", "2024-11-19T08:45:00.000Z"),
            ("12h", "2024-11-19T20:00:00.000Z"),
            ("90d", "2025-02-17T08:00:00.000Z"),
            ("1w", "2024-11-26T08:00:00.000Z"),
            ("1.5h", "2024-11-19T09:30:00.000Z"),
            ("2024-11-20", "2024-11-20T00:00:00.000Z"),
            ("2028-02-29", "2028-02-29T00:00:00.000Z"),
            ("2024-11-19T08:00:01Z", "2024-11-19T08:00:01.000Z"),
            ("2024-11-19T11:00:00.5+01:00", "2024-11-19T10:00:00.500Z"),
        ] {
            assert_eq!(at(text).as_deref(), Ok(moment), "{text}");
        }
        for bad in [
            "",
            "d",
            "1",
            "-1d",
            "1y",
            "99999999999999999999s",
            "999999999d",
            "tomorrow",
            "2024-11-31",
            "2027-02-29",
            "2024-13-01",
            "24-11-20",
            "2024-11-20T08:00:00",
            "0s",
            "2024-11-19",
            "2020-01-01",
            "é",
        ] {
            assert!(at(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_fingerprint_is_hexadecimal() {
        assert_eq!(fingerprint("9B8FF2BAEB4C").as_deref(), Ok("9b8ff2baeb4c"));
        for bad in ["", "9b8ff2baeb4", "9b8ff2baeb4g", &"a".repeat(65)] {
            assert!(fingerprint(bad).is_err(), "{bad}");
        }
    }
}
