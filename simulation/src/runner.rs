//! One run: the state that everything in it shares, and the run itself.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use crate::check::{Check, Try};
use crate::draw::{Draw, Purpose};
use crate::lambda::Platform;
use crate::network::Origin;
use crate::plan::{Fault, Plan};
use crate::service::Service;
use crate::service::message::{Action, ItemKey, Reply};
use crate::service::value::Item;
use crate::totals::Totals;
use crate::trace::{Keep, Trace};
use crate::{client, lambda, log, operator};

/// 2026-01-01T00:00:00Z, when every run starts.
pub const EPOCH: u64 = 1_767_225_600_000;

/// What goes wrong with a call in an outage.
const OUTAGE: [Fault; 6] = [
    Fault::LostRequest,
    Fault::LostResponse,
    Fault::ResetBefore,
    Fault::ResetAfter,
    Fault::FailureAfter(503),
    Fault::Throttled(0),
];

/// After the last response, what is still on its way arrives.
const AFTERWARDS: Duration = Duration::from_secs(60);

/// The state that everything in a run shares. One thread uses it, so no lock is ever contended.
#[derive(Debug)]
pub struct Simulation {
    /// What is asked, and what goes wrong.
    pub plan: Plan,
    /// What goes wrong with which call.
    faults: HashMap<(u32, u32), Fault>,
    /// How many calls each request has made.
    calls: Mutex<HashMap<u32, u32>>,
    start: Instant,
    trace: Mutex<Trace>,
    service: Mutex<Service>,
    check: Mutex<Check>,
    totals: Mutex<Totals>,
    outage_until: AtomicU64,
    exchanges: Mutex<Vec<Exchange>>,
    keep: Keep,
    /// The environments.
    pub platform: Mutex<Platform>,
}

/// A call to DynamoDB, and the reply of the simulated service.
#[derive(Debug, Clone)]
pub struct Exchange {
    /// The operation.
    pub operation: String,
    /// The body of the call.
    pub body: Vec<u8>,
    /// The reply.
    pub reply: Reply,
}

/// What a run left behind.
#[derive(Debug)]
pub struct Outcome {
    /// What was wrong, the first first.
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Simulation {
    fn new(plan: Plan, keep: Keep) -> Self {
        let faults = plan.call_faults.iter().map(|fault| ((fault.request, fault.call), fault.fault)).collect();
        let check = Check::new(plan.limits);
        Self {
            platform: Mutex::new(Platform::new(plan.key_cache_seconds)),
            plan,
            faults,
            calls: Mutex::default(),
            start: Instant::now(),
            trace: Mutex::new(Trace::new(keep)),
            service: Mutex::default(),
            check: Mutex::new(check),
            totals: Mutex::default(),
            outage_until: AtomicU64::new(0),
            exchanges: Mutex::default(),
            keep,
        }
    }

    /// Milliseconds since the start of the run.
    pub fn elapsed_millis(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Waits until so many milliseconds after the start.
    pub async fn wait_until(&self, millis: u64) {
        sleep_until(self.start + Duration::from_millis(millis)).await;
    }

    /// Adds a line to the trace, and returns its number.
    pub fn trace(&self, who: fmt::Arguments<'_>, what: fmt::Arguments<'_>) -> u64 {
        lock(&self.trace).add(self.elapsed_millis(), who, what)
    }

    /// The service's state.
    pub fn service(&self) -> MutexGuard<'_, Service> {
        lock(&self.service)
    }

    /// The checks.
    pub fn check(&self) -> MutexGuard<'_, Check> {
        lock(&self.check)
    }

    /// Counts.
    pub fn totals(&self, count: impl FnOnce(&mut Totals)) {
        count(&mut lock(&self.totals));
    }

    /// Reports something that must not happen.
    pub fn violation(&self, what: fmt::Arguments<'_>) {
        self.trace(format_args!("CHECK"), format_args!("{what}"));
        self.check().violations.push(what.to_string());
    }

    /// The number of the next call of a request.
    pub fn next_call(&self, request: u32) -> u32 {
        let mut calls = lock(&self.calls);
        let next = calls.entry(request).or_default();
        *next += 1;
        *next - 1
    }

    /// What goes wrong with a call.
    pub fn fault(&self, request: u32, call: u32) -> Option<Fault> {
        if self.elapsed_millis() < self.outage_until.load(Ordering::Relaxed) {
            let mut draw = Draw::new(self.plan.seed, Purpose::Outage, &[request.into(), call.into()]);
            return Some(draw.pick(&OUTAGE));
        }
        self.faults.get(&(request, call)).copied()
    }

    /// Every call goes wrong until so many milliseconds after the start.
    pub fn outage(&self, until: u64) {
        self.outage_until.fetch_max(until, Ordering::Relaxed);
    }

    /// A transaction of a request changed the table.
    pub fn committed(&self, origin: Origin, actions: &[Action]) {
        let seq = self.trace(format_args!("{origin}"), format_args!("committed"));
        self.totals(|totals| totals.commits += 1);
        let keys: Vec<_> = actions.iter().map(Action::item_key).collect();
        let found = self.check().committed(seq, origin, &keys, &self.service().tables);
        for violation in found {
            self.violation(format_args!("{origin}: {violation}"));
        }
    }

    /// Keeps a call, if calls are kept.
    pub fn exchanged(&self, operation: &str, body: &[u8], reply: &Reply) {
        if self.keep == Keep::Calls {
            let exchange = Exchange { operation: operation.to_owned(), body: body.to_vec(), reply: reply.clone() };
            lock(&self.exchanges).push(exchange);
        }
    }

    /// An operator's call changed an item.
    pub fn written(&self, key: &ItemKey) {
        self.trace(format_args!("service"), format_args!("written {key}"));
    }
}

/// Runs a plan to its end.
pub fn run(plan: Plan, keep: Keep) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.unwrap_or_else(|error| unreachable!("a runtime without I/O: {error}"));
    runtime.block_on(async {
        let sim = Arc::new(Simulation::new(plan, keep));
        let _logs = log::capture(&sim);
        operator::prepare(&sim);
        let first = sim.service().tables.of("table-0").map(|(_, item)| item.clone()).collect();
        let events = tokio::spawn(operator::events(Arc::clone(&sim)));
        let requests = sim.plan.requests.clone();
        let mut clients = Vec::with_capacity(requests.len());
        for request in requests {
            sim.wait_until(request.at).await;
            if sim.check().violations.is_empty() {
                clients.push(tokio::spawn(client::ask(Arc::clone(&sim), request)));
            }
        }
        for asked in clients {
            if let Err(panic) = asked.await {
                sim.violation(format_args!("a client panicked: {panic}"));
            }
        }
        events.abort();
        sleep(AFTERWARDS).await;
        lambda::end(&sim);
        let found = sim.check().end(&sim.service().tables);
        for violation in found {
            sim.violation(format_args!("{violation}"));
        }
        outcome(&sim, first)
    })
}

fn outcome(sim: &Simulation, first: Vec<Item>) -> Outcome {
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
        totals: lock(&sim.totals).clone(),
    }
}
