//! A general checker of linearizability on short histories. It knows nothing of the order of commits, and must agree with
//! the simulator's own check.

use std::collections::BTreeMap;

use simulation::check::Try;
use simulation::check::model::{ModelResponse, Number, Record, answer, apply};
use simulation::plan::generate;
use simulation::plan::names::{CLIENTS, CUSTOMERS};
use simulation::plan::{EventKind, Operation, Request};
use simulation::runner::run;
use simulation::world::trace::Keep;
use todc_utils::specifications::Specification;
use todc_utils::{Action as Moment, History, WGLChecker};

const LIMITS: (u32, u32) = (2, 2);

/// The whole table.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
struct Table {
    records: BTreeMap<(u16, u16), Record>,
    numbers: BTreeMap<(u16, u16), Number>,
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
        let number = next.numbers.entry((request.client, request.phone)).or_default();
        let right = answer(request, record, number, LIMITS);
        let changes = match right {
            ModelResponse::Done => true,
            ModelResponse::Consent(consent) => number.consent() != Some(consent),
            _ => false,
        };
        let deleted = record.clone().unwrap_or_default();
        if changes {
            apply(request, record, number, 0);
        }
        if changes && request.operation == Operation::Delete {
            for phone in deleted.into_keys() {
                next.numbers.entry((request.client, phone)).or_default().customers.remove(&request.customer);
            }
        }
        // The consents of a record need not be of one moment, so they are not checked here.
        let observed = match (observed, &right) {
            (ModelResponse::Record(observed), ModelResponse::Record(_)) => {
                ModelResponse::Record(observed.keys().map(|phone| (*phone, None)).collect())
            }
            (observed, _) => observed.clone(),
        };
        let is_right = if observed == ModelResponse::Unknown { changes } else { observed == right };
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
        let is_read = matches!(begun.request.operation, Operation::Read | Operation::ReadPhone);
        if is_silent || (observed == ModelResponse::Unknown && is_read) {
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
    let (mut refused, mut imported) = (0, 0);
    for seed in 1..=20 {
        // A plan has one event for forty requests.
        let mut plan = generate::plan(seed, 40);
        plan.requests.truncate(22);
        plan.limits = LIMITS;
        plan.events.retain(|event| !matches!(event.kind, EventKind::Backup | EventKind::Restore));
        let outcome = run(plan, Keep::Hash);
        assert!(outcome.violations.is_empty(), "seed {seed}: {:?}", outcome.violations);
        assert!(is_linearizable(&outcome.history), "seed {seed}");
        imported += outcome.history.iter().filter(|begun| begun.facts.is_none()).count();
        // A history with one wrong answer is refused.
        let mut wrong = outcome.history;
        let read = wrong.iter_mut().find(|begun| matches!(&begun.ended, Some((_, ModelResponse::Record(_)))));
        if let Some(Some((_, ModelResponse::Record(phones)))) = read.map(|begun| &mut begun.ended) {
            phones.insert(200, None);
            refused += 1;
            assert!(!is_linearizable(&wrong), "seed {seed}");
        }
    }
    assert!(refused > 5, "{refused}");
    assert!(imported > 0, "no history has an import");
}
