//! Model checking of the protocol of tokens, retries and lost replies, at small sizes, in every order of events. Each
//! deliberate break of the protocol must be found.
//!
//! There are two records, two numbers, and limits of one, so that all requests compete.
//!
//! AWS documents that a token is valid for ten minutes after its first request completes, but not whether a cancelled
//! request counts. So every check runs with both behaviors: a DynamoDB that forgets the token of a cancelled transaction, as
//! the emulators do, and one that remembers it.

mod dynamodb;
mod function;
mod model;
mod state;

use std::collections::BTreeSet;

use stateright::{Checker as _, Expectation, HasDiscoveries, Model as _, Property};

use crate::is_full;
use model::{ATTEMPTS, Break, Protocol};
use state::Kind::{Add, Remove};
use state::{LIMIT, Operation, Phase, Response, State};

const ALL_RESPONDED: &str = "every request is responded to and one is done";
const DONE_AFTER_A_CONFLICT: &str = "a request that met a conflict is done";

/// What must hold in every state, and what must be possible.
fn promises() -> Vec<Property<Protocol>> {
    vec![
        Property::always("a request is written at most once", |_: &Protocol, state: &State| {
            state.requests.iter().all(|request| request.written <= 1)
        }),
        Property::always("the response says what was written", |_: &Protocol, state: &State| {
            state.requests.iter().all(|request| match request.phase {
                Phase::Responded(Response::Done) => request.written == 1,
                Phase::Responded(response) => response == Response::Unknown || request.written == 0,
                _ => true,
            })
        }),
        Property::always("a refusal was true at some moment of the request", |_: &Protocol, state: &State| {
            state.requests.iter().all(|request| match request.phase {
                Phase::Responded(response) => response.facts().iter().all(|fact| request.facts.contains(fact)),
                _ => true,
            })
        }),
        Property::always("records and counters agree and keep the limits", |_: &Protocol, state: &State| {
            let pairs = |sets: &[BTreeSet<usize>; 2]| -> BTreeSet<(usize, usize)> {
                sets.iter().enumerate().flat_map(|(index, set)| set.iter().map(move |n| (index, *n))).collect()
            };
            let from_counters: BTreeSet<_> =
                pairs(&state.counters).into_iter().map(|(phone, record)| (record, phone)).collect();
            let keep_limits = state.records.iter().chain(&state.counters).all(|set| set.len() <= LIMIT);
            pairs(&state.records) == from_counters && keep_limits
        }),
        Property::sometimes(DONE_AFTER_A_CONFLICT, |_: &Protocol, state: &State| {
            let mut requests = state.requests.iter();
            requests.any(|request| request.met_conflict && request.phase == Phase::Responded(Response::Done))
        }),
        Property::sometimes(ALL_RESPONDED, |_: &Protocol, state: &State| {
            state.requests.iter().all(|request| matches!(request.phase, Phase::Responded(_)))
                && state.requests.iter().any(|request| request.phase == Phase::Responded(Response::Done))
        }),
    ]
}

/// Concurrent requests, and the table before them.
type Scenario = (Vec<Operation>, Vec<(usize, usize)>);

/// Of two requests each can retry. Of three only the first can, to limit the number of orders.
fn protocol((operations, initial): Scenario, remembers_cancelled: bool, broken: Option<Break>) -> Protocol {
    let other_attempts = if operations.len() > 2 { 1 } else { ATTEMPTS };
    Protocol { operations, initial, other_attempts, remembers_cancelled, broken }
}

/// Two requests: every way in which they can compete.
fn pairs() -> Vec<Scenario> {
    let (add, remove) = (Operation(Add, 0, 0), Operation(Remove, 0, 0));
    vec![
        (vec![add, remove], vec![(0, 0)]),
        // Another number fills the record, or another record fills the number.
        (vec![add, Operation(Remove, 0, 1)], vec![(0, 1)]),
        (vec![add, Operation(Remove, 1, 0)], vec![(1, 0)]),
        (vec![add, add], vec![]),
        (vec![add, remove], vec![]),
        (vec![remove, remove], vec![(0, 0)]),
        (vec![add, Operation(Add, 1, 0)], vec![]),
        (vec![add, Operation(Add, 0, 1)], vec![]),
    ]
}

/// Three requests.
fn triples() -> Vec<Scenario> {
    let (add, remove) = (Operation(Add, 0, 0), Operation(Remove, 0, 0));
    vec![
        (vec![add, remove, add], vec![]),
        (vec![add, remove, remove], vec![(0, 0)]),
        (vec![add, Operation(Add, 1, 0), remove], vec![]),
        (vec![add, Operation(Remove, 1, 0), Operation(Remove, 0, 1)], vec![(1, 0), (0, 1)]),
    ]
}

#[test]
fn every_order_of_events_keeps_the_promises() {
    let mut all = 0;
    let scenarios = if is_full() { [pairs(), triples()].concat() } else { pairs().into_iter().take(2).collect() };
    for scenario in scenarios {
        for remembers_cancelled in [false, true] {
            let checker = protocol(scenario.clone(), remembers_cancelled, None).checker().threads(2).spawn_bfs().join();
            for promise in promises().iter().filter(|promise| promise.expectation == Expectation::Always) {
                checker.assert_no_discovery(promise.name);
            }
            checker.assert_any_discovery(ALL_RESPONDED);
            let states = checker.unique_state_count();
            let (operations, initial) = &scenario;
            println!(
                "{operations:?} on {initial:?}, remembers cancelled tokens: {remembers_cancelled}: {states} states"
            );
            all += states;
        }
    }
    println!("{all} states in all");
}

/// Whether a request that met a conflict can still be done in some order of events. Only the pairs of an add and a removal
/// are used, because there the success of one request does not refuse the other for good.
fn can_be_done_after_a_conflict(remembers_cancelled: bool, broken: Option<Break>) -> bool {
    pairs().into_iter().take(3).all(|pair| {
        let checker = protocol(pair, remembers_cancelled, broken).checker().threads(2);
        let wanted = HasDiscoveries::AnyOf([DONE_AFTER_A_CONFLICT].into());
        checker.finish_when(wanted).spawn_bfs().join().discovery(DONE_AFTER_A_CONFLICT).is_some()
    })
}

/// If a cancelled transaction uses up its token, a retry with the same token is refused whatever has changed since, so every
/// conflict would end in `try_again`.
#[test]
fn a_retry_can_succeed_after_a_conflict_under_both_readings_of_a_token() {
    for remembers_cancelled in [false, true] {
        assert!(can_be_done_after_a_conflict(remembers_cancelled, None), "{remembers_cancelled}");
        let with_one_token = can_be_done_after_a_conflict(remembers_cancelled, Some(Break::OneToken));
        assert_eq!(with_one_token, !remembers_cancelled);
    }
}

#[test]
fn each_break_of_the_protocol_is_found() {
    for broken in [
        Break::NewTokens,
        Break::LastAttemptDecides,
        Break::NoConfirmation,
        Break::MismatchIsRefusal,
        Break::MismatchIsSuccess,
        Break::CounterBeforeRecord,
        Break::TwoUpdates,
    ] {
        let scenarios =
            [false, true].into_iter().flat_map(|remembers| pairs().into_iter().map(move |pair| (remembers, pair)));
        let found = scenarios.into_iter().find_map(|(remembers_cancelled, scenario)| {
            let checker = protocol(scenario, remembers_cancelled, Some(broken)).checker();
            let checker = checker.threads(2).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
            // A discovery of something possible is not a violation.
            checker.discoveries().into_iter().find(|(name, _)| ![ALL_RESPONDED, DONE_AFTER_A_CONFLICT].contains(name))
        });
        let (name, path) = found.unwrap_or_else(|| panic!("{broken:?} was not found"));
        println!("{broken:?} breaks \"{name}\": {:#?}", path.into_actions());
    }
}
