//! Decides whether a history is linearizable.

use std::collections::BTreeMap;
use std::sync::mpsc;
use std::time::Duration;

use todc_utils::specifications::Specification;
use todc_utils::{Action as Moment, History, WGLChecker};

use super::contract::{Observed, Operation, Table};
use super::scene::Scene;
use crate::request::{Outcome, Request};

/// A history that takes longer to decide counts as a failure.
const DECIDED_WITHIN: Duration = Duration::from_secs(120);

/// An event of a history. The number identifies the operation.
#[derive(Debug, Clone)]
pub(super) enum Event {
    Sent(usize, Request),
    Ended(usize, Outcome),
}

/// A step as the checker sees it.
#[derive(Debug, Clone)]
enum Step {
    /// The first step: the table before the history.
    Begin(Table),
    /// The call of an operation. The operation itself stands in its `Ended`.
    Called,
    Ended(Operation, Observed),
    /// The step after all known outcomes.
    End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum State {
    Before,
    During(Table),
    After,
}

struct Contract;

impl Specification for Contract {
    type State = State;
    type Operation = Step;

    fn init() -> State {
        State::Before
    }

    fn apply(step: &Step, state: &State) -> (bool, State) {
        match (step, state) {
            (Step::Begin(table), State::Before) => (true, State::During(*table)),
            (Step::Ended(operation, observed), State::During(table)) => {
                let mut next = *table;
                let required = next.apply(*operation);
                // An operation with an unknown outcome that would change nothing here takes effect after the end, where it
                // affects nothing. If both were allowed, each such operation would double the search.
                let is_allowed = if *observed == Observed::Unknown { next != *table } else { *observed == required };
                (is_allowed, State::During(next))
            }
            (Step::End, State::During(_)) | (Step::Ended(_, Observed::Unknown), State::After) => (true, State::After),
            _ => (false, *state),
        }
    }
}

/// `None` if the checker needs too long.
pub(super) fn is_linearizable(scene: &Scene, events: &[Event]) -> Option<bool> {
    let begin = Step::Begin(scene.table());
    let mut steps = vec![(0, Moment::Call(begin.clone())), (0, Moment::Response(begin))];
    let (mut sent, mut unknown) = (BTreeMap::new(), Vec::new());
    // A `try_again` wrote nothing and read nothing, so it is left out.
    let is_try_again =
        |id: &usize| events.iter().any(|event| matches!(event, Event::Ended(n, Outcome::TryAgain) if n == id));
    for event in events {
        match event {
            Event::Sent(id, _) | Event::Ended(id, _) if is_try_again(id) => {}
            Event::Sent(id, request) => {
                sent.insert(id, request);
                steps.push((id + 1, Moment::Call(Step::Called)));
            }
            Event::Ended(id, outcome) => {
                let request = sent.remove(id).unwrap();
                let Some(observed) = scene.observed(request, outcome) else { return Some(false) };
                let steps = if observed == Observed::Unknown { &mut unknown } else { &mut steps };
                steps.push((id + 1, Moment::Response(Step::Ended(scene.operation(request), observed))));
            }
        }
    }
    assert!(sent.is_empty(), "requests without an end: {sent:?}");
    steps.extend([(0, Moment::Call(Step::End)), (0, Moment::Response(Step::End))]);
    // An unknown operation can take effect at any time after its call, or after the end, which means never.
    steps.append(&mut unknown);
    let (report, decided) = mpsc::channel();
    std::thread::spawn(move || report.send(WGLChecker::<Contract>::is_linearizable(History::from_actions(steps))));
    decided.recv_timeout(DECIDED_WITHIN).ok()
}

#[test]
fn the_checker_accepts_correct_histories_and_finds_each_violation() {
    let strings = |texts: [&str; 4]| texts.map(str::to_owned);
    let scene = Scene {
        ccids: strings(["a", "b", "c", "d"]),
        phones: strings(["2000000000", "2000000001", "2000000002", "2000000003"]),
        initial: [("a".to_owned(), ["+12000000009".to_owned()].into())].into(),
    };
    let record = |phones: &[&str]| Outcome::Record(phones.iter().map(|phone| (*phone).to_owned()).collect());
    let with_number = || record(&["+12000000000", "+12000000009"]);
    let without_number = || record(&["+12000000009"]);
    let add = || Request::add("a", "2000000000");
    let remove = || Request::remove("a", "2000000000");
    let read = || Request::read("a");
    let one_after_another = |operations: &[(Request, Outcome)]| {
        let events = operations.iter().cloned().enumerate();
        let events: Vec<_> =
            events.flat_map(|(id, (request, outcome))| [Event::Sent(id, request), Event::Ended(id, outcome)]).collect();
        is_linearizable(&scene, &events)
    };
    assert_eq!(one_after_another(&[(add(), Outcome::Done), (read(), with_number())]), Some(true));
    let lost = [(add(), Outcome::Done), (read(), without_number())];
    assert_eq!(one_after_another(&lost), Some(false));
    let added_twice = [(add(), Outcome::Done), (add(), Outcome::Done)];
    assert_eq!(one_after_another(&added_twice), Some(false));
    let written_after_try_again = [(add(), Outcome::TryAgain), (read(), with_number())];
    assert_eq!(one_after_another(&written_after_try_again), Some(false));
    let late = [(add(), Outcome::Unknown), (read(), without_number()), (read(), with_number())];
    assert_eq!(one_after_another(&late), Some(true), "an unknown add can arrive late");
    let unknown_removals: Vec<_> = std::iter::repeat_n((remove(), Outcome::Unknown), 24).collect();
    let never_added = [&unknown_removals[..], &[(read(), with_number())]].concat();
    assert_eq!(one_after_another(&never_added), Some(false), "many unknown outcomes must not take too long to decide");
    let reappeared =
        [(add(), Outcome::Done), (remove(), Outcome::Done), (read(), without_number()), (read(), with_number())];
    assert_eq!(one_after_another(&reappeared), Some(false));
    let another_number_lost = [(read(), record(&[]))];
    assert_eq!(one_after_another(&another_number_lost), Some(false));
    let with_key = || add().idempotency_key("one");
    let with_other_source = Request { source: "shop", ..with_key() };
    let repeated = [
        (with_key(), Outcome::Done),
        (with_key(), Outcome::Replayed),
        (with_other_source, Outcome::refused("idempotency_key_reused")),
        (add().idempotency_key("two"), Outcome::refused("phone_already_added")),
        (Request::add("b", "2000000000"), Outcome::refused("customer_not_found")),
    ];
    assert_eq!(one_after_another(&repeated), Some(true));
    assert_eq!(one_after_another(&[(add(), Outcome::Done), (with_key(), Outcome::Replayed)]), Some(false));
}
