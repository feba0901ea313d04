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

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::types::{AttributeValue, Get, ReturnConsumedCapacity, TransactGetItem};
use cdm_lambda::domain::{Ccid, ClientId, Phone};
use cdm_lambda::store::items::{self, Item};
use cdm_lambda::time::UnixMillis;
use clap::Args;
use fix::Repaired;

use crate::table::connection::{Connection, Place};
use crate::table::corruption::{Kind, Subject, subject};
use crate::table::counter;
use crate::table::erase;
use crate::table::repair::findings::{Finding, Outcome};
use crate::table::repair::{self, Planned, Record};
use crate::table::saved::SaveTo;
use crate::table::scan::pace::Pace;
use crate::table::scan::resume::{Counts, MOST_IDLE, Reading, ResumeFile};
use crate::table::scan::sums::{Pair, Side};
use crate::table::scan::{Page, Position, Scan, concurrently};
use crate::ui::Failure;
use crate::ui::output::{self, Output, count};
use crate::ui::signals::Interrupts;

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
            let saving = self.save.open(connection.place(), "check --fix");
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
    about: About,
    planned: Planned,
}

/// The data from which an item's plan is made, so that the plan can be made again.
#[derive(Clone)]
enum About {
    /// A number, with the customers whose records must be read.
    Number { client_id: ClientId, phone: Phone, ccids: Vec<Ccid> },
    /// Any other item, by its key.
    Item(Item),
}

/// How often the progress file is written.
const EVERY: Duration = Duration::from_secs(20);

/// Reads the table, and plans the repairs.
async fn find(connection: &Connection, mut scan: Scan, resume: Option<&ResumeFile>) -> Result<Found, Failure> {
    let begun = resume.map(|file| begun(file, &connection.place())).transpose()?.flatten();
    let begun = begun.unwrap_or_else(|| Reading::new(scan.segments));
    scan.segments = i32::try_from(begun.positions.len()).unwrap_or(scan.segments);
    let reading = read(connection, &scan, begun, resume).await?;
    let Reading { counts, sums, corrupt, idle, .. } = reading;

    let left = sums.left();
    let again = Again { connection: connection.clone(), pace: Arc::clone(&scan.pace), pairs: Arc::default() };
    let mut suspects = left.pairs.clone();
    if left.is_incomplete() {
        suspects.extend(search(connection, &scan, left).await?);
    }
    let at_once = usize::try_from(scan.segments).unwrap_or(1);
    let verified = {
        let again = again.clone();
        let suspects: std::collections::BTreeSet<_> = suspects.into_iter().collect();
        let verify = move |pair: Pair| {
            let again = again.clone();
            async move {
                let Some((client_id, ccid, phone)) = pair.parts() else { return Ok(None) };
                again.pairs.fetch_add(1, Relaxed);
                let (record, number) = again.read(&client_id, &ccid, &phone).await?;
                let is_named = number.as_ref().is_some_and(|number| counter::ccids(number).contains(ccid.as_str()));
                Ok((is_named != (record == Record::Has)).then_some((client_id, ccid, phone)))
            }
        };
        concurrently(at_once, suspects, verify).await?
    };
    let mut about: BTreeMap<(String, String), About> = BTreeMap::new();
    for (pk, sk) in corrupt {
        let key =
            [(items::PK, &pk), (items::SK, &sk)].map(|(name, text)| (name.to_owned(), AttributeValue::S(text.clone())));
        let key = Item::from(key);
        let what = match subject(&key) {
            Subject::Phone { client_id, phone } => About::Number { client_id, phone, ccids: Vec::new() },
            _ => About::Item(key),
        };
        about.insert((pk, sk), what);
    }
    for (client_id, ccid, phone) in verified.into_iter().flatten() {
        let place = place(&items::phone_key(&client_id, &phone));
        let number = about.entry(place).or_insert_with(|| About::Number { client_id, phone, ccids: Vec::new() });
        if let About::Number { ccids, .. } = number {
            ccids.push(ccid);
        }
    }
    let plan = {
        let again = again.clone();
        move |about: About| {
            let again = again.clone();
            async move { Ok(Corrupt { planned: again.plan(&about).await?, about }) }
        }
    };
    let mut corrupt = concurrently(at_once, about.into_values(), plan).await?;
    corrupt.retain(|corrupt| !corrupt.planned.findings.is_empty());
    corrupt.sort_by_cached_key(|corrupt| match &corrupt.about {
        About::Number { client_id, phone, .. } => place(&items::phone_key(client_id, phone)),
        About::Item(key) => place(key),
    });
    let (pairs_read_again, idle) = (again.pairs.load(Relaxed), idle.into_iter().collect());
    Ok(Found { counts, pairs_read_again, pace: scan.pace, items: corrupt, idle })
}

/// The reading of an interrupted check.
fn begun(file: &ResumeFile, place: &Place) -> Result<Option<Reading>, Failure> {
    let Some(reading) = file.load(place)? else { return Ok(None) };
    let (shown, began) = (file.0.display(), reading.began.to_rfc3339());
    // The reading ended, but its result was not written. The table may have changed since then.
    if reading.positions.iter().all(|position| *position == Position::End) {
        output::note(&format!("The reading of {shown}, which began {began}, has ended: the table is read again."));
        return Ok(None);
    }
    output::note(&format!("This check goes on from a reading that began {began} ({shown})."));
    Ok(Some(reading))
}

/// A reading that the parts of the table share.
struct SharedReading {
    /// Has no positions after it was taken out. An interruption takes it out while parts are still reading.
    reading: Reading,
    /// When it was last written to the file.
    stored: Instant,
}

impl SharedReading {
    fn new(reading: Reading) -> Self {
        Self { reading, stored: Instant::now() }
    }

    /// Adds a page, and writes the file when it is due. The next check reads a page again that arrives after
    /// [`SharedReading::take`].
    fn add(&mut self, page: Page, store: impl FnOnce(&Reading) -> Result<(), Failure>) -> Result<(), Failure> {
        if self.reading.positions.is_empty() {
            return Ok(());
        }
        self.reading.add(page);
        if self.stored.elapsed() >= EVERY {
            store(&self.reading)?;
            self.stored = Instant::now();
        }
        Ok(())
    }

    fn take(&mut self) -> Reading {
        std::mem::replace(&mut self.reading, Reading::new(0))
    }
}

/// The first reading: every item by itself, and the sums over all pairs.
async fn read(
    connection: &Connection,
    scan: &Scan,
    begun: Reading,
    resume: Option<&ResumeFile>,
) -> Result<Reading, Failure> {
    let from = begun.positions.clone();
    let state = Arc::new(Mutex::new(SharedReading::new(begun)));
    let (shared, file, place) = (Arc::clone(&state), resume.cloned(), connection.place());
    let each = move |page: Page| {
        let (shared, file, place) = (Arc::clone(&shared), file.clone(), place.clone());
        async move {
            let store = |reading: &Reading| file.map_or(Ok(()), |file| file.store(&place, reading));
            shared.lock().unwrap_or_else(PoisonError::into_inner).add(page, store)
        }
    };
    let pages = scan.pages(connection, None, &from, each);
    let ended = if resume.is_some() {
        let mut interrupts = Interrupts::listen()?;
        output::note("Ctrl-C stops the reading, and the same command goes on from there.");
        tokio::select! {
            ended = pages => ended,
            () = interrupts.next() => Err(Failure("interrupted: the same command goes on from here".to_owned())),
        }
    } else {
        pages.await
    };
    // The parts of an interrupted reading may still hold the state, so take the reading out of it.
    let reading = state.lock().unwrap_or_else(PoisonError::into_inner).take();
    match (resume, &ended) {
        // The progress is out of date once the reading has ended.
        (Some(file), Ok(())) => file.remove(),
        (Some(file), Err(_)) => file.store(&connection.place(), &reading)?,
        (None, _) => {}
    }
    ended.map(|()| reading)
}

impl Reading {
    fn add(&mut self, page: Page) {
        for item in &page.items {
            let (pk, sk) = place(item);
            match subject(item) {
                Subject::Customer { client_id, ccid } => {
                    self.counts.customers += 1;
                    for phone in erase::channels(item).filter_map(Phone::from_e164) {
                        self.counts.pairs += 1;
                        self.sums.add(Side::Record, &Pair::new(&client_id, &ccid, &phone));
                    }
                }
                Subject::Phone { client_id, phone } => {
                    self.counts.phones += 1;
                    for ccid in counter::ccids(item).iter().filter_map(|ccid| Ccid::parse(ccid).ok()) {
                        self.sums.add(Side::Number, &Pair::new(&client_id, &ccid, &phone));
                    }
                    if repair::is_idle(item) {
                        self.counts.idle += 1;
                        if self.idle.len() < MOST_IDLE {
                            self.idle.insert(pk.clone());
                        }
                    }
                }
                Subject::Key => self.counts.keys += 1,
                Subject::Malformed(_) => {}
            }
            if !repair::item(item, UnixMillis::now()).findings.is_empty() {
                self.corrupt.insert((pk, sk));
            }
        }
        if let Some(position) = self.positions.get_mut(page.segment) {
            *position = page.position;
        }
    }
}

/// Finds the pairs that the sums could not separate, by reading the table again.
async fn search(
    connection: &Connection,
    scan: &Scan,
    left: crate::table::scan::sums::Left,
) -> Result<Vec<Pair>, Failure> {
    let (left, found) = (Arc::new(left), Arc::new(Mutex::new(Vec::new())));
    let pairs = Arc::clone(&found);
    let each = move |item: Item| {
        let suspects = pairs_of(&item).into_iter().filter(|pair| left.may_hold(pair));
        pairs.lock().unwrap_or_else(PoisonError::into_inner).extend(suspects);
        async { Ok(()) }
    };
    scan.each(connection, None, each).await?;
    let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(std::mem::take(&mut *found))
}

/// The pairs of which the item is one side. An entry that cannot be a pair is a finding of the item itself.
fn pairs_of(item: &Item) -> Vec<Pair> {
    match subject(item) {
        Subject::Customer { client_id, ccid } => erase::channels(item)
            .filter_map(Phone::from_e164)
            .map(|phone| Pair::new(&client_id, &ccid, &phone))
            .collect(),
        Subject::Phone { client_id, phone } => counter::ccids(item)
            .iter()
            .filter_map(|ccid| Ccid::parse(ccid).ok())
            .map(|ccid| Pair::new(&client_id, &ccid, &phone))
            .collect(),
        Subject::Key | Subject::Malformed(_) => Vec::new(),
    }
}

/// Partition and sort key as text. DynamoDB stores no other type for them.
fn place(item: &Item) -> (String, String) {
    let text = |name: &str| item.get(name).and_then(|value| value.as_s().ok()).cloned().unwrap_or_default();
    (text(items::PK), text(items::SK))
}

/// Reads items again, as they are now.
#[derive(Clone)]
struct Again {
    connection: Connection,
    pace: Arc<Pace>,
    /// How many pairs were read again.
    pairs: Arc<AtomicU64>,
}

impl Again {
    /// Plans the repair of an item from what it is now.
    async fn plan(&self, about: &About) -> Result<Planned, Failure> {
        match about {
            About::Item(key) => {
                let item = self.item(key.clone()).await?;
                Ok(item.map(|item| repair::item(&item, UnixMillis::now())).unwrap_or_default())
            }
            About::Number { client_id, phone, ccids } => {
                let mut records = Vec::new();
                for ccid in ccids {
                    let (record, _) = self.read(client_id, ccid, phone).await?;
                    records.push((ccid.clone(), record));
                }
                // Read the records first, because adding or removing a number meanwhile also changes
                // the number's item.
                let item = self.item(items::phone_key(client_id, phone)).await?;
                Ok(repair::number(client_id, phone, item.as_ref(), &records))
            }
        }
    }

    /// Reads one item, strongly consistent, within the limit on reads.
    async fn item(&self, key: Item) -> Result<Option<Item>, Failure> {
        let connection = &self.connection;
        let mut get =
            connection.client.get_item().table_name(&connection.table).set_key(Some(key)).consistent_read(true);
        if self.pace.is_limited() {
            get = get.return_consumed_capacity(ReturnConsumedCapacity::Total);
        }
        let turn = self.pace.turn().await;
        let read = get.send().await;
        turn.took(read.as_ref().ok().and_then(|read| read.consumed_capacity()?.capacity_units()));
        read.map(|read| read.item).map_err(|error| connection.failed("the item cannot be read", &error))
    }

    /// Reads what the customer's record says about the number, and the number's item, both at one moment.
    async fn read(&self, client_id: &ClientId, ccid: &Ccid, phone: &Phone) -> Result<(Record, Option<Item>), Failure> {
        use aws_sdk_dynamodb::operation::transact_get_items::TransactGetItemsError;

        let connection = &self.connection;
        let unmade = |_| Failure("the transaction cannot be described".to_owned());
        let mut call = connection.client.transact_get_items();
        if self.pace.is_limited() {
            call = call.return_consumed_capacity(ReturnConsumedCapacity::Total);
        }
        for key in [items::customer_key(client_id, ccid), items::phone_key(client_id, phone)] {
            let get = Get::builder().table_name(&connection.table).set_key(Some(key)).build().map_err(unmade)?;
            call = call.transact_items(TransactGetItem::builder().get(get).build());
        }
        let mut pause = Duration::from_millis(20);
        let output = loop {
            let turn = self.pace.turn().await;
            let read = call.clone().send().await;
            turn.took(
                read.as_ref()
                    .ok()
                    .map(|read| read.consumed_capacity().iter().filter_map(|capacity| capacity.capacity_units).sum()),
            );
            match read {
                Ok(output) => break output,
                // Another write holds one of the two items, for a short time.
                Err(error)
                    if pause < Duration::from_secs(20)
                        && matches!(
                            error.as_service_error(),
                            Some(TransactGetItemsError::TransactionCanceledException(_))
                        ) =>
                {
                    tokio::time::sleep(pause.mul_f64(fastrand::f64())).await;
                    pause *= 2;
                }
                Err(error) => return Err(connection.failed("two items cannot be read together", &error)),
            }
        };
        let mut read = output.responses.unwrap_or_default().into_iter().map(|response| response.item);
        let (Some(record), Some(number), None) = (read.next(), read.next(), read.next()) else {
            return Err(Failure("two items were asked for and others came: run the command again".to_owned()));
        };
        // DynamoDB may return an empty item for an absent one.
        let there = |item: Option<Item>| item.filter(|item| !item.is_empty());
        Ok((Record::from_item(there(record).as_ref(), phone), there(number)))
    }
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
