//! The contract of one table, as a pure function of a record, a counter and a request.

use std::collections::{BTreeMap, BTreeSet};

use crate::plan::{Operation, Request};

/// The idempotency key of the add, and the value in which two requests can differ.
pub type StoredFingerprint = Option<(u16, u16)>;

/// The numbers of a customer, and by which add. `None` if there is no such customer.
pub type Record = Option<BTreeMap<u16, StoredFingerprint>>;

/// The customers that have a number.
pub type Counter = BTreeSet<u16>;

/// A response, as the contract distinguishes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelResponse {
    /// An add or a removal was done.
    Done,
    /// An earlier add did it.
    Replayed,
    /// The numbers of a record.
    Record(BTreeSet<u16>),
    /// Refused with this code, and nothing was written.
    Refused(String),
    /// Nothing was written.
    TryAgain,
    /// The outcome is unknown.
    Unknown,
}

/// The mark of a request.
pub fn fingerprint(request: &Request) -> StoredFingerprint {
    request.idempotency.map(|key| (key, request.source))
}

/// What the contract answers to a request at this moment.
pub fn answer(request: &Request, record: &Record, counter: &Counter, limits: (u32, u32)) -> ModelResponse {
    let refused = |code: &str| ModelResponse::Refused(code.to_owned());
    let is_full = |count: usize, limit: u32| count >= usize::try_from(limit).unwrap_or(usize::MAX);
    let Some(phones) = record else { return refused("customer_not_found") };
    let entry = phones.get(&request.phone);
    match (request.operation, entry) {
        (Operation::Read, _) => ModelResponse::Record(phones.keys().copied().collect()),
        (Operation::Remove, None) => refused("phone_not_found"),
        (Operation::Add, Some(Some(earlier))) => match fingerprint(request) {
            Some(own) if own == *earlier => ModelResponse::Replayed,
            Some(own) if own.0 == earlier.0 => refused("idempotency_key_reused"),
            _ => refused("phone_already_added"),
        },
        (Operation::Add, Some(None)) => refused("phone_already_added"),
        (Operation::Add, None) if is_full(phones.len(), limits.0) => refused("customer_phone_limit_reached"),
        (Operation::Add, None) if is_full(counter.len(), limits.1) => refused("phone_customer_limit_reached"),
        (Operation::Remove, Some(_)) | (Operation::Add, None) => ModelResponse::Done,
    }
}

/// All states that something has had, each with the number of the event that made it.
#[derive(Debug, Clone)]
pub struct Versions<T>(Vec<(u64, T)>);

impl<T> Versions<T> {
    /// The state at the start.
    pub fn new(first: T) -> Self {
        Self(vec![(0, first)])
    }

    /// The last state.
    pub fn last(&self) -> &T {
        self.0.last().map_or_else(|| unreachable!("there is a first"), |(_, state)| state)
    }

    /// A new state.
    pub fn push(&mut self, seq: u64, state: T) {
        self.0.push((seq, state));
    }

    /// The state right after this event.
    pub fn at(&self, seq: u64) -> &T {
        let place = self.0.partition_point(|(since, _)| *since <= seq);
        let before = place.checked_sub(1).and_then(|place| self.0.get(place));
        before.map_or_else(|| self.last(), |(_, state)| state)
    }

    /// When the state changed after `from` and no later than `to`.
    pub fn changes(&self, from: u64, to: u64) -> impl Iterator<Item = u64> {
        let place = self.0.partition_point(|(since, _)| *since <= from);
        self.0.iter().skip(place).map(|(since, _)| *since).take_while(move |since| *since <= to)
    }
}
