//! Which fault each call gets.

use std::collections::VecDeque;

use super::messages::{Call, Kind};
use super::{Gate, State};
use crate::fault_table::{Ending, FAULTS, Fault, PASS};

/// The faults to come.
#[derive(Debug, Default)]
pub(super) struct Script {
    /// Faults of the next writes, in order.
    pub(super) next_writes: VecDeque<(Fault, Option<Gate>)>,
    /// The fault of every later write.
    pub(super) every_write: Option<Fault>,
    pub(super) every_read: Option<Fault>,
    /// Faults of the calls that no other fault applies to.
    pub(super) random: Option<Random>,
}

#[derive(Debug)]
pub(super) struct Random {
    pub(super) generator: fastrand::Rng,
    percent: u32,
    faults: Vec<Fault>,
}

impl Random {
    pub(super) fn new(seed: u64, percent: u32, faults: Vec<Fault>) -> Option<Self> {
        (percent > 0).then(|| Self { generator: fastrand::Rng::with_seed(seed), percent, faults })
    }

    fn draw(&mut self) -> Option<Fault> {
        (self.generator.u32(..100) < self.percent).then(|| self.faults[self.generator.usize(..self.faults.len())])
    }
}

impl State {
    /// Chooses the fault of a call, and counts both.
    pub(super) fn choose(&mut self, call: &Call) -> (Fault, Option<Gate>) {
        let Self { faults, stats, .. } = self;
        stats.requests += 1;
        let (fault, gate) = match call.kind {
            Kind::Write => {
                stats.writes += 1;
                let every = faults.every_write.map(|fault| (fault, None));
                faults.next_writes.pop_front().or(every).unwrap_or((PASS, None))
            }
            Kind::Read => (faults.every_read.unwrap_or(PASS), None),
            Kind::Other => return (PASS, None),
        };
        let random = faults.random.as_mut().filter(|_| fault == PASS).and_then(Random::draw);
        let fault = match random {
            // A read is not a transaction, so it cannot be cancelled.
            Some(Fault(_, Ending::Cancelled(_))) if call.kind == Kind::Read => PASS,
            Some(random) => random,
            None => fault,
        };
        if let Some((name, ..)) = FAULTS.iter().find(|(_, named, _)| *named == fault) {
            *stats.faults.entry((*name).to_owned()).or_default() += 1;
        }
        (fault, gate)
    }
}
