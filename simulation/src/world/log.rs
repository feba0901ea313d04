//! The function's log lines: into the trace, and checked for what no line may contain.

use std::cell::Cell;
use std::io;
use std::sync::{Arc, Weak};

use cdm_lambda::sources::Sources;
use cdm_lambda::telemetry;
use cdm_lambda::time::UnixMillis;
use tracing::level_filters::LevelFilter;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::fmt::MakeWriter;

use crate::plan::names::PRIVATE;
use crate::world::{EPOCH, Simulation};

thread_local! {
    /// The environment whose code is running, and by how many milliseconds its clock is off.
    static RUNNING: Cell<(u32, i64)> = const { Cell::new((0, 0)) };
    /// The `RoundTrips` of the last request's line.
    static ROUND_TRIPS: Cell<Option<u32>> = const { Cell::new(None) };
}

/// Names the environment whose code runs in `poll`.
pub fn running<T>(environment: u32, offset: i64, poll: impl FnOnce() -> T) -> T {
    let before = RUNNING.replace((environment, offset));
    let polled = poll();
    RUNNING.set(before);
    polled
}

/// The `RoundTrips` of the request that was answered last, if its line has them.
pub fn take_round_trips() -> Option<u32> {
    ROUND_TRIPS.take()
}

/// Captures the log lines of this thread until the guard is dropped.
pub fn capture(sim: &Arc<Simulation>) -> DefaultGuard {
    let lines = Lines(Arc::downgrade(sim));
    let clock = LogClock(Arc::downgrade(sim));
    tracing::subscriber::set_default(telemetry::subscriber_with_sources(LevelFilter::INFO, lines, clock))
}

/// The clock of the environment whose code is running.
#[derive(Debug)]
struct LogClock(Weak<Simulation>);

impl Sources for LogClock {
    fn now(&self) -> UnixMillis {
        let millis = self.0.upgrade().map_or(0, |sim| sim.elapsed_millis());
        wall_clock(millis, RUNNING.get().1)
    }

    fn token(&self) -> Option<u128> {
        None
    }

    fn fraction(&self) -> f64 {
        0.0
    }
}

/// The wall-clock time of an environment.
pub fn wall_clock(elapsed: u64, offset: i64) -> UnixMillis {
    let millis = (EPOCH + elapsed).saturating_add_signed(offset);
    UnixMillis::new(millis).unwrap_or_else(|| unreachable!("a run does not last until the year 9999"))
}

#[derive(Debug)]
struct Lines(Weak<Simulation>);

/// One line. The subscriber writes a whole line at once.
#[derive(Debug)]
pub struct Line(Weak<Simulation>);

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line(Weak::clone(&self.0))
    }
}

impl io::Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(sim) = self.0.upgrade() else { return Ok(bytes.len()) };
        let line = String::from_utf8_lossy(bytes);
        let (environment, _) = RUNNING.get();
        sim.trace(format_args!("env{environment}"), format_args!("log {}", line.trim_end()));
        sim.totals(|totals| totals.log_lines += 1);
        if let Some(private) = PRIVATE.iter().find(|private| line.contains(**private)) {
            sim.violation(format_args!("a log line of env{environment} contains {private}"));
        }
        if let Some((_, rest)) = line.split_once("\"RoundTrips\":") {
            ROUND_TRIPS.set(rest.split(',').next().and_then(|number| number.parse().ok()));
        }
        if line.contains("panicked") {
            sim.violation(format_args!("env{environment} panicked"));
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
