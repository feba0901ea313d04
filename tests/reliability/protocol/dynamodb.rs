//! DynamoDB's part of the protocol: it prepares the items of a transaction one by one and remembers tokens.

use super::model::{Break, Protocol};
use super::state::Kind::{Add, Remove};
use super::state::{Attempt, Fact, LIMIT, Operation, Reason, Reply, Stage, State};

/// The stage of an attempt that has reached DynamoDB.
pub(super) fn arrive(state: &mut State, attempt: Attempt) -> Stage {
    let is_same = |other: &Attempt| matches!(other.stage, Stage::Preparing(..)) && other.token == attempt.token;
    match state.tokens.get(&attempt.token) {
        Some((is_confirmation, reply)) if *is_confirmation == attempt.is_confirmation => Stage::Replied(*reply),
        Some(_) => Stage::Replied(Reply::Mismatch),
        None if state.attempts.iter().any(is_same) => Stage::Replied(Reply::InProgress),
        None if attempt.is_confirmation => {
            state.tokens.insert(attempt.token, (true, Reply::Committed));
            Stage::Replied(Reply::Committed)
        }
        None => Stage::Preparing(None, None),
    }
}

impl Protocol {
    pub(super) fn prepare_record(&self, state: &mut State, attempt: Attempt) -> Reason {
        let reason = self.record_reason(state, attempt);
        if self.is(Break::TwoUpdates) && reason == Reason::Passed {
            self.write_record(state, attempt.request);
        }
        reason
    }

    pub(super) fn prepare_counter(&self, state: &mut State, attempt: Attempt) -> Reason {
        let reason = self.counter_reason(state, attempt);
        if self.is(Break::TwoUpdates) && reason == Reason::Passed {
            self.write_counter(state, attempt.request);
        }
        reason
    }

    /// Commits or cancels a transaction whose items are both prepared.
    pub(super) fn finish(&self, state: &mut State, attempt: Attempt, record: Reason, counter: Reason) -> Reply {
        if (record, counter) == (Reason::Passed, Reason::Passed) {
            state.tokens.insert(attempt.token, (false, Reply::Committed));
            if !self.is(Break::TwoUpdates) {
                self.write_record(state, attempt.request);
                self.write_counter(state, attempt.request);
            }
            return Reply::Committed;
        }
        let cancelled = Reply::Cancelled(record, counter);
        if self.remembers_cancelled {
            state.tokens.insert(attempt.token, (false, cancelled));
        }
        cancelled
    }

    fn record_reason(&self, state: &State, attempt: Attempt) -> Reason {
        let Operation(kind, record, phone) = self.operations[attempt.request];
        let has_prepared = |stage| matches!(stage, Stage::Preparing(Some(Reason::Passed), _));
        if self.is_locked(state, attempt, has_prepared, |operation| operation.1 == record) {
            return Reason::Conflict;
        }
        let phones = &state.records[record];
        match kind {
            Add if phones.contains(&phone) => Reason::Failed(Fact::HasPhone),
            Add if phones.len() >= LIMIT => Reason::Failed(Fact::RecordFull),
            Remove if !phones.contains(&phone) => Reason::Failed(Fact::NoPhone),
            _ => Reason::Passed,
        }
    }

    fn counter_reason(&self, state: &State, attempt: Attempt) -> Reason {
        let Operation(kind, _, phone) = self.operations[attempt.request];
        let has_prepared = |stage| matches!(stage, Stage::Preparing(_, Some(Reason::Passed)));
        if self.is_locked(state, attempt, has_prepared, |operation| operation.2 == phone) {
            return Reason::Conflict;
        }
        let count = state.counters[phone].len();
        match kind {
            Add if count >= LIMIT => Reason::Failed(Fact::PhoneFull),
            Remove if count == 0 => Reason::Failed(Fact::NoPhone),
            _ => Reason::Passed,
        }
    }

    /// Whether another transaction has prepared the item. It locks the item until it finishes.
    fn is_locked(
        &self,
        state: &State,
        attempt: Attempt,
        has_prepared: impl Fn(Stage) -> bool,
        is_same_item: impl Fn(Operation) -> bool,
    ) -> bool {
        let mut others = state.attempts.iter().filter(|other| **other != attempt && !other.is_confirmation);
        others.any(|other| has_prepared(other.stage) && is_same_item(self.operations[other.request]))
    }

    fn write_record(&self, state: &mut State, request: usize) {
        let Operation(kind, record, phone) = self.operations[request];
        let phones = &mut state.records[record];
        let _ = if kind == Add { phones.insert(phone) } else { phones.remove(&phone) };
        state.requests[request].written += 1;
    }

    fn write_counter(&self, state: &mut State, request: usize) {
        let Operation(kind, record, phone) = self.operations[request];
        let records = &mut state.counters[phone];
        let _ = if kind == Add { records.insert(record) } else { records.remove(&record) };
    }
}
