//! One run of a plan.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use crate::actors::client;
use crate::actors::first_table;
use crate::actors::operator;
use crate::actors::platform::Run;
use crate::check::Try;
use crate::network;
use crate::plan::Plan;
use crate::service::value::Item;
use crate::world::log;
use crate::world::totals::Totals;
use crate::world::trace::Keep;
use crate::world::{Exchange, Simulation, lock};

/// How long a run continues after the last response, so that late calls arrive.
const AFTERWARDS: Duration = Duration::from_secs(60);

/// What a run left behind.
#[derive(Debug)]
pub struct Outcome {
    /// What was wrong, in the order in which it was found.
    pub violations: Vec<String>,
    /// The hash of the whole trace.
    pub hash: String,
    /// How many lines the trace has.
    pub trace_lines: u64,
    /// The trace, if it was kept.
    pub lines: Vec<String>,
    /// What was counted.
    pub totals: Totals,
    /// Every try, in the order in which they began.
    pub history: Vec<Try>,
    /// The items at the start, and the calls, if they were kept.
    pub calls: (Vec<Item>, Vec<Exchange>),
}

/// Runs a plan to its end.
pub fn run(plan: Plan, keep: Keep) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.unwrap_or_else(|error| unreachable!("a runtime without I/O: {error}"));
    network::prepare();
    fastrand::seed(plan.seed);
    runtime.block_on(async {
        let sim = Arc::new(Simulation::new(plan, keep));
        let _logs = log::capture(&sim);
        first_table::fill(&sim);
        let first = sim.service().tables.of("table-0").map(|(_, item)| item.clone()).collect();
        let run = Arc::new(Run::new(Arc::clone(&sim)));
        let (watching, events) = (Arc::clone(&sim), operator::events(Arc::clone(&run)));
        let events = tokio::spawn(async move { watching.catch_panic("the operator", events).await });
        let requests = sim.plan.requests.clone();
        let mut clients = Vec::with_capacity(requests.len());
        for request in requests {
            sim.wait_until(request.at).await;
            if sim.check().violations.is_empty() {
                clients.push(tokio::spawn(client::ask(Arc::clone(&run), request)));
            }
        }
        for asked in clients {
            if let Err(panic) = asked.await {
                sim.violation(format_args!("a client panicked: {panic}"));
            }
        }
        events.abort();
        sleep(AFTERWARDS).await;
        run.end();
        let found = sim.check().end(&sim.service().tables);
        for violation in found {
            sim.violation(format_args!("{violation}"));
        }
        outcome(&sim, first)
    })
}

fn outcome(sim: &Simulation, first: Vec<Item>) -> Outcome {
    let item_by_item = sim.check().item_by_item;
    let mut trace = lock(&sim.trace);
    let mut history: Vec<_> = sim.check().tries().cloned().collect();
    history.sort_by_key(|begun| begun.began);
    Outcome {
        history,
        calls: (first, std::mem::take(&mut lock(&sim.exchanges))),
        violations: std::mem::take(&mut sim.check().violations),
        hash: trace.hash(),
        trace_lines: trace.count(),
        lines: trace.take_lines(),
        totals: Totals { item_by_item, ..lock(&sim.totals).clone() },
    }
}
