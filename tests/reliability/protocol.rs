//! The protocol by itself, at small sizes, through every order of events: what must hold in each. Then the same with the
//! protocol broken on purpose: each break must be found.
//!
//! Two records, two numbers, and limits of one, so that everything is in the way of everything.
//!
//! AWS says that a token is good for ten minutes after its first request was completed, and not whether a cancelled one
//! counts. So it is all done twice: by a DynamoDB that forgets the token of a cancelled transaction, as the emulators do,
//! and by one that remembers it.

use std::collections::BTreeSet;

use stateright::{Checker as _, Expectation, HasDiscoveries, Model as _, Property};

use crate::protocol_model::Kind::{Add, Remove};
use crate::protocol_model::{ATTEMPTS, Answer, Ask, Break, Fact, LIMIT, Phase, Protocol, State};
use crate::world::is_full;

const ALL_ANSWERED: &str = "everything is answered, and something is done";
const DONE_AFTER_A_CONFLICT: &str = "a request that met a conflict is done";

/// What must hold in every state, and what must be possible.
pub(crate) fn promises() -> Vec<Property<Protocol>> {
    vec![
        Property::always("a request is written at most once", |_: &Protocol, state: &State| {
            state.requests.iter().all(|request| request.written <= 1)
        }),
        Property::always("what was answered is what was written", |_: &Protocol, state: &State| {
            state.requests.iter().all(|request| match request.phase {
                Phase::Answered(Answer::Done) => request.written == 1,
                Phase::Answered(answer) => answer == Answer::Unknown || request.written == 0,
                _ => true,
            })
        }),
        Property::always("each refusal was true while it was asked", |_: &Protocol, state: &State| {
            state.requests.iter().all(|request| {
                let facts: &[Fact] = match request.phase {
                    Phase::Answered(Answer::AlreadyAdded) => &[Fact::HasPhone],
                    Phase::Answered(Answer::NotFound) => &[Fact::NoPhone],
                    Phase::Answered(Answer::RecordFull) => &[Fact::RecordFull],
                    Phase::Answered(Answer::PhoneFull) => &[Fact::PhoneFull, Fact::RecordOpen],
                    _ => &[],
                };
                facts.iter().all(|fact| request.seen.contains(fact))
            })
        }),
        Property::always("records and counters agree, within the limits", |_: &Protocol, state: &State| {
            let pairs = |sets: &[BTreeSet<usize>; 2]| -> BTreeSet<(usize, usize)> {
                sets.iter().enumerate().flat_map(|(of, set)| set.iter().map(move |n| (of, *n))).collect()
            };
            let turned: BTreeSet<_> =
                pairs(&state.counters).into_iter().map(|(phone, record)| (record, phone)).collect();
            pairs(&state.records) == turned && state.records.iter().chain(&state.counters).all(|set| set.len() <= LIMIT)
        }),
        Property::sometimes(DONE_AFTER_A_CONFLICT, |_: &Protocol, state: &State| {
            let mut requests = state.requests.iter();
            requests.any(|request| request.met_conflict && request.phase == Phase::Answered(Answer::Done))
        }),
        Property::sometimes(ALL_ANSWERED, |_: &Protocol, state: &State| {
            state.requests.iter().all(|request| matches!(request.phase, Phase::Answered(_)))
                && state.requests.iter().any(|request| request.phase == Phase::Answered(Answer::Done))
        }),
    ]
}

/// What is asked at once, and what the table holds before.
type Scenario = (Vec<Ask>, Vec<(usize, usize)>);

/// Of two requests each repeats its attempt; of three the first alone, or there would be too many orders.
fn protocol((asks, initial): Scenario, remembers_cancelled: bool, broken: Option<Break>) -> Protocol {
    let others = if asks.len() > 2 { 1 } else { ATTEMPTS };
    Protocol { asks, initial, others, remembers_cancelled, broken }
}

/// Two requests: every way in which they can be in each other's way.
fn pairs() -> Vec<Scenario> {
    let (add, remove) = (Ask(Add, 0, 0), Ask(Remove, 0, 0));
    vec![
        (vec![add, remove], vec![(0, 0)]),
        // The record full of another number, the number full of another record.
        (vec![add, Ask(Remove, 0, 1)], vec![(0, 1)]),
        (vec![add, Ask(Remove, 1, 0)], vec![(1, 0)]),
        (vec![add, add], vec![]),
        (vec![add, remove], vec![]),
        (vec![remove, remove], vec![(0, 0)]),
        (vec![add, Ask(Add, 1, 0)], vec![]),
        (vec![add, Ask(Add, 0, 1)], vec![]),
    ]
}

/// Three requests.
fn triples() -> Vec<Scenario> {
    let (add, remove) = (Ask(Add, 0, 0), Ask(Remove, 0, 0));
    vec![
        (vec![add, remove, add], vec![]),
        (vec![add, remove, remove], vec![(0, 0)]),
        (vec![add, Ask(Add, 1, 0), remove], vec![]),
        (vec![add, Ask(Remove, 1, 0), Ask(Remove, 0, 1)], vec![(1, 0), (0, 1)]),
    ]
}

#[test]
fn every_order_of_events_keeps_the_promise() {
    let mut all = 0;
    let scenarios = if is_full() { [pairs(), triples()].concat() } else { pairs().into_iter().take(2).collect() };
    for scenario in scenarios {
        for remembers_cancelled in [false, true] {
            let checker = protocol(scenario.clone(), remembers_cancelled, None).checker().threads(2).spawn_bfs().join();
            for promise in promises().iter().filter(|promise| promise.expectation == Expectation::Always) {
                checker.assert_no_discovery(promise.name);
            }
            checker.assert_any_discovery(ALL_ANSWERED);
            let states = checker.unique_state_count();
            let (asks, initial) = &scenario;
            println!("{asks:?} on {initial:?}, cancelled tokens remembered: {remembers_cancelled}: {states} states");
            all += states;
        }
    }
    println!("{all} states in all");
}

/// Whether a request that met a conflict can still be done, in some order of events. Asked of the pairs in which an add and
/// a removal meet, since neither of those refuses the other for good.
fn can_be_done_after_a_conflict(remembers_cancelled: bool, broken: Option<Break>) -> bool {
    pairs().into_iter().take(3).all(|pair| {
        let checker = protocol(pair, remembers_cancelled, broken).checker().threads(2);
        let wanted = HasDiscoveries::AnyOf([DONE_AFTER_A_CONFLICT].into());
        checker.finish_when(wanted).spawn_bfs().join().discovery(DONE_AFTER_A_CONFLICT).is_some()
    })
}

/// AWS does not say whether a cancelled transaction keeps its token. Where it does, a repeat under that token is refused
/// whatever has changed since, so each conflict would end in `try_again`.
#[test]
fn a_conflict_is_overcome_under_both_readings_of_a_token() {
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
        Break::LastFateDecides,
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
            // What need only be possible is no counterexample.
            checker.discoveries().into_iter().find(|(name, _)| ![ALL_ANSWERED, DONE_AFTER_A_CONFLICT].contains(name))
        });
        let (name, path) = found.unwrap_or_else(|| panic!("{broken:?} was not found"));
        println!("{broken:?} breaks \"{name}\": {:#?}", path.into_actions());
    }
}
