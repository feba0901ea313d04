//! The first reading of the table, which another run can continue, and the search for pairs.

use super::EVERY;
use crate::table::change;
use crate::table::connection::{Connection, TableAddress};
use crate::table::corruption::{Subject, subject};
use crate::table::item_parts;
use crate::table::repair::{self};
use crate::table::scan::resume::{MOST_IDLE, Reading, ResumeFile};
use crate::table::scan::sums::{Pair, Side};
use crate::table::scan::{Page, Position, Scan};
use crate::ui::Failure;
use crate::ui::output::{self};
use crate::ui::signals::Interrupts;
use cdm_lambda::domain::{Ccid, Phone};
use cdm_lambda::store::items::Item;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// The reading of an interrupted check.
pub(super) fn load_interrupted(file: &ResumeFile, address: &TableAddress) -> Result<Option<Reading>, Failure> {
    let Some(reading) = file.load(address)? else { return Ok(None) };
    let (shown, began) = (file.0.display(), reading.began.to_rfc3339());
    // The reading ended, but its result was not written. The table may have changed since then.
    if reading.positions.iter().all(|position| *position == Position::End) {
        output::note(&format!(
            "The scan in {shown}, which began {began}, is complete already. The table is scanned again."
        ));
        return Ok(None);
    }
    output::note(&format!("This check continues a scan that began {began} ({shown})."));
    Ok(Some(reading))
}

/// A reading that the parts of the table share.
pub(super) struct SharedReading {
    /// Has no positions after [`SharedReading::take`]. An interruption calls it while parts of the table are still being
    /// read.
    pub(super) reading: Reading,
    /// When it was last written to the file.
    pub(super) stored: Instant,
}

impl SharedReading {
    pub(super) fn new(reading: Reading) -> Self {
        Self { reading, stored: Instant::now() }
    }

    /// Adds a page, and writes the file when it is due. Ignores a page that arrives after [`SharedReading::take`]. The next
    /// check reads that page again.
    pub(super) fn add(
        &mut self,
        page: Page,
        store: impl FnOnce(&Reading) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
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

    pub(super) fn take(&mut self) -> Reading {
        let nothing = Reading::new(0, self.reading.began);
        std::mem::replace(&mut self.reading, nothing)
    }
}

/// The first reading: every item by itself, and the sums over all pairs.
pub(super) async fn read(
    connection: &Connection,
    scan: &Scan,
    start: Reading,
    resume: Option<&ResumeFile>,
) -> Result<Reading, Failure> {
    let from = start.positions.clone();
    let state = Arc::new(Mutex::new(SharedReading::new(start)));
    let (shared, file, address) = (Arc::clone(&state), resume.cloned(), connection.address());
    let each = move |page: Page| {
        let (shared, file, address) = (Arc::clone(&shared), file.clone(), address.clone());
        async move {
            let store = |reading: &Reading| file.map_or(Ok(()), |file| file.store(&address, reading));
            shared.lock().unwrap_or_else(PoisonError::into_inner).add(page, store)
        }
    };
    let pages = scan.pages(connection, None, &from, each);
    let ended = if resume.is_some() {
        let mut interrupts = Interrupts::listen()?;
        output::note("Press Ctrl-C to stop the scan. To continue, run the same command again.");
        let ended = tokio::select! {
            ended = pages => ended,
            () = interrupts.next() => Err(Failure("interrupted: run the same command again to continue".to_owned())),
        };
        // What follows cannot be continued, so it needs no orderly end.
        interrupts.release();
        ended
    } else {
        pages.await
    };
    // The parts of an interrupted reading may still hold the state, so take the reading out of it.
    let reading = state.lock().unwrap_or_else(PoisonError::into_inner).take();
    match (resume, &ended) {
        // The progress is out of date once the reading has ended.
        (Some(file), Ok(())) => file.remove(),
        (Some(file), Err(_)) => file.store(&connection.address(), &reading)?,
        (None, _) => {}
    }
    ended.map(|()| reading)
}

impl Reading {
    pub(super) fn add(&mut self, page: Page) {
        for item in &page.items {
            let (pk, sk) = change::key_text(item);
            match subject(item) {
                Subject::Customer { client_id, ccid } => {
                    self.counts.customers += 1;
                    for phone in item_parts::channels(item).filter_map(Phone::from_e164) {
                        self.counts.pairs += 1;
                        self.sums.add(Side::Record, &Pair::new(&client_id, &ccid, &phone));
                    }
                }
                Subject::Phone { client_id, phone } => {
                    self.counts.phones += 1;
                    for ccid in item_parts::ccids(item).iter().filter_map(|ccid| Ccid::parse(ccid).ok()) {
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
            if !repair::item(item, &[], self.began).findings.is_empty() {
                self.corrupt.insert((pk, sk));
            }
        }
        if let Some(position) = self.positions.get_mut(page.segment) {
            *position = page.position;
        }
    }
}

/// Finds the pairs that the sums could not separate, by reading the table again.
pub(super) async fn search(
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
pub(super) fn pairs_of(item: &Item) -> Vec<Pair> {
    match subject(item) {
        Subject::Customer { client_id, ccid } => item_parts::channels(item)
            .filter_map(Phone::from_e164)
            .map(|phone| Pair::new(&client_id, &ccid, &phone))
            .collect(),
        Subject::Phone { client_id, phone } => item_parts::ccids(item)
            .iter()
            .filter_map(|ccid| Ccid::parse(ccid).ok())
            .map(|ccid| Pair::new(&client_id, &ccid, &phone))
            .collect(),
        Subject::Key | Subject::Malformed(_) => Vec::new(),
    }
}
