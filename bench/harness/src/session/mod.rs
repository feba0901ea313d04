//! Runs one process as a Lambda execution environment and measures it.

mod quota;
mod runtime_api;
mod subjects;

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::Result;
use crate::database::{Certificates, Counts, Database};
use crate::report::{Series, ms};
pub use quota::Quota;
use runtime_api::{Invoke, RuntimeApi};
pub use subjects::{Subject, output};

/// What every run needs.
pub struct Bench {
    pub certificates: Certificates,
    pub work: PathBuf,
}

/// When the limit of processor time begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    Start,
    /// With the first event, because Lambda gives the initialization a full processor.
    FirstEvent,
}

/// The state of a process just before it receives an event.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    pub index: usize,
    /// The processor time so far of the threads that are running.
    pub cpu: Duration,
    /// The peak of resident memory so far.
    pub peak_kb: u64,
    pub counts: Counts,
}

/// The measurements of one process.
pub struct Run {
    /// From its start to its first request for an event.
    pub init: Duration,
    pub invokes: Vec<Invoke>,
    /// The samples at the requested indexes, and one at the end.
    pub samples: Vec<Sample>,
}

impl Run {
    /// The processor time per event between two samples.
    pub fn cpu_between(&self, from: usize, to: usize) -> Option<Duration> {
        let (from, to) = (self.sample(from)?, self.sample(to)?);
        let events = u32::try_from(to.index - from.index).ok()?;
        to.cpu.saturating_sub(from.cpu).checked_div(events)
    }

    /// The times of the events from this index, in milliseconds.
    pub fn walls(&self, from: usize) -> Series {
        let mut series = Series::default();
        series.extend(self.invokes.iter().skip(from).map(|invoke| ms(invoke.wall)));
        series
    }

    pub fn sample(&self, index: usize) -> Option<&Sample> {
        self.samples.iter().find(|sample| sample.index == index)
    }

    pub fn last(&self) -> Result<&Sample> {
        self.samples.last().ok_or_else(|| "nothing was sampled".into())
    }

    /// An error unless every response has this status.
    pub fn all_are(self, status: u16) -> Result<Self> {
        match self.invokes.iter().position(|invoke| invoke.status != status) {
            None => Ok(self),
            Some(index) => {
                Err(format!("the response to event {index} has status {}", self.invokes[index].status).into())
            }
        }
    }
}

impl Bench {
    /// Runs `subject` with `events`, and samples the process before the events with the indexes `at`.
    pub fn run(
        &self,
        subject: &Subject,
        database: &Database,
        events: Vec<String>,
        at: &[usize],
        quota: Option<(&Quota, From)>,
    ) -> Result<Run> {
        let ran = self.watch(subject, &[], database, events.clone(), at, quota);
        // Retry once: on a shared machine another user may stop a process.
        ran.or_else(|error| {
            eprintln!("retrying after: {error}");
            self.watch(subject, &[], database, events, at, quota)
        })
    }

    /// Counts the instructions of a whole process with `events`. Callgrind writes its output to `profile`.
    pub fn instructions(
        &self,
        subject: &Subject,
        database: &Database,
        events: Vec<String>,
        status: u16,
        profile: &Path,
    ) -> Result<u64> {
        let wrapper = ["valgrind", "--tool=callgrind", "--quiet"].map(str::to_owned);
        let output = format!("--callgrind-out-file={}", profile.display());
        self.watch(subject, &[&wrapper[..], &[output]].concat(), database, events, &[], None)?.all_are(status)?;
        let text = std::fs::read_to_string(profile)?;
        let total = text.lines().find_map(|line| line.strip_prefix("totals: "));
        Ok(total.ok_or("callgrind wrote no total")?.trim().parse()?)
    }

    fn watch(
        &self,
        subject: &Subject,
        wrapper: &[String],
        database: &Database,
        events: Vec<String>,
        at: &[usize],
        quota: Option<(&Quota, From)>,
    ) -> Result<Run> {
        let count = events.len();
        let pid = Arc::new(AtomicU32::new(0));
        let samples = Arc::new(Mutex::new(Vec::new()));
        let before_event = {
            let (pid, samples, database) = (Arc::clone(&pid), Arc::clone(&samples), database.clone());
            let at = [at, &[count]].concat();
            let at_first = quota.filter(|(_, from)| *from == From::FirstEvent).map(|(quota, _)| quota.clone());
            move |index: usize| {
                // A fast process can request an event before its id is known here.
                let pid = loop {
                    match pid.load(Ordering::Acquire) {
                        0 => std::thread::yield_now(),
                        pid => break pid,
                    }
                };
                if index == 0
                    && let Some(quota) = &at_first
                {
                    quota.admit(pid);
                }
                if at.contains(&index) {
                    let sample = Sample { index, cpu: cpu_time(pid), peak_kb: peak_kb(pid), counts: database.counts() };
                    samples.lock().unwrap_or_else(PoisonError::into_inner).push(sample);
                }
            }
        };
        let api = RuntimeApi::start(events, database, Box::new(before_event))?;

        let mut command = subject.command(wrapper, &api.address.to_string(), &database.url(), &self.certificates);
        let log = self.work.join(format!("{}.log", subject.name));
        let log = OpenOptions::new().create(true).append(true).open(log)?;
        if let Some((quota, From::Start)) = quota {
            command = quota.wrap(&command);
        }
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let started = Instant::now();
        let child = command.spawn().map_err(|error| format!("{} cannot start: {error}", subject.name))?;
        pid.store(child.id(), Ordering::Release);
        let mut child = Process(child);
        let ended = api.wait(Duration::from_secs(600), || match child.0.try_wait() {
            Ok(ended) => ended.map(|status| status.to_string()),
            Err(error) => Some(error.to_string()),
        });
        child.stop();
        let (ready, invokes) = ended.map_err(|error| format!("{}: {error}", subject.name))?;
        let samples = std::mem::take(&mut *samples.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(Run { init: ready - started, invokes, samples })
    }

    /// Empties the logs of the processes.
    pub fn clear_logs(&self) -> Result<()> {
        for file in std::fs::read_dir(&self.work)? {
            let path = file?.path();
            if path.extension().is_some_and(|extension| extension == "log") {
                File::create(path)?;
            }
        }
        Ok(())
    }
}

/// A process that ends when this is dropped.
struct Process(Child);

impl Process {
    /// Ends the process by SIGTERM, so that a profiler writes its output.
    fn stop(&mut self) {
        let _ = Command::new("kill").arg(self.0.id().to_string()).stderr(Stdio::null()).status();
        let begun = Instant::now();
        while matches!(self.0.try_wait(), Ok(None)) && begun.elapsed() < Duration::from_secs(20) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The scheduler's processor time of all running threads.
fn cpu_time(pid: u32) -> Duration {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let nanos = threads.filter_map(|thread| {
        let text = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanos.sum())
}

fn peak_kb(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    peak.and_then(|peak| peak.trim().trim_end_matches(" kB").parse().ok()).unwrap_or_default()
}
