//! The contract of one table, as a pure function of a record, a counter and a request.

use std::collections::{BTreeMap, BTreeSet};

use crate::plan::{Consent, Operation, Request};

/// The idempotency key of the add, and the values in which two requests can differ.
pub type StoredFingerprint = Option<(u16, (u16, Option<Consent>))>;

/// The numbers of a customer, each with the fingerprint of its add. `None` if the customer does not exist.
pub type Record = Option<BTreeMap<u16, StoredFingerprint>>;

/// A phone number: its customers, and its consent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Number {
    /// The customers that have the number.
    pub customers: BTreeSet<u16>,
    /// The event in which it was stopped, if it is.
    pub stopped: Option<u64>,
    /// The consent without the stop. Under a stop, adds may still state one, which no response shows.
    pub stated: Option<Consent>,
}

impl Number {
    /// The number's consent, if one was stated.
    pub fn consent(&self) -> Option<Consent> {
        self.stopped.map(|_| Consent::Stop).or(self.stated)
    }

    /// An add states this consent, in the event `seq`. It never lifts a stop.
    fn state(&mut self, consent: Consent, seq: u64) {
        if consent == Consent::Stop {
            (self.stopped, self.stated) = (self.stopped.or(Some(seq)), None);
        } else {
            self.stated = Some(consent);
        }
    }

    /// An update sets this consent, in the event `seq`.
    fn update(&mut self, consent: Consent, seq: u64) {
        self.stopped = None;
        self.state(consent, seq);
    }
}

/// A response, as the contract distinguishes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelResponse {
    /// An add, a removal, a creation or a deletion was done.
    Done,
    /// An earlier add did it.
    Replayed,
    /// The customer that was to be created exists.
    Exists,
    /// The numbers of a record, each with its consent.
    Record(BTreeMap<u16, Option<Consent>>),
    /// A number's customers and its consent.
    Phone(BTreeSet<u16>, Option<Consent>),
    /// The number has this consent now.
    Consent(Consent),
    /// Refused with this code, and nothing was written.
    Refused(String),
    /// Nothing was written.
    TryAgain,
    /// The outcome is unknown.
    Unknown,
}

/// The fingerprint of a request.
pub fn fingerprint(request: &Request) -> StoredFingerprint {
    request.idempotency.map(|key| (key, (request.source, request.consent)))
}

/// What the contract answers to a request at this moment. The consents of a record are checked elsewhere, because they need
/// not be of one moment.
pub fn answer(request: &Request, record: &Record, number: &Number, limits: (u32, u32)) -> ModelResponse {
    let refused = |code: &str| ModelResponse::Refused(code.to_owned());
    let is_full = |count: usize, limit: u32| count >= usize::try_from(limit).unwrap_or(usize::MAX);
    let is_known = !number.customers.is_empty() || number.consent().is_some();
    match (request.operation, request.consent) {
        (Operation::Create, _) if record.is_some() => return ModelResponse::Exists,
        (Operation::Create, _) => return ModelResponse::Done,
        (Operation::ReadPhone, _) if is_known => {
            return ModelResponse::Phone(number.customers.clone(), number.consent());
        }
        (Operation::UpdateConsent, Some(consent)) if is_known || consent == Consent::Stop => {
            return ModelResponse::Consent(consent);
        }
        (Operation::ReadPhone | Operation::UpdateConsent, _) => return refused("phone_not_found"),
        _ => {}
    }
    let Some(phones) = record else { return refused("customer_not_found") };
    let entry = phones.get(&request.phone);
    match (request.operation, entry) {
        (Operation::Read, _) => ModelResponse::Record(phones.keys().map(|phone| (*phone, None)).collect()),
        (Operation::Remove, None) => refused("phone_not_found"),
        (Operation::Add, Some(Some(earlier))) => match fingerprint(request) {
            Some(own) if own == *earlier => ModelResponse::Replayed,
            Some(own) if own.0 == earlier.0 => refused("idempotency_key_reused"),
            _ => refused("phone_already_added"),
        },
        (Operation::Add, Some(None)) => refused("phone_already_added"),
        (Operation::Add, None) if is_full(phones.len(), limits.0) => refused("customer_phone_limit_reached"),
        (Operation::Add, None) if is_full(number.customers.len(), limits.1) => refused("phone_customer_limit_reached"),
        _ => ModelResponse::Done,
    }
}

/// Carries out a request that is answered [`ModelResponse::Done`] or [`ModelResponse::Consent`], in the event `seq`. The
/// caller takes a deleted customer out of its numbers.
pub fn apply(request: &Request, record: &mut Record, number: &mut Number, seq: u64) {
    match (request.operation, record, request.consent) {
        (Operation::Add, Some(phones), consent) => {
            phones.insert(request.phone, fingerprint(request));
            number.customers.insert(request.customer);
            if let Some(consent) = consent {
                number.state(consent, seq);
            }
        }
        (Operation::Remove, Some(phones), _) => {
            phones.remove(&request.phone);
            number.customers.remove(&request.customer);
        }
        (Operation::Create, record, _) => *record = Some(BTreeMap::new()),
        (Operation::Delete, record, _) => *record = None,
        (Operation::UpdateConsent, _, Some(consent)) => number.update(consent, seq),
        _ => {}
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
        let index = self.0.partition_point(|(since, _)| *since <= seq);
        let before = index.checked_sub(1).and_then(|index| self.0.get(index));
        before.map_or_else(|| self.last(), |(_, state)| state)
    }

    /// The states from right after `from` until `to`.
    pub fn during(&self, from: u64, to: u64) -> impl Iterator<Item = &T> {
        std::iter::once(from).chain(self.changes(from, to)).map(|seq| self.at(seq))
    }

    /// When the state changed after `from` and no later than `to`.
    pub fn changes(&self, from: u64, to: u64) -> impl Iterator<Item = u64> {
        let index = self.0.partition_point(|(since, _)| *since <= from);
        self.0.iter().skip(index).map(|(since, _)| *since).take_while(move |since| *since <= to)
    }
}
