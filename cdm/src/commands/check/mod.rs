//! `cdm check` reads the whole table, reports every item that contradicts itself or another item, and makes the
//! repairs that are certain.
//!
//! The table stores each pair of customer and number twice: as a channel of the customer's record, and as a ccid of
//! the number's item. Looking up each pair on the other side would cost one read per pair, and keeping all pairs
//! would need memory that grows with the table. So one reading of the table adds the pairs up
//! ([`crate::table::scan::sums`]), and the sums name the pairs that are on one side only. The command then reads
//! both items of each such pair again in one transaction, which alone decides. A pair that changed during the
//! reading is consistent in the transaction, so a healthy table under load has no findings.
//!
//! [`crate::table::repair`] decides about repairs, from items as they are after the reading. The old items are
//! saved before the first write.

mod fix;
mod reading;
mod reread;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use cdm_lambda::domain::{Ccid, ClientId, Phone};
use cdm_lambda::store::items::{self, Item};
use clap::Args;
pub use fix::Repaired;
use reading::{load_interrupted, read, search};
use reread::Rereader;

use crate::table::change;
use crate::table::connection::Connection;
use crate::table::corruption::{Kind, Subject, subject};
use crate::table::item_parts;
use crate::table::repair::findings::{Finding, Outcome};
use crate::table::repair::{Planned, Record};
use crate::table::saved::SaveTo;
use crate::table::scan::pace::Pace;
use crate::table::scan::resume::{Counts, Reading, ResumeFile};
use crate::table::scan::sums::Pair;
use crate::table::scan::{Scan, concurrently};
use crate::ui::Failure;
use crate::ui::output::{self, Output, count};

/// Read the whole table and report what is corrupt. Without --fix it changes nothing.
///
/// Exit code 1 means that something is corrupt, or is still corrupt after --fix. Numbers without customers are not
/// corrupt; --fix deletes them. The table may be in use meanwhile.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cdm check
  cdm check --output json | jq -r .finding | sort | uniq -c
  cdm check --read-units 100 --resume check.state
  cdm check --fix")]
pub(crate) struct Check {
    /// Show the repairs that are certain, ask, and make them. A repair is written only if its item has not
    /// changed since it was read.
    #[arg(long)]
    fix: bool,
    /// How many parts of the table to read at once. More parts are faster and use more of the table's read
    /// units.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(i32).range(1..=100))]
    segments: i32,
    /// Use at most this number of read units per second.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    read_units: Option<u32>,
    /// Keep the progress of the reading in this file. If the check is interrupted, the same command continues
    /// from there. The file is deleted when the reading ends.
    #[arg(long, value_name = "FILE")]
    resume: Option<PathBuf>,
    #[command(flatten)]
    save: SaveTo,
    /// Do not ask before --fix.
    #[arg(long, short)]
    yes: bool,
}

/// The result of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Checked {
    /// Customer records.
    pub customers: u64,
    /// Numbers' items.
    pub phones: u64,
    /// API keys.
    pub keys: u64,
    /// Pairs of a customer and a number in the records.
    pub pairs: u64,
    /// Pairs whose two items were read again in one transaction.
    pub pairs_read_again: u64,
    /// Numbers without customers.
    pub idle: u64,
    /// Findings.
    pub findings: u64,
}

impl Check {
    /// Runs the command.
    ///
    /// # Errors
    /// What failed, or that something is corrupt, in one line.
    pub(crate) async fn run(self, connection: &Connection, output: Output) -> Result<(), Failure> {
        let scan = Scan {
            segments: self.segments,
            pace: self.read_units.map(|units| Arc::new(Pace::limited(units))).unwrap_or_default(),
            ..Scan::default()
        };
        let resume = self.resume.map(ResumeFile);
        let found = find(connection, scan, resume.as_ref()).await?;
        let repaired = if self.fix {
            let saving = self.save.open(connection.address(), "check --fix");
            found.repair(connection, saving, self.yes, output).await?
        } else {
            found.report(output)?;
            Repaired::default()
        };

        let Checked { customers, phones, keys, pairs, pairs_read_again, idle, findings } = found.checked();
        let idle = if self.fix { repaired.idle } else { idle };
        let summary = format!(
            "{}, {} and {} checked; {} read, {pairs_read_again} of them again; {} without customers ({}); {}{}.",
            count(customers, "customer"),
            count(phones, "phone number"),
            count(keys, "key"),
            count(pairs, "pair"),
            count(idle, "number"),
            if self.fix { "deleted" } else { "not corrupt; --fix deletes them" },
            count(findings, "finding"),
            if self.fix { format!(", {} of them repaired", repaired.findings) } else { String::new() },
        );
        match output {
            Output::Table => output::print_text(&summary)?,
            Output::Json => output::note(&summary),
        }
        match (findings - repaired.findings, found.repairable()) {
            (0, _) => Ok(()),
            (left, _) if self.fix => {
                Err(Failure(format!("{} not repaired: each says what to do", count(left, "finding"))))
            }
            (left, 0) => Err(Failure(format!("{}: each says what to do", count(left, "finding")))),
            (left, some) => Err(Failure(format!("{}: `cdm check --fix` repairs {some}", count(left, "finding")))),
        }
    }
}

/// Checks the table and prints the findings, without changing anything.
///
/// # Errors
/// The table could not be read.
pub async fn check(connection: &Connection, scan: Scan, output: Output) -> Result<Checked, Failure> {
    let found = find(connection, scan, None).await?;
    found.report(output)?;
    Ok(found.checked())
}

/// Checks the table, and makes the repairs that are certain. Asks no one, prints nothing, and saves nothing.
///
/// # Errors
/// The table could not be read or written.
pub async fn check_and_repair(connection: &Connection, scan: Scan) -> Result<(Checked, Repaired), Failure> {
    let found = find(connection, scan, None).await?;
    let repaired = found.repair_unattended(connection).await?;
    Ok((found.checked(), repaired))
}

/// Every possible finding: its name, what is wrong, and what `--fix` does about it.
pub fn findings() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    Kind::ALL.into_iter().map(|kind| (kind.code(), kind.what(), kind.fix()))
}

/// The findings, and the planned repairs.
struct Found {
    counts: Counts,
    pairs_read_again: u64,
    /// The limit on reads.
    pace: Arc<Pace>,
    /// Ordered by the keys of their items.
    items: Vec<Corrupt>,
    /// The partition keys of numbers without customers.
    idle: Vec<String>,
}

/// An item with findings.
struct Corrupt {
    target: PlanTarget,
    planned: Planned,
}

/// The data from which an item's plan is made, so that the plan can be made again.
#[derive(Clone)]
enum PlanTarget {
    /// A number, with the customers whose records must be read.
    Number { client_id: ClientId, phone: Phone, ccids: Vec<Ccid> },
    /// Any other item, by its key.
    Item(Item),
}

/// How often the progress file is written.
const EVERY: Duration = Duration::from_secs(20);

/// Reads the table, and plans the repairs.
async fn find(connection: &Connection, mut scan: Scan, resume: Option<&ResumeFile>) -> Result<Found, Failure> {
    let start = resume.map(|file| load_interrupted(file, &connection.address())).transpose()?.flatten();
    let start = start.unwrap_or_else(|| Reading::new(scan.segments, connection.now()));
    scan.segments = i32::try_from(start.positions.len()).unwrap_or(scan.segments);
    let reading = read(connection, &scan, start, resume).await?;
    let Reading { counts, sums, corrupt, idle, .. } = reading;

    let left = sums.left();
    let rereader = Rereader { connection: connection.clone(), pace: Arc::clone(&scan.pace), pairs: Arc::default() };
    let mut suspects = left.pairs.clone();
    if left.is_incomplete() {
        suspects.extend(search(connection, &scan, left).await?);
    }
    let at_once = usize::try_from(scan.segments).unwrap_or(1);
    let verified = {
        let rereader = rereader.clone();
        let suspects: std::collections::BTreeSet<_> = suspects.into_iter().collect();
        let verify = move |pair: Pair| {
            let rereader = rereader.clone();
            async move {
                let Some((client_id, ccid, phone)) = pair.parts() else { return Ok(None) };
                rereader.pairs.fetch_add(1, Relaxed);
                let (record, number) = rereader.read(&client_id, &ccid, &phone).await?;
                let is_named = number.as_ref().is_some_and(|number| item_parts::ccids(number).contains(ccid.as_str()));
                Ok((is_named != (record == Record::Has)).then_some((client_id, ccid, phone)))
            }
        };
        concurrently(at_once, suspects, verify).await?
    };
    let mut targets: BTreeMap<(String, String), PlanTarget> = BTreeMap::new();
    for (pk, sk) in corrupt {
        let key =
            [(items::PK, &pk), (items::SK, &sk)].map(|(name, text)| (name.to_owned(), AttributeValue::S(text.clone())));
        let key = Item::from(key);
        let target = match subject(&key) {
            Subject::Phone { client_id, phone } => PlanTarget::Number { client_id, phone, ccids: Vec::new() },
            _ => PlanTarget::Item(key),
        };
        targets.insert((pk, sk), target);
    }
    for (client_id, ccid, phone) in verified.into_iter().flatten() {
        let key = change::key_text(&items::phone_key(&client_id, &phone));
        let number = targets.entry(key).or_insert_with(|| PlanTarget::Number { client_id, phone, ccids: Vec::new() });
        if let PlanTarget::Number { ccids, .. } = number {
            ccids.push(ccid);
        }
    }
    let plan = {
        let rereader = rereader.clone();
        move |target: PlanTarget| {
            let rereader = rereader.clone();
            async move { Ok(Corrupt { planned: rereader.plan(&target).await?, target }) }
        }
    };
    let mut corrupt = concurrently(at_once, targets.into_values(), plan).await?;
    corrupt.retain(|corrupt| !corrupt.planned.findings.is_empty());
    let (pairs_read_again, idle) = (rereader.pairs.load(Relaxed), idle.into_iter().collect());
    Ok(Found { counts, pairs_read_again, pace: scan.pace, items: corrupt, idle })
}

impl Found {
    fn checked(&self) -> Checked {
        let Counts { customers, phones, keys, pairs, idle } = self.counts;
        let findings = self.findings().count() as u64;
        Checked { customers, phones, keys, pairs, pairs_read_again: self.pairs_read_again, idle, findings }
    }

    fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.items.iter().flat_map(|corrupt| &corrupt.planned.findings)
    }

    fn repairable(&self) -> usize {
        self.findings().filter(|finding| finding.is_repairable()).count()
    }

    fn report(&self, output: Output) -> Result<(), Failure> {
        self.findings().try_for_each(|finding| finding.print(output, Outcome::Reported))
    }
}

#[cfg(test)]
mod tests;
