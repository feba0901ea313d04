//! The state that everything in a run shares.

pub mod log;
pub mod totals;
pub mod trace;

use std::collections::HashMap;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::time::{Instant, sleep_until};

use crate::check::Check;
use crate::plan::draw::{Draw, Purpose};
use crate::plan::{Fault, Plan};
use crate::service::Service;
use crate::service::message::{Action, ItemKey, Reply};
use crate::service::origin::Origin;
use totals::Totals;
use trace::{Keep, Trace};

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
    pub(crate) trace: Mutex<Trace>,
    service: Mutex<Service>,
    check: Mutex<Check>,
    pub(crate) totals: Mutex<Totals>,
    outage_until: AtomicU64,
    pub(crate) exchanges: Mutex<Vec<Exchange>>,
    keep: Keep,
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

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Simulation {
    /// The state before the run.
    pub fn new(plan: Plan, keep: Keep) -> Self {
        let faults = plan.call_faults.iter().map(|fault| ((fault.request, fault.call), fault.fault)).collect();
        let check = Check::new(plan.limits);
        Self {
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

    /// Waits until this many milliseconds after the start.
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

    /// Runs a task of `who`. A panic in it is a violation, and the result is then `None`. Otherwise the panic would only be
    /// in the task's handle, which some callers drop.
    pub async fn catch_panic<T>(&self, who: impl fmt::Display, task: impl Future<Output = T>) -> Option<T> {
        let ended = AssertUnwindSafe(task).catch_unwind().await;
        if ended.is_err() {
            self.violation(format_args!("{who} panicked"));
        }
        ended.ok()
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

    /// A request reads an item.
    pub fn read(&self, origin: Origin, key: &ItemKey) {
        if key.sk == "PHONE" {
            let seq = self.trace(format_args!("service"), format_args!("read {key}"));
            self.check().read(origin, seq);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::generate;

    #[tokio::test(start_paused = true)]
    async fn a_panic_in_a_task_is_a_violation() {
        let sim = Simulation::new(generate::plan(1, 1), Keep::Hash);
        assert_eq!(sim.catch_panic("r1.0", async { 7 }).await, Some(7));
        assert_eq!(sim.check().violations, Vec::<String>::new());
        let panicking = async {
            sleep_until(Instant::now() + Duration::from_millis(1)).await;
            assert!(std::hint::black_box(false), "a task panics");
        };
        assert_eq!(sim.catch_panic("r1.0", panicking).await, None);
        assert_eq!(sim.check().violations, ["r1.0 panicked"]);
    }
}
