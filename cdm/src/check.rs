//! `cdm check`: reads the whole table and reports every record that contradicts itself or another.
//!
//! Which customer has which number is written down twice: as a channel of the customer's record, and as a ccid of the
//! number's counter. To look each of them up on the other side would cost a read for each; to keep them would cost
//! memory that grows with the table. So the first reading of the table only adds each pair's hash into one of a fixed
//! number of buckets when it comes from a record, and subtracts it when it comes from a counter. A bucket that ends at
//! zero holds whole pairs only. A second reading is needed only if a bucket does not: it finds the pairs of those
//! buckets, and reads both items of each again, in one transaction. That alone decides: what changed while the table
//! was being read is whole in the transaction, so a healthy table under load gives no finding.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use aws_sdk_dynamodb::types::{AttributeValue, Get, TransactGetItem};
use cdm_lambda::domain::{CUSTOMERS_PER_PHONE, Ccid, ClientId, Phone};
use cdm_lambda::store::items::{self, Item};
use cdm_lambda::time::UnixMillis;
use clap::Args;
use serde_json::json;

use crate::connection::{Condition, Connection};
use crate::counter::ROUNDS;
use crate::damage::{self, Kind, Subject, subject};
use crate::output::{self, Output, count, shown};
use crate::scan::Scan;
use crate::{Failure, counter, erase};

/// Read the whole table and report what contradicts itself. It changes nothing unless told to.
///
/// Exit code 1 says that something is damaged, or still is after --fix. Counters that stand at zero are no damage;
/// --fix deletes them. The table may be in use meanwhile.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cdm check
  cdm check --output json | jq -r .finding | sort | uniq -c
  cdm check --fix --yes")]
pub struct Check {
    /// Mend what can be mended, each repair on condition that nothing has changed since it was read.
    #[arg(long)]
    fix: bool,
    /// How many parts of the table are read at once. More is faster, and takes more of the table's read units.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(i32).range(1..=100))]
    segments: i32,
    /// Do not ask before --fix.
    #[arg(long, short)]
    yes: bool,
}

/// What a check came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Checked {
    /// Customers' records.
    pub customers: u64,
    /// Numbers' counters.
    pub phones: u64,
    /// API keys.
    pub keys: u64,
    /// Pairs of a record and a counter that were read again in one transaction.
    pub pairs_read_again: u64,
    /// Counters at zero; with `fix`, they were deleted.
    pub idle: u64,
    /// What is damaged.
    pub findings: u64,
    /// How much of it was mended.
    pub mended: u64,
}

impl Check {
    /// Runs the command.
    ///
    /// # Errors
    /// What failed, or that something is damaged, in one line.
    pub async fn run(self, connection: &Connection, output: Output) -> Result<(), Failure> {
        if self.fix {
            let question = format!("Mend what is damaged in the table {}?", connection.table);
            output::confirm(&question, "y", self.yes)?;
        }
        let scan = Scan { segments: self.segments, ..Scan::default() };
        let checked = check(connection, scan, self.fix, output).await?;
        let Checked { customers, phones, keys, pairs_read_again, idle, findings, mended } = checked;
        let what_of_idle = if self.fix { "deleted" } else { "no damage; --fix deletes them" };
        let summary = format!(
            "{}, {} and {} checked; {} read again; {} at zero ({what_of_idle}); {}{}.",
            count(customers, "customer"),
            count(phones, "phone number"),
            count(keys, "key"),
            count(pairs_read_again, "pair"),
            count(idle, "counter"),
            count(findings, "finding"),
            if self.fix { format!(", {mended} of them mended") } else { String::new() },
        );
        match output {
            Output::Table => output.text(&summary)?,
            Output::Json => output::note(&summary),
        }
        match findings - mended {
            0 => Ok(()),
            left if self.fix => {
                Err(Failure(format!("{} left to mend by hand: each line says how", count(left, "finding"))))
            }
            left => Err(Failure(format!("{}: `cdm check --fix` mends what can be mended", count(left, "finding")))),
        }
    }
}

/// Checks the table, and with `fix` mends it. Findings are printed as they are made.
///
/// # Errors
/// The table could not be read or mended.
pub async fn check(connection: &Connection, scan: Scan, fix: bool, output: Output) -> Result<Checked, Failure> {
    let work = Arc::new(Work {
        connection: connection.clone(),
        fix,
        output,
        pairs: Pairs::new(),
        customers: AtomicU64::new(0),
        phones: AtomicU64::new(0),
        keys: AtomicU64::new(0),
        pairs_read_again: AtomicU64::new(0),
        idle: AtomicU64::new(0),
        findings: AtomicU64::new(0),
        mended: AtomicU64::new(0),
    });
    let first = Arc::clone(&work);
    let first = move |item: Item| {
        let work = Arc::clone(&first);
        async move { work.first_reading(&item).await }
    };
    scan.each(connection, None, first).await?;
    if !work.pairs.are_whole() {
        let second = Arc::clone(&work);
        let second = move |item: Item| {
            let work = Arc::clone(&second);
            async move { work.second_reading(&item).await }
        };
        scan.each(connection, None, second).await?;
    }
    Ok(Checked {
        customers: work.customers.load(Relaxed),
        phones: work.phones.load(Relaxed),
        keys: work.keys.load(Relaxed),
        pairs_read_again: work.pairs_read_again.load(Relaxed),
        idle: work.idle.load(Relaxed),
        findings: work.findings.load(Relaxed),
        mended: work.mended.load(Relaxed),
    })
}

/// Every finding that there can be: its name, what is wrong, and what `--fix` does about it or a person can.
pub fn findings() -> impl Iterator<Item = (&'static str, &'static str, String)> {
    Kind::ALL.into_iter().map(|kind| {
        let fix = match kind.remedy() {
            Ok(remedy) => remedy.to_owned(),
            Err(by_hand) => format!("no: {by_hand}"),
        };
        (kind.code(), kind.what(), fix)
    })
}

/// A customer that has a number, by one side or the other.
struct Pair {
    client_id: ClientId,
    ccid: Ccid,
    phone: Phone,
}

/// The sums over all pairs.
struct Pairs {
    sums: Vec<AtomicU64>,
    bucket: RandomState,
    hash: RandomState,
}

/// 8 MB. A damaged pair makes the other pairs of its bucket suspect: of ten million, about ten.
const BUCKETS: usize = 1 << 20;

impl Pairs {
    fn new() -> Self {
        let sums = std::iter::repeat_with(|| AtomicU64::new(0)).take(BUCKETS).collect();
        Self { sums, bucket: RandomState::new(), hash: RandomState::new() }
    }

    fn sum(&self, pair: &Pair) -> Option<&AtomicU64> {
        let hash = self.bucket.hash_one(pair.identity());
        self.sums.get(usize::try_from(hash).unwrap_or_default() % BUCKETS)
    }

    fn add(&self, pair: &Pair) {
        if let Some(sum) = self.sum(pair) {
            sum.fetch_add(self.hash.hash_one(pair.identity()), Relaxed);
        }
    }

    fn subtract(&self, pair: &Pair) {
        if let Some(sum) = self.sum(pair) {
            sum.fetch_sub(self.hash.hash_one(pair.identity()), Relaxed);
        }
    }

    fn is_suspect(&self, pair: &Pair) -> bool {
        self.sum(pair).is_some_and(|sum| sum.load(Relaxed) != 0)
    }

    fn are_whole(&self) -> bool {
        self.sums.iter().all(|sum| sum.load(Relaxed) == 0)
    }
}

impl Pair {
    fn identity(&self) -> (&str, &str, &str) {
        (self.client_id.as_str(), self.ccid.as_str(), self.phone.e164())
    }
}

/// The pairs that an item is one side of. What cannot be one is damage of the item itself.
fn pairs_of(item: &Item) -> Vec<Pair> {
    match subject(item) {
        Subject::Customer { client_id, ccid } => erase::channels(item)
            .filter_map(counter::phone)
            .map(|phone| Pair { client_id: client_id.clone(), ccid: ccid.clone(), phone })
            .collect(),
        Subject::Phone { client_id, phone } => counter::ccids(item)
            .iter()
            .filter_map(|ccid| Ccid::parse(ccid).ok())
            .map(|ccid| Pair { client_id: client_id.clone(), ccid, phone: phone.clone() })
            .collect(),
        Subject::Key | Subject::Malformed(_) => Vec::new(),
    }
}

struct Work {
    connection: Connection,
    fix: bool,
    output: Output,
    pairs: Pairs,
    customers: AtomicU64,
    phones: AtomicU64,
    keys: AtomicU64,
    pairs_read_again: AtomicU64,
    idle: AtomicU64,
    findings: AtomicU64,
    mended: AtomicU64,
}

impl Work {
    async fn first_reading(&self, item: &Item) -> Result<(), Failure> {
        let pairs = pairs_of(item);
        match subject(item) {
            Subject::Customer { .. } => {
                self.customers.fetch_add(1, Relaxed);
                for pair in &pairs {
                    self.pairs.add(pair);
                }
            }
            Subject::Phone { .. } => {
                self.phones.fetch_add(1, Relaxed);
                for pair in &pairs {
                    self.pairs.subtract(pair);
                }
                if counter::is_idle(item) && (!self.fix || self.delete_idle(item).await?) {
                    self.idle.fetch_add(1, Relaxed);
                }
            }
            Subject::Key => {
                self.keys.fetch_add(1, Relaxed);
            }
            Subject::Malformed(_) => {}
        }
        if damage::of(item).is_empty() { Ok(()) } else { self.damaged(key_of(item)).await }
    }

    async fn delete_idle(&self, item: &Item) -> Result<bool, Failure> {
        counter::delete_idle(&self.connection, key_of(item)).await
    }

    /// An item that contradicts itself: looked at as it stands now, reported, mended.
    async fn damaged(&self, key: Item) -> Result<(), Failure> {
        let mut item = Item::new();
        for _ in 0..ROUNDS {
            item = match self.connection.item(key.clone()).await? {
                Some(item) => item,
                None => return Ok(()),
            };
            let kinds = damage::of(&item);
            if !self.fix || kinds.iter().all(|kind| kind.remedy().is_err()) {
                return kinds.iter().try_for_each(|kind| self.report(*kind, &item, None, false));
            }
            if self.mend(&key, &item).await? {
                return kinds.iter().try_for_each(|kind| self.report(*kind, &item, None, kind.remedy().is_ok()));
            }
        }
        damage::of(&item).iter().try_for_each(|kind| self.report(*kind, &item, None, false))
    }

    /// `false` where the item has changed since it was read.
    async fn mend(&self, key: &Item, item: &Item) -> Result<bool, Failure> {
        if matches!(subject(item), Subject::Phone { .. }) {
            let ccids = counter::ccids(item).into_iter().filter(|ccid| Ccid::parse(ccid).is_ok()).collect();
            return counter::write(&self.connection, key.clone(), Some(item), &ccids).await;
        }
        let now = UnixMillis::now();
        let mut attributes = Vec::new();
        for kind in damage::of(item) {
            match kind {
                Kind::CustomerCreatedAt => {
                    attributes.push((items::CREATED_AT, Some(items::from_moment(oldest_channel(item).unwrap_or(now)))));
                }
                Kind::CustomerChannels => {
                    attributes.push((items::NOTIFICATION_CHANNELS, Some(AttributeValue::M(Item::new()))));
                }
                Kind::CustomerPhoneCount => {
                    let count = erase::channels(item).count();
                    attributes.push((items::PHONE_COUNT, Some(AttributeValue::N(count.to_string()))));
                }
                Kind::KeyLabel => attributes.push((items::LABEL, Some(AttributeValue::S(String::new())))),
                Kind::KeyCreatedAt => attributes.push((items::CREATED_AT, Some(items::from_moment(now)))),
                Kind::KeyExpiresAt => {
                    // A key that cannot be read is refused already.
                    attributes.push((items::EXPIRES_AT, None));
                    let is_revoked = items::moment(item.get(items::REVOKED_AT)).is_some();
                    if !is_revoked {
                        attributes.push((items::REVOKED_AT, Some(items::from_moment(now))));
                    }
                }
                Kind::KeyRevokedAt if !attributes.iter().any(|(name, _)| *name == items::REVOKED_AT) => {
                    attributes.push((items::REVOKED_AT, Some(items::from_moment(now))));
                }
                _ => {}
            }
        }
        let read = match subject(item) {
            Subject::Customer { .. } => &[items::CREATED_AT, items::NOTIFICATION_CHANNELS, items::PHONE_COUNT][..],
            _ => &[items::LABEL, items::CREATED_AT, items::EXPIRES_AT, items::REVOKED_AT][..],
        };
        self.connection.set(key.clone(), attributes, Condition::unchanged(item, read)).await
    }

    async fn second_reading(&self, item: &Item) -> Result<(), Failure> {
        for pair in pairs_of(item) {
            if self.pairs.is_suspect(&pair) {
                self.suspect(&pair).await?;
            }
        }
        Ok(())
    }

    async fn suspect(&self, pair: &Pair) -> Result<(), Failure> {
        self.pairs_read_again.fetch_add(1, Relaxed);
        let record = items::customer_key(&pair.client_id, &pair.ccid);
        let counter = items::phone_key(&pair.client_id, &pair.phone);
        let mut found = None;
        for _ in 0..ROUNDS {
            let (has_channel, read) = self.read_pair(pair, &record, &counter).await?;
            let mut ccids = read.as_ref().map(counter::ccids).unwrap_or_default();
            let kind = match (has_channel, ccids.contains(pair.ccid.as_str())) {
                (true, false) => Kind::ChannelNotCounted,
                (false, true) => Kind::CcidWithoutChannel,
                _ => return Ok(()),
            };
            found = Some(kind);
            if kind == Kind::ChannelNotCounted {
                ccids.insert(pair.ccid.as_str().to_owned());
            } else {
                ccids.remove(pair.ccid.as_str());
            }
            let is_full = kind == Kind::ChannelNotCounted && ccids.len() > CUSTOMERS_PER_PHONE as usize;
            if !self.fix || is_full {
                break;
            }
            // Any add or removal of the pair would change the counter, so its state is condition enough.
            if counter::write(&self.connection, counter.clone(), read.as_ref(), &ccids).await? {
                return self.report(kind, &record, Some(&pair.phone), true);
            }
        }
        found.map_or(Ok(()), |kind| self.report(kind, &record, Some(&pair.phone), false))
    }

    /// Whether the record has the number, and the number's counter, both of one moment.
    async fn read_pair(&self, pair: &Pair, record: &Item, counter: &Item) -> Result<(bool, Option<Item>), Failure> {
        use aws_sdk_dynamodb::operation::transact_get_items::TransactGetItemsError;

        let unmade = |_| Failure("the transaction cannot be described".to_owned());
        let get = |key: &Item| Get::builder().table_name(&self.connection.table).set_key(Some(key.clone()));
        let channel = get(record)
            .projection_expression("notification_channels.#e164")
            .expression_attribute_names("#e164", pair.phone.e164());
        let call = self
            .connection
            .client
            .transact_get_items()
            .transact_items(TransactGetItem::builder().get(channel.build().map_err(unmade)?).build())
            .transact_items(TransactGetItem::builder().get(get(counter).build().map_err(unmade)?).build());
        let mut pause = Duration::from_millis(20);
        let output = loop {
            match call.clone().send().await {
                Ok(output) => break output,
                // Somebody is writing one of the two, which is over soon.
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
                Err(error) => return Err(self.connection.failed("two items cannot be read together", &error)),
            }
        };
        let mut read = output.responses.unwrap_or_default().into_iter().map(|response| response.item);
        let (Some(record), Some(counter), None) = (read.next(), read.next(), read.next()) else {
            return Err(Failure("two items were asked for and others came: run the command again".to_owned()));
        };
        let has_channel = record.is_some_and(|record| erase::channels(&record).any(|e164| e164 == pair.phone.e164()));
        // An item that is not there may come as an empty one.
        Ok((has_channel, counter.filter(|counter| !counter.is_empty())))
    }

    fn report(&self, kind: Kind, item: &Item, phone: Option<&Phone>, mended: bool) -> Result<(), Failure> {
        self.findings.fetch_add(1, Relaxed);
        self.mended.fetch_add(u64::from(mended), Relaxed);
        let text = |name: &str| item.get(name).and_then(|value| value.as_s().ok()).map_or("", String::as_str);
        let (pk, sk) = (text(items::PK), text(items::SK));
        let number = phone.map(Phone::e164);
        let remedy = match (kind.remedy(), mended) {
            (Ok(remedy), true) => remedy,
            (Ok(_), false) if !self.fix => "--fix mends it",
            (Ok(_), false) if phone.is_some() => "the number is on 50 customers already, or was being changed",
            (Ok(_), false) => "it was being changed: run the command again",
            (Err(by_hand), _) => by_hand,
        };
        match self.output {
            Output::Json => self.output.object(&json!({
                "finding": kind.code(),
                "pk": pk,
                "sk": sk,
                "phone_number": number,
                "what": kind.what(),
                "mended": mended,
                "remedy": remedy,
            })),
            Output::Table => {
                let place = [Some(pk), number].into_iter().flatten().map(shown).collect::<Vec<_>>().join(" and ");
                let mended = if mended { "mended: " } else { "" };
                self.output.text(&format!("{:<21} {place}: {} ({mended}{remedy})", kind.code(), kind.what()))
            }
        }
    }
}

fn key_of(item: &Item) -> Item {
    let part = |name: &str| Some((name.to_owned(), item.get(name)?.clone()));
    [items::PK, items::SK].into_iter().filter_map(part).collect()
}

fn oldest_channel(record: &Item) -> Option<UnixMillis> {
    let channels = record.get(items::NOTIFICATION_CHANNELS)?.as_m().ok()?;
    channels.values().filter_map(|entry| items::moment(entry.as_m().ok()?.get("t"))).min()
}
