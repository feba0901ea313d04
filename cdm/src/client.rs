//! `cdm client`: everything of a client at once.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use aws_sdk_dynamodb::types::AttributeValue;
use cdm_lambda::domain::ClientId;
use cdm_lambda::store::items::{self, Item};
use clap::{Args, Subcommand};
use serde_json::json;

use crate::connection::{Condition, Connection, client_id};
use crate::damage::{Subject, subject};
use crate::output::{self, Output, count};
use crate::scan::{Only, Scan};
use crate::{Failure, erase, key};

/// Delete a client.
#[derive(Debug, Subcommand)]
#[expect(missing_docs, reason = "said once, on the arguments of each, from where the help has it, too")]
pub enum Client {
    Delete(Delete),
}

/// Delete every record, number and API key of a client for good. After a stop, run it again.
///
/// It reads the whole table to find them.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cdm client delete --client demo-clinic --dry-run
  cdm client delete --client demo-clinic")]
pub struct Delete {
    /// The client.
    #[arg(long, value_name = "ID", value_parser = client_id)]
    client: ClientId,
    /// Only count what would be deleted.
    #[arg(long)]
    dry_run: bool,
    /// How many parts of the table are worked on at once.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(i32).range(1..=100))]
    segments: i32,
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
}

/// What there was.
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
pub async fn run(command: Client, connection: &Connection, output: Output) -> Result<(), Failure> {
    let Client::Delete(delete) = command;
    delete.run(connection, output).await
}

impl Delete {
    async fn run(self, connection: &Connection, output: Output) -> Result<(), Failure> {
        let client = self.client.as_str().to_owned();
        let counts = Arc::new(Counts::default());
        if self.dry_run {
            self.count(connection, &counts).await?;
        } else {
            let question = format!(
                "Delete every record, number and key of {client} in the table {} for good? Type the client's name:",
                connection.table
            );
            output::confirm(&question, &client, self.yes)?;
            // The keys first, so that the client's own requests stop.
            for item in key::of_client(connection, &self.client).await? {
                if forget(connection, &item, &[items::CLIENT_ID]).await? {
                    counts.keys.fetch_add(1, Relaxed);
                }
            }
            self.delete_records(connection, &counts).await?;
            self.delete_the_rest(connection, &counts).await?;
        }
        let [customers, phones, keys] = [&counts.customers, &counts.phones, &counts.keys].map(|n| n.load(Relaxed));
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
        )
    }

    /// Items that name the client in their key, and keys that name it in themselves.
    fn only(&self) -> Only {
        let prefix = format!("CLIENT#{}#", self.client.as_str());
        Only {
            filter: "begins_with(pk, :prefix) OR client_id = :client",
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
        self.scan().each(connection, Some(self.only()), each).await
    }

    async fn delete_records(&self, connection: &Connection, counts: &Arc<Counts>) -> Result<(), Failure> {
        let (through, counts) = (connection.clone(), Arc::clone(counts));
        let each = move |item: Item| {
            let (connection, counts) = (through.clone(), Arc::clone(&counts));
            async move { delete_record(&connection, &item, &counts).await.map(|_| ()) }
        };
        self.scan().each(connection, Some(self.only()), each).await
    }

    /// Counters of numbers that no record has, keys that the index does not list, items that are damaged.
    async fn delete_the_rest(&self, connection: &Connection, counts: &Arc<Counts>) -> Result<(), Failure> {
        let (through, counts) = (connection.clone(), Arc::clone(counts));
        let each = move |item: Item| {
            let (connection, counts) = (through.clone(), Arc::clone(&counts));
            async move {
                if delete_record(&connection, &item, &counts).await? {
                    return Ok(());
                }
                let (attributes, kind) = match subject(&item) {
                    Subject::Phone { .. } => (&[items::CCID_COUNT, items::CCIDS][..], &counts.phones),
                    Subject::Key => (&[items::CLIENT_ID][..], &counts.keys),
                    _ => (&[][..], &counts.customers),
                };
                if forget(&connection, &item, attributes).await? {
                    kind.fetch_add(1, Relaxed);
                    Ok(())
                } else {
                    Err(Failure(
                        "the client is still in use: stop what writes to it and run the command again".to_owned(),
                    ))
                }
            }
        };
        self.scan().each(connection, Some(self.only()), each).await
    }
}

/// `false` where the item is no record of a customer.
async fn delete_record(connection: &Connection, item: &Item, counts: &Counts) -> Result<bool, Failure> {
    let Subject::Customer { client_id, ccid } = subject(item) else {
        return Ok(false);
    };
    if let Some(erased) = erase::customer(connection, &client_id, &ccid).await? {
        counts.customers.fetch_add(1, Relaxed);
        counts.phones.fetch_add(erased.counters, Relaxed);
    }
    Ok(true)
}

/// Deletes an item as it was read.
async fn forget(connection: &Connection, item: &Item, attributes: &[&str]) -> Result<bool, Failure> {
    let key = [items::PK, items::SK].into_iter().filter_map(|name| Some((name.to_owned(), item.get(name)?.clone())));
    connection.delete(key.collect(), Condition::unchanged(item, attributes)).await
}
