//! The states of the model: requests, attempts, and the table.

use std::collections::{BTreeMap, BTreeSet};

/// The greatest count of a record's numbers, and of a number's records.
pub(super) const LIMIT: usize = 1;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Kind {
    Add,
    Remove,
}

/// A kind, a record and a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Operation(pub(super) Kind, pub(super) usize, pub(super) usize);

/// The function's response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Response {
    Done,
    AlreadyAdded,
    NotFound,
    RecordFull,
    PhoneFull,
    TryAgain,
    Unknown,
}

impl Response {
    /// What must have been true of the items at some moment of the request. It can be several facts.
    pub(super) fn facts(self) -> &'static [Fact] {
        match self {
            Self::AlreadyAdded => &[Fact::HasPhone],
            Self::NotFound => &[Fact::NoPhone],
            Self::RecordFull => &[Fact::RecordFull],
            Self::PhoneFull => &[Fact::PhoneFull, Fact::RecordOpen],
            Self::Done | Self::TryAgain | Self::Unknown => &[],
        }
    }
}

/// Where a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Phase {
    Idle,
    /// Waits for the reply to an attempt.
    Writing,
    /// Waits until the token is used up, to respond with this.
    Confirming(Response),
    /// An earlier attempt has used the token. Waits for the reply to a repeat of that attempt.
    Recalling,
    Responded(Response),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Request {
    pub(super) phase: Phase,
    pub(super) attempts: u8,
    /// The number of the token that the next attempt uses.
    pub(super) token: u8,
    /// Whether an attempt may have written.
    pub(super) in_doubt: bool,
    /// Whether an attempt was refused for a conflict.
    pub(super) met_conflict: bool,
    /// What was true of its items at some moment since it began.
    pub(super) facts: BTreeSet<Fact>,
    /// How often it was written.
    pub(super) written: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Fact {
    HasPhone,
    NoPhone,
    RecordFull,
    RecordOpen,
    PhoneFull,
}

/// The result of one item of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Reason {
    Passed,
    /// The condition failed, and the old item shows this.
    Failed(Fact),
    Conflict,
}

/// DynamoDB's reply to an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Reply {
    Committed,
    /// The reasons of the record and of the counter.
    Cancelled(Reason, Reason),
    /// The token was used with another transaction.
    Mismatch,
    InProgress,
    Throttled,
}

/// Where an attempt is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Stage {
    Sent,
    /// In DynamoDB, with the results of the record and of the counter so far.
    Preparing(Option<Reason>, Option<Reason>),
    Replied(Reply),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Attempt {
    pub(super) request: usize,
    /// The number of the attempt within its request.
    pub(super) number: u8,
    /// The request and the number of the token.
    pub(super) token: (usize, u8),
    /// Whether it writes nothing and only uses up the token.
    pub(super) is_confirmation: bool,
    /// Whether the function still waits for the reply.
    pub(super) is_awaited: bool,
    pub(super) stage: Stage,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct State {
    pub(super) requests: Vec<Request>,
    pub(super) attempts: BTreeSet<Attempt>,
    /// The tokens that DynamoDB remembers: whether each was used by a confirmation, and the reply.
    pub(super) tokens: BTreeMap<(usize, u8), (bool, Reply)>,
    /// Each record's numbers.
    pub(super) records: [BTreeSet<usize>; 2],
    /// Each number's records.
    pub(super) counters: [BTreeSet<usize>; 2],
}

impl State {
    pub(super) fn new(requests: usize, initial: &[(usize, usize)]) -> Self {
        let idle = Request {
            phase: Phase::Idle,
            attempts: 0,
            token: 0,
            in_doubt: false,
            met_conflict: false,
            facts: BTreeSet::new(),
            written: 0,
        };
        let mut state = Self {
            requests: vec![idle; requests],
            attempts: BTreeSet::new(),
            tokens: BTreeMap::new(),
            records: Default::default(),
            counters: Default::default(),
        };
        for (record, phone) in initial {
            state.records[*record].insert(*phone);
            state.counters[*phone].insert(*record);
        }
        state
    }

    /// Records for each running request what is true of its items now.
    pub(super) fn record_facts(&mut self, operations: &[Operation]) {
        for (request, Operation(_, record, phone)) in self.requests.iter_mut().zip(operations) {
            if matches!(request.phase, Phase::Idle | Phase::Responded(_)) {
                continue;
            }
            let phones = &self.records[*record];
            let has_phone = phones.contains(phone);
            let is_full = phones.len() >= LIMIT;
            request.facts.insert(if has_phone { Fact::HasPhone } else { Fact::NoPhone });
            if !has_phone {
                request.facts.insert(if is_full { Fact::RecordFull } else { Fact::RecordOpen });
            }
            if self.counters[*phone].len() >= LIMIT {
                request.facts.insert(Fact::PhoneFull);
            }
        }
    }
}
