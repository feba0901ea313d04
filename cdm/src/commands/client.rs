//! `cdm client`: deletes everything of a client.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use aws_sdk_dynamodb::types::AttributeValue;
use cdm_lambda::domain::ClientId;
use cdm_lambda::store::items::Item;
use clap::{Args, Subcommand};
use serde_json::json;

use crate::commands::arguments::client_id;
use crate::commands::key;
use crate::table::change;
use crate::table::connection::Connection;
use crate::table::corruption::{Subject, subject};
use crate::table::erase::{self, CorruptNumbers, Deletion};
use crate::table::saved::{Save, Shared, lock};
use crate::table::scan::{Filter, Scan};
use crate::ui::Failure;
use crate::ui::output::{self, Output, count};

/// Delete a client.
#[derive(Debug, Subcommand)]
pub(crate) enum Client {
    Delete(Delete),
}

/// Delete every record, number and API key of a client. If it is interrupted, run it again.
///
/// It reads the whole table to find them.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cdm client delete --client demo-clinic --dry-run
  cdm client delete --client demo-clinic")]
pub(crate) struct Delete {
    /// The client.
    #[arg(long, value_name = "ID", value_parser = client_id)]
    client: ClientId,
    /// Only count what would be deleted.
    #[arg(long)]
    dry_run: bool,
    /// How many parts of the table to process at once.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(i32).range(1..=100))]
    segments: i32,
    #[command(flatten)]
    save: Save,
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
}

/// What was found.
#[derive(Debug, Default)]
struct Counts {
    customers: AtomicU64,
    phones: AtomicU64,
    keys: AtomicU64,
}

/// Runs the command.
///
/// # Errors
/// What was refused or failed, in one line.
pub(crate) async fn run(command: Client, connection: &Connection, output: Output) -> Result<(), Failure> {
    let Client::Delete(delete) = command;
    delete.run(connection, output).await
}

impl Delete {
    async fn run(self, connection: &Connection, output: Output) -> Result<(), Failure> {
        let client = self.client.as_str().to_owned();
        let counts = Arc::new(Counts::default());
        let saving = self.save.clone().open(connection.address(), "client delete").shared();
        if self.dry_run {
            self.count(connection, &counts).await?;
        } else {
            self.ask(connection).await?;
            let work =
                Work { connection: connection.clone(), counts: Arc::clone(&counts), saving: Arc::clone(&saving) };
            let deleted = self.delete(&work).await;
            lock(&saving).report_on(deleted)?;
        }
        let [customers, phones, keys] = [&counts.customers, &counts.phones, &counts.keys].map(|n| n.load(Relaxed));
        if customers + phones + keys == 0 && (self.dry_run || self.yes) {
            output::note(&format!("The table {} has no data of {client}: is this the right name?", connection.table));
        }
        let verb = if self.dry_run { "would be" } else { "are" };
        output.done(
            &format!(
                "{}, {} and {} of {client} {verb} deleted.",
                count(customers, "customer"),
                count(phones, "phone number"),
                count(keys, "key"),
            ),
            &json!({
                "client_id": client,
                "dry_run": self.dry_run,
                "customers": customers,
                "phone_numbers": phones,
                "keys": keys,
            }),
        )?;
        if !self.dry_run {
            lock(&saving).report();
        }
        Ok(())
    }

    async fn delete(&self, work: &Work) -> Result<(), Failure> {
        // Delete the keys first, so that the client's own requests stop.
        for key in key::of_client(&work.connection, &self.client).await? {
            if erase::item(&work.connection, change::key_of(&key), &work.saving).await? == Deletion::Deleted {
                work.counts.keys.fetch_add(1, Relaxed);
            }
        }
        self.delete_records(work).await?;
        self.delete_the_rest(work).await
    }

    /// A client without data may be misspelled. A client that has a key is found without reading the table.
    async fn ask(&self, connection: &Connection) -> Result<(), Failure> {
        if self.yes {
            return Ok(());
        }
        let (client, table) = (self.client.as_str(), &connection.table);
        let has_key = !key::of_client(connection, &self.client).await?.is_empty();
        if has_key || self.scan().any(connection, self.filter()).await? {
            let question = format!(
                "Delete every record, number and key of {client} in the table {table}? Type the client's name:"
            );
            output::confirm(&question, client, false)
        } else {
            output::confirm(&format!("The table {table} has no data of {client}. Is this the right name?"), "y", false)
        }
    }

    /// Items whose partition key names the client, and API keys of the client.
    fn filter(&self) -> Filter {
        let prefix = format!("CLIENT#{}#", self.client.as_str());
        Filter {
            expression: "begins_with(pk, :prefix) OR client_id = :client",
            values: HashMap::from([
                (":prefix".to_owned(), AttributeValue::S(prefix)),
                (":client".to_owned(), AttributeValue::S(self.client.as_str().to_owned())),
            ]),
        }
    }

    fn scan(&self) -> Scan {
        Scan { segments: self.segments, ..Scan::default() }
    }

    async fn count(&self, connection: &Connection, counts: &Arc<Counts>) -> Result<(), Failure> {
        let counts = Arc::clone(counts);
        let each = move |item: Item| {
            let kind = match subject(&item) {
                Subject::Phone { .. } => &counts.phones,
                Subject::Key => &counts.keys,
                Subject::Customer { .. } | Subject::Malformed(_) => &counts.customers,
            };
            kind.fetch_add(1, Relaxed);
            async { Ok(()) }
        };
        self.scan().each(connection, Some(self.filter()), each).await
    }

    async fn delete_records(&self, work: &Work) -> Result<(), Failure> {
        let through = work.clone();
        let each = move |item: Item| {
            let work = through.clone();
            async move { work.delete_record(&item).await.map(|_| ()) }
        };
        self.scan().each(&work.connection, Some(self.filter()), each).await
    }

    /// Deletes numbers without a record, keys that the index does not list, and corrupt items.
    async fn delete_the_rest(&self, work: &Work) -> Result<(), Failure> {
        let through = work.clone();
        let each = move |item: Item| {
            let work = through.clone();
            async move {
                if work.delete_record(&item).await? {
                    return Ok(());
                }
                let kind = match subject(&item) {
                    Subject::Phone { .. } => &work.counts.phones,
                    Subject::Key => &work.counts.keys,
                    _ => &work.counts.customers,
                };
                match erase::item(&work.connection, change::key_of(&item), &work.saving).await? {
                    Deletion::Deleted => drop(kind.fetch_add(1, Relaxed)),
                    Deletion::Absent => {}
                    Deletion::Busy => {
                        return Err(Failure(
                            "the client is still in use: stop what writes to it and run the command again".to_owned(),
                        ));
                    }
                }
                Ok(())
            }
        };
        self.scan().each(&work.connection, Some(self.filter()), each).await
    }
}

/// What the parts of a deletion share.
#[derive(Clone)]
struct Work {
    connection: Connection,
    counts: Arc<Counts>,
    saving: Shared,
}

impl Work {
    /// Returns `false` if the item is not a customer record.
    async fn delete_record(&self, item: &Item) -> Result<bool, Failure> {
        let Subject::Customer { client_id, ccid } = subject(item) else {
            return Ok(false);
        };
        let leave = CorruptNumbers::Leave;
        if let Some(erased) = erase::customer(&self.connection, &client_id, &ccid, leave, &self.saving).await? {
            self.counts.customers.fetch_add(1, Relaxed);
            self.counts.phones.fetch_add(erased.counters, Relaxed);
        }
        Ok(true)
    }
}
