//! The trace of a run: one line per event, and a hash over all lines.

use std::collections::VecDeque;
use std::fmt;

use sha2::{Digest as _, Sha256};

/// How much of the trace to keep. The hash always covers all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Nothing.
    Hash,
    /// Every line.
    All,
    /// Every call to DynamoDB with its reply, for another engine to repeat.
    Calls,
}

/// The trace of a run.
#[derive(Debug)]
pub struct Trace {
    hash: Sha256,
    count: u64,
    keep: Keep,
    lines: VecDeque<String>,
    who: String,
    line: String,
}

impl Trace {
    /// An empty trace.
    pub fn new(keep: Keep) -> Self {
        Self { hash: Sha256::new(), count: 0, keep, lines: VecDeque::new(), who: String::new(), line: String::new() }
    }

    /// Adds a line, and returns its number, which orders the events of the run.
    pub fn add(&mut self, millis: u64, who: fmt::Arguments<'_>, what: fmt::Arguments<'_>) -> u64 {
        use fmt::Write as _;
        self.line.clear();
        self.who.clear();
        // Writing to a string does not fail.
        let _ = write!(self.who, "{who}");
        let _ = writeln!(self.line, "{:>7}.{:03} {:<10} {what}", millis / 1000, millis % 1000, self.who);
        self.hash.update(&self.line);
        if self.keep == Keep::All {
            self.lines.push_back(self.line.trim_end().to_owned());
        }
        self.count += 1;
        self.count
    }

    /// The hash of the lines so far, in hex.
    pub fn hash(&self) -> String {
        let hash: [u8; 32] = self.hash.clone().finalize().into();
        let [first, second, ..] =
            [0, 8].map(|from| hash.iter().skip(from).take(8).fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte)));
        format!("{first:016x}{second:016x}")
    }

    /// The number of lines.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The lines that were kept.
    pub fn take_lines(&mut self) -> Vec<String> {
        std::mem::take(&mut self.lines).into()
    }
}
