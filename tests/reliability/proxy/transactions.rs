//! Refuses transactions that overlap on an item: always the later one, and with random faults sometimes both.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use testkit::http1::Message;
use tokio::net::TcpStream;

use super::messages::{Call, Kind, cancelled};
use super::{Shared, State};
use crate::fault_table::{CONFLICT, PASSED};

/// The transactions that the database works on, by number in order of arrival.
#[derive(Debug, Default)]
pub(super) struct Open {
    begun: u64,
    transactions: BTreeMap<u64, Transaction>,
}

#[derive(Debug)]
struct Transaction {
    items: Vec<String>,
    /// Whether it is too late to refuse it.
    is_prepared: bool,
    /// Those of its items that another transaction uses.
    conflicts: BTreeSet<String>,
}

impl Shared {
    /// Sends the request to the database, or refuses it for a conflict.
    pub(super) async fn apply(&self, call: &Call) -> io::Result<Message> {
        if call.kind != Kind::Write {
            return self.forward(call, || None).await;
        }
        let begun = self.state().begin(call);
        let number = match begun {
            Ok(number) => number,
            Err(refused) => return Ok(refused),
        };
        // A random delay, so that other transactions can arrive.
        for _ in 0..fastrand::u32(..1000) {
            tokio::task::yield_now().await;
        }
        let response = self.forward(call, || self.state().prepare(number, call)).await;
        self.state().transactions.transactions.remove(&number);
        response
    }

    /// Sends the request to the database, unless `refused` has a response at the last moment.
    async fn forward(&self, call: &Call, refused: impl FnOnce() -> Option<Message>) -> io::Result<Message> {
        let mut database = TcpStream::connect(self.database).await?;
        if let Some(refused) = refused() {
            return Ok(refused);
        }
        call.message.write(&mut database).await?;
        Message::read(&mut database).await?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

impl State {
    /// Opens a transaction and returns its number, or refuses it because another one is open on an item of it.
    fn begin(&mut self, call: &Call) -> Result<u64, Message> {
        self.stats.units += call.units();
        let refuse_both = self.faults.random.as_mut().is_some_and(|faults| faults.generator.bool());
        let mut conflicts = BTreeSet::new();
        for other in self.transactions.transactions.values_mut() {
            let shared: Vec<_> = call.items.iter().filter(|item| other.items.contains(item)).cloned().collect();
            if refuse_both && !other.is_prepared {
                other.conflicts.extend(shared.iter().cloned());
            }
            conflicts.extend(shared);
        }
        if !conflicts.is_empty() {
            return Err(self.refuse(call, &conflicts));
        }
        let transaction = Transaction { items: call.items.clone(), is_prepared: false, conflicts };
        self.transactions.begun += 1;
        self.transactions.transactions.insert(self.transactions.begun, transaction);
        Ok(self.transactions.begun)
    }

    /// Refuses the transaction if a later one conflicted with it; from now on none can.
    fn prepare(&mut self, number: u64, call: &Call) -> Option<Message> {
        let transaction = self.transactions.transactions.get_mut(&number)?;
        transaction.is_prepared = true;
        let conflicts = std::mem::take(&mut transaction.conflicts);
        (!conflicts.is_empty()).then(|| self.refuse(call, &conflicts))
    }

    fn refuse(&mut self, call: &Call, conflicts: &BTreeSet<String>) -> Message {
        self.stats.conflicts += 1;
        self.stats.wasted_units += call.units();
        let codes = call.items.iter().map(|item| if conflicts.contains(item) { CONFLICT } else { PASSED });
        cancelled(&codes.collect::<Vec<_>>(), call)
    }
}
