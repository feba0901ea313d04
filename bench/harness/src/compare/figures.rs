//! The results of a comparison.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::Result;
use crate::database::Counts;
use crate::instructions::Instructions;
use crate::report::Series;
use crate::session::Subject;

/// The first adds of a process warm it up and do not count as warm.
pub const WARM_FROM: usize = 100;
/// The memory sizes whose shares of a processor are measured.
pub const MEGABYTES: [u32; 3] = [128, 256, 512];

/// All results.
pub struct Comparison {
    /// The processor and the versions of the tools.
    pub machine: String,
    pub subjects: Vec<Subject>,
    pub figures: BTreeMap<&'static str, Figures>,
    pub growth: Growth,
    /// The error of this machine if it cannot limit processes.
    pub no_limits: Option<String>,
    pub took: Duration,
    /// The rounds with a full processor.
    pub rounds: usize,
    /// The load average of the machine before and after.
    pub loads: (String, String),
    /// The number of roots that a subject reads if it trusts the system.
    pub system_roots: usize,
}

impl Comparison {
    pub fn figures(&self, name: &str) -> Result<&Figures> {
        self.figures.get(name).ok_or_else(|| format!("{name} was not measured").into())
    }
}

/// The figures of one subject.
#[derive(Default)]
pub struct Figures {
    pub package: (u64, u64),
    pub counted: Option<Instructions>,
    pub init: Series,
    pub first: Series,
    pub first_over_database: Series,
    pub cold: Series,
    pub cold_cpu: Series,
    pub warm: Series,
    pub warm_cpu: Series,
    pub peak_mb: Series,
    pub calls: Counts,
    pub limited: BTreeMap<u32, Limited>,
    pub on_database: OnDatabase,
}

/// Figures with a share of a processor.
#[derive(Default)]
pub struct Limited {
    /// The first invoke after an initialization with a full processor, as in Lambda.
    pub first: Series,
    /// Initialization and first invoke, both with the share.
    pub cold: Series,
    pub warm: Series,
}

/// Figures with the embedded database.
#[derive(Default)]
pub struct OnDatabase {
    pub write_units: f64,
    pub database: Series,
    pub warm: Series,
}

/// How the cost of the function grows with environments and with numbers on a record.
pub struct Growth {
    pub environments: Vec<Environments>,
    pub records: Vec<Record>,
    pub refused: Record,
    pub memory_mb: (f64, f64),
}

pub struct Environments {
    pub count: usize,
    pub backend: &'static str,
    pub per_second: f64,
    pub wall: Series,
    pub cpu_us: f64,
}

pub struct Record {
    pub numbers: usize,
    pub bytes_in: f64,
    pub bytes_out: f64,
    pub units: f64,
    pub instructions: u64,
}
