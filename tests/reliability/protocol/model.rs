//! The model for the checker: every action that is possible in a state. An attempt can be lost or delayed in every stage.
//! [`Break`] lists the ways to break the protocol.

use stateright::{Model, Property};

use super::dynamodb::arrive;
use super::promises;
use super::state::{Attempt, Operation, Phase, Reply, Stage, State};

/// Attempts of the first request, before it responds.
pub(super) const ATTEMPTS: u8 = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Break {
    /// A new token for each attempt, in doubt or not, as in the SDK's retries.
    NewTokens,
    /// One token for all attempts of a request. It breaks no promise. But if DynamoDB remembers the token of a cancelled
    /// transaction, every request that meets a conflict ends in `try_again`.
    OneToken,
    /// The outcome of the last attempt is taken for the outcome of the request, as in the SDK's retries.
    LastAttemptDecides,
    /// A refusal is returned while an earlier attempt may still arrive.
    NoConfirmation,
    /// A token that the earlier attempt has used is read as a refusal.
    MismatchIsRefusal,
    /// A token that the earlier attempt has used is read as a success, without a repeat of the write.
    MismatchIsSuccess,
    /// The counter's failure is returned although the record's result is unknown.
    CounterBeforeRecord,
    /// Two updates instead of one transaction.
    TwoUpdates,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Action {
    Begin(usize),
    Arrive(Attempt),
    /// DynamoDB refuses the attempt before it reads anything.
    Throttle(Attempt),
    PrepareRecord(Attempt),
    PrepareCounter(Attempt),
    Finish(Attempt),
    /// The request or the reply is lost.
    Lose(Attempt),
    Receive(Attempt),
    TimeOut(Attempt),
}

pub(super) struct Protocol {
    pub(super) operations: Vec<Operation>,
    /// The records and their numbers before the first request.
    pub(super) initial: Vec<(usize, usize)>,
    /// Attempts of each request but the first.
    pub(super) other_attempts: u8,
    /// Whether DynamoDB remembers the token of a cancelled transaction.
    pub(super) remembers_cancelled: bool,
    pub(super) broken: Option<Break>,
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::new(self.operations.len(), &self.initial)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for (number, request) in state.requests.iter().enumerate() {
            if request.phase == Phase::Idle {
                actions.push(Action::Begin(number));
            }
        }
        for attempt in state.attempts.iter().copied() {
            if attempt.is_awaited {
                actions.push(Action::TimeOut(attempt));
            }
            match attempt.stage {
                Stage::Sent => {
                    actions.extend([Action::Arrive(attempt), Action::Lose(attempt)]);
                    if attempt.is_awaited {
                        actions.push(Action::Throttle(attempt));
                    }
                }
                Stage::Preparing(Some(_), Some(_)) => actions.push(Action::Finish(attempt)),
                Stage::Preparing(record, counter) => {
                    actions.extend(record.is_none().then_some(Action::PrepareRecord(attempt)));
                    actions.extend(counter.is_none().then_some(Action::PrepareCounter(attempt)));
                }
                Stage::Replied(_) => actions.extend([Action::Receive(attempt), Action::Lose(attempt)]),
            }
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = state.clone();
        match action {
            Action::Begin(request) => {
                next.requests[request].phase = Phase::Writing;
                self.send(&mut next, request, false);
            }
            Action::Arrive(attempt) => {
                let then = arrive(&mut next, attempt);
                advance(&mut next, attempt, then);
            }
            Action::Throttle(attempt) => advance(&mut next, attempt, Stage::Replied(Reply::Throttled)),
            Action::PrepareRecord(attempt) => {
                let Stage::Preparing(_, counter) = attempt.stage else { return None };
                let reason = self.prepare_record(&mut next, attempt);
                advance(&mut next, attempt, Stage::Preparing(Some(reason), counter));
            }
            Action::PrepareCounter(attempt) => {
                let Stage::Preparing(record, _) = attempt.stage else { return None };
                let reason = self.prepare_counter(&mut next, attempt);
                advance(&mut next, attempt, Stage::Preparing(record, Some(reason)));
            }
            Action::Finish(attempt) => {
                let Stage::Preparing(Some(record), Some(counter)) = attempt.stage else { return None };
                let reply = self.finish(&mut next, attempt, record, counter);
                advance(&mut next, attempt, Stage::Replied(reply));
            }
            Action::Lose(attempt) => {
                next.attempts.remove(&attempt);
                if attempt.is_awaited {
                    // The function receives nothing and times out.
                    self.retry(&mut next, attempt.request, true);
                }
            }
            Action::Receive(attempt) => {
                let Stage::Replied(reply) = attempt.stage else { return None };
                next.attempts.remove(&attempt);
                self.receive(&mut next, attempt, reply);
            }
            Action::TimeOut(attempt) => {
                next.attempts.remove(&attempt);
                if !matches!(attempt.stage, Stage::Replied(_)) {
                    next.attempts.insert(Attempt { is_awaited: false, ..attempt });
                }
                self.retry(&mut next, attempt.request, true);
            }
        }
        next.record_facts(&self.operations);
        (next != *state).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        promises()
    }
}

/// Moves an attempt to its next stage. A reply that the function does not wait for is dropped.
fn advance(state: &mut State, attempt: Attempt, then: Stage) {
    state.attempts.remove(&attempt);
    if attempt.is_awaited || !matches!(then, Stage::Replied(_)) {
        state.attempts.insert(Attempt { stage: then, ..attempt });
    }
}
