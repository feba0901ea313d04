//! `cdm item`: shows and changes one item of the table, for corrections that need a person.

use std::fmt::Write as _;
use std::io::Read as _;
use std::path::PathBuf;

use aws_sdk_dynamodb::types::AttributeValue;
use cdm_lambda::store::items::{self, Item as Stored};
use cdm_lambda::time::UnixMillis;
use clap::{Args, Subcommand};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::table::change::{self, Change};
use crate::table::connection::Connection;
use crate::table::corruption::Kind;
use crate::table::dynamo_json;
use crate::table::erase::{self, Deletion};
use crate::table::repair;
use crate::table::repair::findings::Finding;
use crate::table::saved::{self, Save, SaveTo, lock};
use crate::ui::Failure;
use crate::ui::output::{self, Output};
use crate::ui::stdin;

/// Show, correct or delete one item of the table, as `cdm check` names it.
#[derive(Debug, Subcommand)]
pub(crate) enum Item {
    Show(Show),
    Put(Put),
    Delete(Delete),
}

/// The member in which `show` prints the item's hash, so that `put` can tell whether the item has changed since.
const SHOWN: &str = "cdm_shown";

/// Show an item in DynamoDB's JSON, with its hash for `cdm item put`.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  cdm item show --pk 'CLIENT#demo-clinic#CUSTOMER#CORRUPT-1' --sk CUSTOMER > item.json")]
pub(crate) struct Show {
    #[command(flatten)]
    key: Key,
}

/// Replace the shown item with a corrected one. The corrected item must have no finding of its own, except a consent that
/// `cdm check --fix` moves.
///
/// The command refuses an item that has changed since `cdm item show` printed it.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  cdm item put item.json")]
pub(crate) struct Put {
    /// The item, in the form that `cdm item show` prints; - reads it from standard input.
    file: PathBuf,
    #[command(flatten)]
    save: SaveTo,
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
}

/// Delete only this item. For a customer, use `cdm customer delete`.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  cdm item delete --pk 'CLIENT#demo-clinic#CUSTOMER#a/b' --sk CUSTOMER")]
pub(crate) struct Delete {
    #[command(flatten)]
    key: Key,
    #[command(flatten)]
    save: Save,
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
}

/// An item's key.
#[derive(Debug, Args)]
struct Key {
    /// The partition key, which may contain a ccid or a phone number; - reads it from standard input.
    #[arg(long, value_parser = partition_key)]
    pk: String,
    /// The sort key.
    #[arg(long)]
    sk: String,
}

fn partition_key(text: &str) -> Result<String, String> {
    stdin::value(text, "partition key").map(std::borrow::Cow::into_owned)
}

impl Key {
    fn item(&self) -> Stored {
        let part = |name: &str, text: &str| (name.to_owned(), AttributeValue::S(text.to_owned()));
        Stored::from([part(items::PK, &self.pk), part(items::SK, &self.sk)])
    }
}

/// Runs the command.
///
/// # Errors
/// What was refused or failed, in one line.
pub(crate) async fn run(command: Item, connection: &Connection, output: Output) -> Result<(), Failure> {
    match command {
        Item::Show(show) => show.run(connection, output).await,
        Item::Put(put) => put.run(connection, output).await,
        Item::Delete(delete) => delete.run(connection, output).await,
    }
}

/// The hash of an item, in hex. Equal items have equal hashes, because their JSON has sorted maps and sets.
fn hash(item: &Stored) -> String {
    let hash: [u8; 32] = Sha256::digest(dynamo_json::from_item(item).to_string()).into();
    hash.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

fn has_changed() -> Failure {
    Failure("the item has changed since it was shown: show it again".to_owned())
}

fn not_there() -> Failure {
    Failure("there is no such item: `cdm check` names the items that are corrupt".to_owned())
}

impl Show {
    async fn run(self, connection: &Connection, output: Output) -> Result<(), Failure> {
        let mut item = connection.item(self.key.item()).await?.ok_or_else(not_there)?;
        item.insert(SHOWN.to_owned(), AttributeValue::S(hash(&item)));
        let json = dynamo_json::from_item(&item);
        match output {
            Output::Json => output::print_object(&json),
            // Indented, for an editor.
            Output::Table => output::print_text(&serde_json::to_string_pretty(&json).unwrap_or_default()),
        }
    }
}

impl Put {
    async fn run(self, connection: &Connection, output: Output) -> Result<(), Failure> {
        let shown = self.file.display();
        let mut text = String::new();
        let read = if self.file.as_os_str() == "-" {
            std::io::stdin().lock().read_to_string(&mut text).map(|_| ())
        } else {
            std::fs::read_to_string(&self.file).map(|read| text = read)
        };
        read.map_err(|error| Failure(format!("{shown} cannot be read ({error})")))?;
        let mut item =
            serde_json::from_str(&text).ok().and_then(|json| dynamo_json::to_item(&json)).ok_or_else(|| {
                Failure(format!("{shown} is not an item in DynamoDB's JSON: begin with what `cdm item show` prints"))
            })?;
        let shown_hash = item.remove(SHOWN);
        let findings = repair::item(&item, &[], UnixMillis::now()).findings;
        // `cdm check --fix` moves a consent that is still in a channel.
        if let Some(Finding { kind, .. }) = findings.iter().find(|found| found.kind != Kind::CustomerChannelConsent) {
            return Err(Failure(format!("{shown} is not correct yet: {}: {}", kind.code(), kind.what())));
        }
        let before = connection.item(change::key_of(&item)).await?.ok_or_else(not_there)?;
        if shown_hash != Some(AttributeValue::S(hash(&before))) {
            return Err(has_changed());
        }
        let Some(change) = Change::new(Some(before), Some(item)) else {
            return output.done("The item already has this content.", &json!({ "changed": false }));
        };
        output::confirm(&format!("Replace the item with {shown}?"), "y", self.yes)?;
        let saving = self.save.open(connection.address(), "item put").shared();
        let items = lock(&saving).save_or_report(std::slice::from_ref(&change))?;
        let written = saved::write(connection, &saving, items, &[change], &[]).await;
        let written = written.and_then(|is_written| if is_written { Ok(()) } else { Err(has_changed()) });
        lock(&saving).report_on(written)?;
        output.done("The item is corrected.", &json!({ "changed": true }))?;
        lock(&saving).report();
        Ok(())
    }
}

impl Delete {
    async fn run(self, connection: &Connection, output: Output) -> Result<(), Failure> {
        let key = self.key.item();
        if connection.item(key.clone()).await?.is_none() {
            return Err(not_there());
        }
        output::confirm("Delete this item?", "y", self.yes)?;
        let saving = self.save.open(connection.address(), "item delete").shared();
        let deleted = erase::item(connection, key, &saving).await;
        let deleted = deleted.and_then(|deletion| match deletion {
            Deletion::Deleted | Deletion::Absent => Ok(()),
            Deletion::Busy => Err(Failure(
                "other programs keep changing the item: stop those programs and run the command again".to_owned(),
            )),
        });
        lock(&saving).report_on(deleted)?;
        output.done("The item is deleted.", &json!({ "deleted": true }))?;
        lock(&saving).report();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_maps_and_sets_does_not_change_the_hash() {
        let item = |json| dynamo_json::to_item(&serde_json::from_str(json).unwrap()).unwrap();
        let one = item(r#"{"a": {"SS": ["x", "y"]}, "b": {"M": {"c": {"N": "1"}, "d": {"N": "2"}}}}"#);
        let same = item(r#"{"b": {"M": {"d": {"N": "2"}, "c": {"N": "1"}}}, "a": {"SS": ["y", "x"]}}"#);
        let other = item(r#"{"a": {"SS": ["x", "y"]}, "b": {"M": {"c": {"N": "2"}, "d": {"N": "1"}}}}"#);
        assert_eq!(hash(&one), hash(&same));
        assert_ne!(hash(&one), hash(&other));
        // A map of many members, whose order in memory is random.
        let many: Vec<_> = (0..50).map(|n| format!(r#""a{n}": {{"M": {{"b{n}": {{"N": "{n}"}}}}}}"#)).collect();
        let many = format!("{{{}}}", many.join(","));
        assert_eq!(hash(&item(&many)), hash(&item(&many)));
    }
}
