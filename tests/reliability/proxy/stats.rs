//! What has passed through the proxy.

use std::collections::BTreeMap;

#[derive(Debug, Default, Clone)]
pub(crate) struct ProxyStats {
    /// Requests of all kinds.
    pub(crate) requests: u64,
    /// Transactions among them.
    pub(crate) writes: u64,
    /// Transactions that were refused because another was open on the same item.
    pub(crate) conflicts: u64,
    /// Write units of all transactions that reached the database, if each item is below 1 KB. A refused transaction costs
    /// as much as a committed one.
    pub(crate) units: u64,
    /// Write units of the refused transactions.
    pub(crate) wasted_units: u64,
    /// Injected faults by name.
    pub(crate) faults: BTreeMap<String, u64>,
}

impl ProxyStats {
    /// Adds the counts of another proxy.
    pub(crate) fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.writes += other.writes;
        self.conflicts += other.conflicts;
        self.units += other.units;
        self.wasted_units += other.wasted_units;
        for (name, count) in &other.faults {
            *self.faults.entry(name.clone()).or_default() += count;
        }
    }
}
