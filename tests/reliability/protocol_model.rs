//! The protocol by itself: requests that send attempts, each under a new token until one is in doubt, and a DynamoDB that prepares the items of a
//! transaction one by one, remembers tokens, and loses or delays whatever it likes. [`Break`] has the ways to break it.

use std::collections::{BTreeMap, BTreeSet};

use stateright::{Model, Property};

use Kind::{Add, Remove};

use crate::protocol::promises;

/// Numbers of a record, and records of a number.
pub(crate) const LIMIT: usize = 1;
/// Attempts of the first request; its last word is spoken after them.
pub(crate) const ATTEMPTS: u8 = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Break {
    /// A new token for each attempt, in doubt or not, as the SDK would have it.
    NewTokens,
    /// One token for all attempts of a request. It breaks no promise, but where DynamoDB remembers the token of a cancelled
    /// transaction, every request that met a conflict ends in `try_again`.
    OneToken,
    /// The last attempt's fate is taken for that of them all, as the SDK's retries have it.
    LastFateDecides,
    /// A refusal is answered while an earlier attempt may be on its way.
    NoConfirmation,
    /// The token was taken by the earlier attempt, and that is read as one more refusal.
    MismatchIsRefusal,
    /// It is read as a success, and DynamoDB is not asked for its word on the write.
    MismatchIsSuccess,
    /// The counter's failure is answered although the record's is not known.
    CounterBeforeRecord,
    /// Two updates instead of one transaction.
    TwoUpdates,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Kind {
    Add,
    Remove,
}

/// What is asked: of which record, about which number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Ask(pub(crate) Kind, pub(crate) usize, pub(crate) usize);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Answer {
    Done,
    AlreadyAdded,
    NotFound,
    RecordFull,
    PhoneFull,
    TryAgain,
    Unknown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Phase {
    Idle,
    /// Waits for the answer to an attempt.
    Writing,
    /// Waits for the token to be taken, with what it will answer then.
    Confirming(Answer),
    /// The token was taken before: waits for DynamoDB's word on the write.
    Recalling,
    Answered(Answer),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Request {
    pub(crate) phase: Phase,
    pub(crate) attempts: u8,
    /// Which of the request's tokens its next attempt has.
    pub(crate) token: u8,
    pub(crate) in_doubt: bool,
    /// Whether an attempt of it was refused for a conflict.
    pub(crate) met_conflict: bool,
    /// What has been true of its items at some moment since it began.
    pub(crate) seen: BTreeSet<Fact>,
    /// How often it was written.
    pub(crate) written: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Fact {
    HasPhone,
    NoPhone,
    RecordFull,
    RecordOpen,
    PhoneFull,
}

/// What DynamoDB makes of one item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Reason {
    Passed,
    /// Its condition failed; what the old item says.
    Failed(Fact),
    Conflict,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Reply {
    Committed,
    Cancelled(Reason, Reason),
    Mismatch,
    InProgress,
    Throttled,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Stage {
    Sent,
    /// At work: what has been found of the record and of the counter.
    Working(Option<Reason>, Option<Reason>),
    Replied(Reply),
}

/// One attempt, wherever it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Attempt {
    request: usize,
    /// Which of the request's it is.
    number: u8,
    token: (usize, u8),
    /// Whether it writes nothing and only takes the token.
    is_confirmation: bool,
    /// Whether its sender still listens.
    is_awaited: bool,
    stage: Stage,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) requests: Vec<Request>,
    pub(crate) attempts: BTreeSet<Attempt>,
    /// The tokens that DynamoDB remembers, each with whether it was for a confirmation, and what was replied.
    pub(crate) tokens: BTreeMap<(usize, u8), (bool, Reply)>,
    /// Each record's numbers.
    pub(crate) records: [BTreeSet<usize>; 2],
    /// Each number's records.
    pub(crate) counters: [BTreeSet<usize>; 2],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Action {
    Begin(usize),
    Arrive(Attempt),
    /// DynamoDB refuses it before it looks at anything.
    Throttle(Attempt),
    LookAtRecord(Attempt),
    LookAtCounter(Attempt),
    Finish(Attempt),
    /// On its way in either direction it is lost.
    Lose(Attempt),
    Hear(Attempt),
    GiveUp(Attempt),
}

pub(crate) struct Protocol {
    pub(crate) asks: Vec<Ask>,
    pub(crate) initial: Vec<(usize, usize)>,
    /// Attempts of the other requests.
    pub(crate) others: u8,
    /// Whether DynamoDB remembers the token of a cancelled transaction, too.
    pub(crate) remembers_cancelled: bool,
    pub(crate) broken: Option<Break>,
}

impl Protocol {
    fn is(&self, way: Break) -> bool {
        self.broken == Some(way)
    }

    fn attempts(&self, request: usize) -> u8 {
        if request == 0 { ATTEMPTS } else { self.others }
    }

    fn send(&self, state: &mut State, request: usize, is_confirmation: bool) {
        let asked = &mut state.requests[request];
        let is_new = match self.broken {
            Some(Break::NewTokens) => true,
            Some(Break::OneToken) => false,
            _ => !asked.in_doubt && asked.phase == Phase::Writing,
        };
        if is_new && asked.attempts > 0 {
            asked.token += 1;
        }
        asked.attempts += 1;
        let (number, token) = (asked.attempts, (request, asked.token));
        let attempt = Attempt { request, number, token, is_confirmation, is_awaited: true, stage: Stage::Sent };
        state.attempts.insert(attempt);
    }

    /// An attempt was refused for now, or its fate is not known.
    fn again(&self, state: &mut State, request: usize, is_unknown: bool) {
        let asked = &mut state.requests[request];
        asked.in_doubt |= is_unknown;
        if self.is(Break::LastFateDecides) {
            asked.in_doubt = is_unknown;
        }
        let phase = asked.phase;
        match phase {
            Phase::Writing if asked.attempts < self.attempts(request) => self.send(state, request, false),
            Phase::Confirming(_) if asked.attempts <= self.attempts(request) => self.send(state, request, true),
            Phase::Writing if !asked.in_doubt => asked.phase = Phase::Answered(Answer::TryAgain),
            _ => asked.phase = Phase::Answered(Answer::Unknown),
        }
    }

    fn hear(&self, state: &mut State, attempt: Attempt, reply: Reply) {
        let asked = &mut state.requests[attempt.request];
        let answer = match (asked.phase, reply) {
            (Phase::Confirming(answer), Reply::Committed) => answer,
            (Phase::Confirming(answer), Reply::Mismatch) if self.is(Break::MismatchIsRefusal) => answer,
            (Phase::Confirming(_), Reply::Mismatch) if self.is(Break::MismatchIsSuccess) => Answer::Done,
            (Phase::Confirming(_), Reply::Mismatch) => {
                asked.phase = Phase::Recalling;
                return self.send(state, attempt.request, false);
            }
            (Phase::Writing | Phase::Recalling, Reply::Committed) => Answer::Done,
            (Phase::Recalling, Reply::Cancelled(..)) | (_, Reply::Mismatch | Reply::Committed) => Answer::Unknown,
            (_, Reply::InProgress) => return self.again(state, attempt.request, true),
            (_, Reply::Throttled) => return self.again(state, attempt.request, false),
            (_, Reply::Cancelled(record, counter)) => match self.read(record, counter) {
                None => {
                    asked.met_conflict = true;
                    return self.again(state, attempt.request, false);
                }
                Some(answer) if asked.in_doubt && !self.is(Break::NoConfirmation) => {
                    asked.phase = Phase::Confirming(answer);
                    return self.send(state, attempt.request, true);
                }
                Some(answer) => answer,
            },
        };
        asked.phase = Phase::Answered(answer);
    }

    /// The ranking of `store::cancellation`.
    fn read(&self, record: Reason, counter: Reason) -> Option<Answer> {
        match (record, counter) {
            (Reason::Failed(Fact::HasPhone), _) => Some(Answer::AlreadyAdded),
            (Reason::Failed(Fact::NoPhone), _) => Some(Answer::NotFound),
            (Reason::Failed(_), _) => Some(Answer::RecordFull),
            (Reason::Conflict, Reason::Failed(_)) if self.is(Break::CounterBeforeRecord) => Some(Answer::PhoneFull),
            (Reason::Passed, Reason::Failed(_)) => Some(Answer::PhoneFull),
            _ => None,
        }
    }

    fn look_at_record(&self, state: &State, attempt: Attempt) -> Reason {
        let Ask(kind, record, phone) = self.asks[attempt.request];
        // What another transaction has prepared is locked until its end.
        if self.is_held(
            state,
            attempt,
            |stage| matches!(stage, Stage::Working(Some(Reason::Passed), _)),
            |ask| ask.1 == record,
        ) {
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

    fn look_at_counter(&self, state: &State, attempt: Attempt) -> Reason {
        let Ask(kind, _, phone) = self.asks[attempt.request];
        if self.is_held(
            state,
            attempt,
            |stage| matches!(stage, Stage::Working(_, Some(Reason::Passed))),
            |ask| ask.2 == phone,
        ) {
            return Reason::Conflict;
        }
        let count = state.counters[phone].len();
        match kind {
            Add if count >= LIMIT => Reason::Failed(Fact::PhoneFull),
            Remove if count == 0 => Reason::Failed(Fact::NoPhone),
            _ => Reason::Passed,
        }
    }

    fn is_held(
        &self,
        state: &State,
        by_another_than: Attempt,
        holds: impl Fn(Stage) -> bool,
        is_same: impl Fn(Ask) -> bool,
    ) -> bool {
        let others = state.attempts.iter().filter(|other| **other != by_another_than && !other.is_confirmation);
        others.into_iter().any(|other| holds(other.stage) && is_same(self.asks[other.request]))
    }

    fn write_record(&self, state: &mut State, request: usize) {
        let Ask(kind, record, phone) = self.asks[request];
        let phones = &mut state.records[record];
        let _ = if kind == Add { phones.insert(phone) } else { phones.remove(&phone) };
        state.requests[request].written += 1;
    }

    fn write_counter(&self, state: &mut State, request: usize) {
        let Ask(kind, record, phone) = self.asks[request];
        let records = &mut state.counters[phone];
        let _ = if kind == Add { records.insert(record) } else { records.remove(&record) };
    }

    /// Every request that is under way sees the table as it is now.
    fn see(&self, state: &mut State) {
        for (request, Ask(_, record, phone)) in state.requests.iter_mut().zip(&self.asks) {
            if matches!(request.phase, Phase::Idle | Phase::Answered(_)) {
                continue;
            }
            let phones = &state.records[*record];
            let has = phones.contains(phone);
            let is_full = phones.len() >= LIMIT;
            request.seen.insert(if has { Fact::HasPhone } else { Fact::NoPhone });
            if !has {
                request.seen.insert(if is_full { Fact::RecordFull } else { Fact::RecordOpen });
            }
            if state.counters[*phone].len() >= LIMIT {
                request.seen.insert(Fact::PhoneFull);
            }
        }
    }
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let idle = Request {
            phase: Phase::Idle,
            attempts: 0,
            token: 0,
            in_doubt: false,
            met_conflict: false,
            seen: BTreeSet::new(),
            written: 0,
        };
        let mut state = State {
            requests: vec![idle; self.asks.len()],
            attempts: BTreeSet::new(),
            tokens: BTreeMap::new(),
            records: Default::default(),
            counters: Default::default(),
        };
        for (record, phone) in &self.initial {
            state.records[*record].insert(*phone);
            state.counters[*phone].insert(*record);
        }
        vec![state]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for (request, asked) in state.requests.iter().enumerate() {
            if asked.phase == Phase::Idle {
                actions.push(Action::Begin(request));
            }
        }
        for attempt in state.attempts.iter().copied() {
            if attempt.is_awaited {
                actions.push(Action::GiveUp(attempt));
            }
            match attempt.stage {
                Stage::Sent => {
                    actions.extend([Action::Arrive(attempt), Action::Lose(attempt)]);
                    if attempt.is_awaited {
                        actions.push(Action::Throttle(attempt));
                    }
                }
                Stage::Working(Some(_), Some(_)) => actions.push(Action::Finish(attempt)),
                Stage::Working(record, counter) => {
                    actions.extend(record.is_none().then_some(Action::LookAtRecord(attempt)));
                    actions.extend(counter.is_none().then_some(Action::LookAtCounter(attempt)));
                }
                Stage::Replied(_) => actions.extend([Action::Hear(attempt), Action::Lose(attempt)]),
            }
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = state.clone();
        let mut at = |attempt: Attempt, stage: Stage| {
            next.attempts.remove(&attempt);
            // Nobody hears the answer to what nobody waits for.
            if attempt.is_awaited || !matches!(stage, Stage::Replied(_)) {
                next.attempts.insert(Attempt { stage, ..attempt });
            }
        };
        match action {
            Action::Begin(request) => {
                next.requests[request].phase = Phase::Writing;
                self.send(&mut next, request, false);
            }
            Action::Arrive(attempt) => {
                let working =
                    |other: &Attempt| matches!(other.stage, Stage::Working(..)) && other.token == attempt.token;
                match state.tokens.get(&attempt.token) {
                    Some((is_confirmation, reply)) if *is_confirmation == attempt.is_confirmation => {
                        at(attempt, Stage::Replied(*reply));
                    }
                    Some(_) => at(attempt, Stage::Replied(Reply::Mismatch)),
                    None if state.attempts.iter().any(working) => at(attempt, Stage::Replied(Reply::InProgress)),
                    None if attempt.is_confirmation => {
                        at(attempt, Stage::Replied(Reply::Committed));
                        next.tokens.insert(attempt.token, (true, Reply::Committed));
                    }
                    None => at(attempt, Stage::Working(None, None)),
                }
            }
            Action::Throttle(attempt) => at(attempt, Stage::Replied(Reply::Throttled)),
            Action::LookAtRecord(attempt) => {
                let Stage::Working(_, counter) = attempt.stage else { return None };
                let found = self.look_at_record(state, attempt);
                at(attempt, Stage::Working(Some(found), counter));
                if self.is(Break::TwoUpdates) && found == Reason::Passed {
                    self.write_record(&mut next, attempt.request);
                }
            }
            Action::LookAtCounter(attempt) => {
                let Stage::Working(record, _) = attempt.stage else { return None };
                let found = self.look_at_counter(state, attempt);
                at(attempt, Stage::Working(record, Some(found)));
                if self.is(Break::TwoUpdates) && found == Reason::Passed {
                    self.write_counter(&mut next, attempt.request);
                }
            }
            Action::Finish(attempt) => {
                let Stage::Working(Some(record), Some(counter)) = attempt.stage else { return None };
                if (record, counter) == (Reason::Passed, Reason::Passed) {
                    at(attempt, Stage::Replied(Reply::Committed));
                    next.tokens.insert(attempt.token, (false, Reply::Committed));
                    if !self.is(Break::TwoUpdates) {
                        self.write_record(&mut next, attempt.request);
                        self.write_counter(&mut next, attempt.request);
                    }
                } else {
                    let cancelled = Reply::Cancelled(record, counter);
                    at(attempt, Stage::Replied(cancelled));
                    if self.remembers_cancelled {
                        next.tokens.insert(attempt.token, (false, cancelled));
                    }
                }
            }
            Action::Lose(attempt) => {
                next.attempts.remove(&attempt);
                if attempt.is_awaited {
                    // Its sender hears nothing, and gives up in time.
                    self.again(&mut next, attempt.request, true);
                }
            }
            Action::Hear(attempt) => {
                let Stage::Replied(reply) = attempt.stage else { return None };
                next.attempts.remove(&attempt);
                self.hear(&mut next, attempt, reply);
            }
            Action::GiveUp(attempt) => {
                next.attempts.remove(&attempt);
                if !matches!(attempt.stage, Stage::Replied(_)) {
                    next.attempts.insert(Attempt { is_awaited: false, ..attempt });
                }
                self.again(&mut next, attempt.request, true);
            }
        }
        self.see(&mut next);
        (next != *state).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        promises()
    }
}
