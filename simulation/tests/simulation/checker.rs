//! A general checker of linearizability on short histories. It knows nothing of the order of commits, and must agree with
//! the simulator's own check.

use std::collections::BTreeMap;

use simulation::check::Try;
use simulation::check::model::{Counter, ModelResponse, Record, answer, fingerprint};
use simulation::plan::generate;
use simulation::plan::story::{CLIENTS, CUSTOMERS};
use simulation::plan::{Happening, Operation, Request};
use simulation::runner::run;
use simulation::world::trace::Keep;
use todc_utils::specifications::Specification;
use todc_utils::{Action as Moment, History, WGLChecker};

const LIMITS: (u32, u32) = (2, 2);

/// The whole table.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
struct Table {
    records: BTreeMap<(u16, u16), Record>,
    counters: BTreeMap<(u16, u16), Counter>,
    is_over: bool,
}

#[derive(Debug, Clone)]
enum Step {
    Asked,
    Answered(Request, ModelResponse),
    /// After every operation that was answered.
    Ended,
}

struct Contract;

impl Specification for Contract {
    type State = Table;
    type Operation = Step;

    fn init() -> Table {
        let customers = (0..CLIENTS).flat_map(|client| (0..CUSTOMERS).map(move |customer| (client, customer)));
        let records = customers.map(|key| (key, Some(BTreeMap::new()))).collect();
        Table { records, ..Table::default() }
    }

    fn apply(step: &Step, table: &Table) -> (bool, Table) {
        let (request, observed) = match step {
            Step::Asked => return (false, table.clone()),
            Step::Ended => return (!table.is_over, Table { is_over: true, ..table.clone() }),
            Step::Answered(request, observed) => (request, observed),
        };
        if table.is_over {
            // What is unknown may never have happened.
            return (*observed == ModelResponse::Unknown, table.clone());
        }
        let mut next = table.clone();
        let record = next.records.entry((request.client, request.customer)).or_default();
        let counter = next.counters.entry((request.client, request.phone)).or_default();
        let right = answer(request, record, counter, LIMITS);
        if let (ModelResponse::Done, Some(phones)) = (&right, record) {
            if request.operation == Operation::Add {
                phones.insert(request.phone, fingerprint(request));
                counter.insert(request.customer);
            } else {
                phones.remove(&request.phone);
                counter.remove(&request.customer);
            }
        }
        let is_right =
            if *observed == ModelResponse::Unknown { right == ModelResponse::Done } else { *observed == right };
        (is_right, next)
    }
}

fn is_linearizable(history: &[Try]) -> bool {
    let mut moments = Vec::new();
    let mut unknown = Vec::new();
    for (begun, id) in history.iter().zip(1..) {
        let (ended, observed) = begun.ended.clone().unwrap();
        let is_silent =
            observed == ModelResponse::TryAgain || observed == ModelResponse::Refused("unauthorized".to_owned());
        // A read whose outcome is unknown says nothing.
        if is_silent || (observed == ModelResponse::Unknown && begun.request.operation == Operation::Read) {
            continue;
        }
        moments.push((begun.began, id, Moment::Call(Step::Asked)));
        let answered = Moment::Response(Step::Answered(begun.request, observed.clone()));
        if observed == ModelResponse::Unknown {
            unknown.push((id, answered));
        } else {
            moments.push((ended, id, answered));
        }
    }
    moments.sort_by_key(|(at, _, _)| *at);
    let mut steps: Vec<_> = moments.into_iter().map(|(_, id, moment)| (id, moment)).collect();
    steps.extend([(0, Moment::Call(Step::Asked)), (0, Moment::Response(Step::Ended))]);
    steps.extend(unknown);
    WGLChecker::<Contract>::is_linearizable(History::from_actions(steps))
}

#[test]
fn a_general_checker_agrees_on_short_histories() {
    let mut refused = 0;
    for seed in 1..=10 {
        let mut plan = generate::plan(seed, 40);
        plan.limits = LIMITS;
        plan.events.retain(|event| !matches!(event.what, Happening::Backup | Happening::Restore));
        let outcome = run(plan, Keep::Hash);
        assert!(outcome.violations.is_empty(), "seed {seed}: {:?}", outcome.violations);
        assert!(is_linearizable(&outcome.history), "seed {seed}");
        // A history with one wrong answer is refused.
        let mut wrong = outcome.history;
        let read = wrong.iter_mut().find(|begun| matches!(&begun.ended, Some((_, ModelResponse::Record(_)))));
        if let Some(Some((_, ModelResponse::Record(phones)))) = read.map(|begun| &mut begun.ended) {
            phones.insert(200);
            refused += 1;
            assert!(!is_linearizable(&wrong), "seed {seed}");
        }
    }
    assert!(refused > 5, "{refused}");
}
