//! The function's part of the protocol: when it sends an attempt, with which token, and how it reads the reply.

use super::model::{ATTEMPTS, Break, Protocol};
use super::state::{Attempt, Fact, Phase, Reason, Reply, Response, Stage, State};

impl Protocol {
    pub(super) fn is(&self, way: Break) -> bool {
        self.broken == Some(way)
    }

    fn attempts(&self, request: usize) -> u8 {
        if request == 0 { ATTEMPTS } else { self.other_attempts }
    }

    pub(super) fn send(&self, state: &mut State, request: usize, is_confirmation: bool) {
        let sender = &mut state.requests[request];
        let needs_new_token = match self.broken {
            Some(Break::NewTokens) => true,
            Some(Break::OneToken) => false,
            _ => !sender.in_doubt && sender.phase == Phase::Writing,
        };
        if needs_new_token && sender.attempts > 0 {
            sender.token += 1;
        }
        sender.attempts += 1;
        let (number, token) = (sender.attempts, (request, sender.token));
        let attempt = Attempt { request, number, token, is_confirmation, is_awaited: true, stage: Stage::Sent };
        state.attempts.insert(attempt);
    }

    /// Continues after an attempt that was refused for now, or whose outcome is unknown.
    pub(super) fn retry(&self, state: &mut State, request: usize, is_unknown: bool) {
        let sender = &mut state.requests[request];
        sender.in_doubt |= is_unknown;
        if self.is(Break::LastAttemptDecides) {
            sender.in_doubt = is_unknown;
        }
        match sender.phase {
            Phase::Writing if sender.attempts < self.attempts(request) => self.send(state, request, false),
            Phase::Confirming(_) if sender.attempts <= self.attempts(request) => self.send(state, request, true),
            // The repeats of the last step are limited by time only. One of them is enough to see every order.
            Phase::Recalling if sender.attempts <= self.attempts(request) + 2 => self.send(state, request, false),
            Phase::Writing if !sender.in_doubt => sender.phase = Phase::Responded(Response::TryAgain),
            _ => sender.phase = Phase::Responded(Response::Unknown),
        }
    }

    pub(super) fn receive(&self, state: &mut State, attempt: Attempt, reply: Reply) {
        let sender = &mut state.requests[attempt.request];
        let response = match (sender.phase, reply) {
            (Phase::Confirming(response), Reply::Committed) => response,
            (Phase::Confirming(response), Reply::Mismatch) if self.is(Break::MismatchIsRefusal) => response,
            (Phase::Confirming(_), Reply::Mismatch) if self.is(Break::MismatchIsSuccess) => Response::Done,
            (Phase::Confirming(_), Reply::Mismatch) => {
                sender.phase = Phase::Recalling;
                return self.send(state, attempt.request, false);
            }
            (Phase::Writing | Phase::Recalling, Reply::Committed) => Response::Done,
            (Phase::Recalling, Reply::Cancelled(record, counter)) if self.read_reasons(record, counter).is_some() => {
                Response::Unknown
            }
            (_, Reply::Mismatch | Reply::Committed) => Response::Unknown,
            (_, Reply::InProgress) => return self.retry(state, attempt.request, true),
            (_, Reply::Throttled) => return self.retry(state, attempt.request, false),
            (_, Reply::Cancelled(record, counter)) => match self.read_reasons(record, counter) {
                None => {
                    sender.met_conflict = true;
                    return self.retry(state, attempt.request, false);
                }
                Some(response) if sender.in_doubt && !self.is(Break::NoConfirmation) => {
                    sender.phase = Phase::Confirming(response);
                    return self.send(state, attempt.request, true);
                }
                Some(response) => response,
            },
        };
        sender.phase = Phase::Responded(response);
    }

    /// The same order of precedence as `store::cancellation`.
    fn read_reasons(&self, record: Reason, counter: Reason) -> Option<Response> {
        match (record, counter) {
            (Reason::Failed(Fact::HasPhone), _) => Some(Response::AlreadyAdded),
            (Reason::Failed(Fact::NoPhone), _) => Some(Response::NotFound),
            (Reason::Failed(_), _) => Some(Response::RecordFull),
            (Reason::Conflict, Reason::Failed(_)) if self.is(Break::CounterBeforeRecord) => Some(Response::PhoneFull),
            (Reason::Passed, Reason::Failed(_)) => Some(Response::PhoneFull),
            _ => None,
        }
    }
}
