//! A conflict storm: many clients add different numbers to one empty record at once. No faults, only conflicts.

use std::collections::BTreeMap;
use std::fmt;

use crate::check::model::ModelResponse;
use crate::plan::draw::{Draw, Purpose};
use crate::plan::{ApiKey, CONTRACT, Operation, Plan, Request, ServiceBehavior};
use crate::runner;
use crate::world::trace::Keep;

/// The behaviors of DynamoDB that a storm runs with: which transaction is refused, and for how long a transaction holds
/// its items.
pub const BEHAVIORS: [ServiceBehavior; 4] = [
    ServiceBehavior { refuses_both: false, remembers_cancelled: true, holds: (8, 8) },
    ServiceBehavior { refuses_both: false, remembers_cancelled: true, holds: (30, 30) },
    ServiceBehavior { refuses_both: true, remembers_cancelled: true, holds: (8, 8) },
    ServiceBehavior { refuses_both: true, remembers_cancelled: true, holds: (30, 30) },
];

/// How many times a client makes its request at most.
const TRIES: u32 = 10;

/// All first requests come within this time, in milliseconds.
const START: u64 = 100;

/// The columns of [`Storm`]'s row.
pub const HEADINGS: &str = "| refused, items held for | 200 | 409 | `try_again` | calls, mean (most) | \
     environment-seconds | with repeats: not served | invocations | environment-seconds | units | units wasted |\n\
     |---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|";

/// What became of a storm.
#[derive(Debug)]
pub struct Storm {
    behavior: ServiceBehavior,
    /// The answers to the first requests, by name.
    pub first: BTreeMap<&'static str, u64>,
    calls: Vec<u32>,
    first_millis: u64,
    /// Clients that were not served.
    pub not_served: u64,
    invocations: u64,
    millis: u64,
    units: (u64, u64),
    /// What was wrong.
    pub violations: Vec<String>,
}

/// The plan of a storm.
fn plan(callers: u16, behavior: ServiceBehavior) -> Plan {
    let mut draw = Draw::new(1, Purpose::Plan, &[callers.into()]);
    let mut requests: Vec<_> = (0..callers)
        .map(|caller| Request {
            id: caller.into(),
            at: draw.range(0, START),
            operation: Operation::Add,
            consent: None,
            client: 0,
            customer: 1,
            phone: caller,
            idempotency: Some(0),
            source: 0,
            key: ApiKey::Of { client: 0, index: 0 },
            timeout_millis: 29_000,
        })
        .collect();
    requests.sort_by_key(|request| request.at);
    Plan {
        seed: 1,
        limits: CONTRACT,
        given_limits: None,
        behavior,
        key_cache_seconds: 60,
        environments: callers.into(),
        tries: TRIES,
        is_storm: true,
        requests,
        call_faults: Vec::new(),
        invocation_faults: Vec::new(),
        events: Vec::new(),
    }
}

/// Runs a storm.
pub fn run(callers: u16, behavior: ServiceBehavior) -> Storm {
    let outcome = runner::run(plan(callers, behavior), Keep::Hash);
    let first: Vec<_> = outcome.history.iter().filter(|begun| begun.attempt == 0).collect();
    let mut answers = BTreeMap::new();
    for begun in &first {
        let name = match &begun.ended {
            Some((_, ModelResponse::Done)) => "200",
            Some((_, ModelResponse::Refused(_))) => "409",
            Some((_, ModelResponse::TryAgain)) => "try_again",
            _ => "other",
        };
        *answers.entry(name).or_insert(0) += 1;
    }
    let totals = outcome.totals;
    Storm {
        behavior,
        first: answers,
        calls: first.iter().map(|begun| begun.spent.0).collect(),
        first_millis: first.iter().map(|begun| begun.spent.1).sum(),
        not_served: totals.not_served,
        invocations: totals.invocations,
        millis: totals.environment_millis,
        units: (totals.units, totals.units_cancelled),
        violations: outcome.violations,
    }
}

impl fmt::Display for Storm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ServiceBehavior { refuses_both, holds, .. } = self.behavior;
        let who = if refuses_both { "both" } else { "the later" };
        let answers = ["200", "409", "try_again"].map(|name| self.first.get(name).copied().unwrap_or_default());
        let [added, refused, try_again] = answers;
        let count = f64::from(u32::try_from(self.calls.len()).unwrap_or(u32::MAX));
        let mean = f64::from(self.calls.iter().sum::<u32>()) / count;
        let most = self.calls.iter().max().copied().unwrap_or_default();
        write!(
            f,
            "| {who}, {} ms | {added} | {refused} | {try_again} | {mean:.1} ({most}) | {} | {} | {} | {} | {} | {} |",
            holds.0,
            self.first_millis / 1000,
            self.not_served,
            self.invocations,
            self.millis / 1000,
            self.units.0,
            self.units.1,
        )
    }
}
