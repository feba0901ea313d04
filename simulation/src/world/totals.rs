//! What a run cost, and how often each thing happened.

use std::collections::BTreeMap;

use crate::plan::Fault;

/// What a run cost, and how often each thing happened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    /// Requests that clients made, repeats not counted.
    pub requests: u64,
    /// Requests that were not served, although clients repeated them.
    pub not_served: u64,
    /// Invocations of the function, repeats counted.
    pub invocations: u64,
    /// Responses, by code, and invocations without one.
    pub responses: BTreeMap<String, u64>,
    /// Faults, by name.
    pub faults: BTreeMap<String, u64>,
    /// Calls to DynamoDB that invocations made.
    pub calls: u64,
    /// Transactions that changed the table.
    pub commits: u64,
    /// Transactions that were cancelled.
    pub cancelled: u64,
    /// Transactions that were cancelled for a conflict.
    pub conflicts: u64,
    /// Write units.
    pub units: u64,
    /// Write units of cancelled transactions.
    pub units_cancelled: u64,
    /// Milliseconds for which environments were held.
    pub environment_millis: u64,
    /// How often an operator checked and repaired the table.
    pub checks: u64,
    /// Checks that ended with an error, because of an outage.
    pub checks_failed: u64,
    /// Findings that were repaired.
    pub repaired: u64,
    /// Numbers without customers that were deleted.
    pub idle_deleted: u64,
    /// Environments that were started.
    pub environments: u64,
    /// Log lines.
    pub log_lines: u64,
    /// Refusals that are right if the items are read at different moments, but at no single moment.
    pub item_by_item: u64,
    /// Virtual milliseconds.
    pub virtual_millis: u64,
}

impl Totals {
    /// Counts a fault.
    pub fn fault(&mut self, fault: Fault) {
        let name = format!("{fault:?}");
        let name = name.split('(').next().unwrap_or_default();
        *self.faults.entry(name.to_owned()).or_default() += 1;
    }

    /// Counts a response.
    pub fn response(&mut self, name: &str) {
        *self.responses.entry(name.to_owned()).or_default() += 1;
    }

    /// Adds the totals of another run.
    pub fn add(&mut self, other: &Self) {
        let maps = [(&mut self.responses, &other.responses), (&mut self.faults, &other.faults)];
        for (into, from) in maps {
            for (name, count) in from {
                *into.entry(name.clone()).or_default() += count;
            }
        }
        self.requests += other.requests;
        self.not_served += other.not_served;
        self.invocations += other.invocations;
        self.calls += other.calls;
        self.commits += other.commits;
        self.cancelled += other.cancelled;
        self.conflicts += other.conflicts;
        self.units += other.units;
        self.units_cancelled += other.units_cancelled;
        self.environment_millis += other.environment_millis;
        self.checks += other.checks;
        self.checks_failed += other.checks_failed;
        self.repaired += other.repaired;
        self.idle_deleted += other.idle_deleted;
        self.environments += other.environments;
        self.log_lines += other.log_lines;
        self.item_by_item += other.item_by_item;
        self.virtual_millis += other.virtual_millis;
    }
}
