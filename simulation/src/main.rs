//! The command line of the simulation.

use std::io;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use clap::{Parser, Subcommand};
use simulation::breaks::{self, BREAKS};
use simulation::plan::Plan;
use simulation::plan::generate;
use simulation::runner::{Outcome, run};
use simulation::shrink::shrink;
use simulation::storm;
use simulation::world::totals::Totals;
use simulation::world::trace::Keep;

#[derive(Parser)]
#[command(about = "Simulates the function: the shipped code in virtual time, from one seed")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs one seed, and prints the hash of its trace.
    Run {
        /// The seed.
        #[arg(long)]
        seed: u64,
        /// How many requests to make.
        #[arg(long, default_value_t = 10_000)]
        requests: u32,
        /// Print the whole timeline.
        #[arg(long)]
        timeline: bool,
    },
    /// Runs many seeds, and prints those that fail.
    Many {
        /// The first seed.
        #[arg(long, default_value_t = 1)]
        from: u64,
        /// The last seed.
        #[arg(long)]
        to: u64,
        /// How many requests to make for each seed.
        #[arg(long, default_value_t = 10_000)]
        requests: u32,
        /// How many threads to use. Each runs one seed at a time.
        #[arg(long, default_value_t = 2)]
        threads: usize,
        /// Stop at the first seed that fails.
        #[arg(long)]
        first: bool,
    },
    /// Shrinks a seed that fails, and prints the timeline of what remains.
    Shrink {
        /// The seed.
        #[arg(long)]
        seed: u64,
        /// How many requests the seed makes.
        #[arg(long, default_value_t = 10_000)]
        requests: u32,
    },
    /// Runs a plan that `shrink` printed, from a file of JSON.
    Replay {
        /// The file.
        file: std::path::PathBuf,
    },
    /// Simulates many adds to one record at once.
    Storm {
        /// How many clients call.
        #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u16).range(1..=1_000))]
        callers: u16,
    },
    /// Breaks the code on purpose in every known way, and finds each break.
    Breaks {
        /// Only breaks whose name contains this text.
        #[arg(long, default_value = "")]
        only: String,
        /// How many seeds to try for each break.
        #[arg(long, default_value_t = 200)]
        seeds: u64,
        /// How many requests to make for each seed.
        #[arg(long, default_value_t = 1_000)]
        requests: u32,
    },
}

fn main() -> ExitCode {
    let is_right = match Cli::parse().command {
        Command::Run { seed, requests, timeline } => one(generate::plan(seed, requests), timeline),
        Command::Many { from, to, requests, threads, first } => many(from, to, requests, threads, first),
        Command::Shrink { seed, requests } => shrunk(seed, requests),
        Command::Replay { file } => std::fs::read_to_string(file)
            .and_then(|text| Ok(one(serde_json::from_str(&text)?, true)))
            .unwrap_or_else(|error| failed(&error)),
        Command::Storm { callers } => storms(callers),
        Command::Breaks { only, seeds, requests } => {
            all_breaks(&only, seeds, requests).unwrap_or_else(|error| failed(&error))
        }
    };
    if is_right { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn failed(error: &io::Error) -> bool {
    eprintln!("{error}");
    false
}

fn one(plan: Plan, timeline: bool) -> bool {
    let (began, seed) = (Instant::now(), plan.seed);
    let outcome = run(plan, if timeline { Keep::All } else { Keep::Hash });
    for line in &outcome.lines {
        println!("{line}");
    }
    println!("{:#?}", outcome.totals);
    println!("seed {seed}: {}", verdict(&outcome));
    eprintln!("{:.1} s", began.elapsed().as_secs_f64());
    outcome.violations.is_empty()
}

fn many(from: u64, to: u64, requests: u32, threads: usize, first: bool) -> bool {
    let began = Instant::now();
    let next = AtomicU64::new(from);
    let last = AtomicU64::new(to);
    let all = Mutex::new((Totals::default(), Vec::new()));
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed > last.load(Ordering::Relaxed) {
                break;
            }
            let outcome = run(generate::plan(seed, requests), Keep::Hash);
            let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
            all.0.add(&outcome.totals);
            if seed.is_multiple_of(50) {
                eprintln!("{} requests in {:.0} s", all.0.requests, began.elapsed().as_secs_f64());
            }
            if !outcome.violations.is_empty() {
                if first {
                    last.fetch_min(seed, Ordering::Relaxed);
                } else {
                    println!("seed {seed}: {}", verdict(&outcome));
                }
                all.1.push((seed, verdict(&outcome)));
            }
        }
    };
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    let (totals, mut failed) = all.into_inner().unwrap_or_else(PoisonError::into_inner);
    failed.sort();
    if let (true, Some((seed, verdict))) = (first, failed.first()) {
        println!("seed {seed}: {verdict}");
    }
    println!("{totals:#?}");
    println!("seeds {from} to {to}: {} failed, {:.1} s", failed.len(), began.elapsed().as_secs_f64());
    failed.is_empty()
}

fn shrunk(seed: u64, requests: u32) -> bool {
    let Some((plan, runs)) = shrink(generate::plan(seed, requests)) else {
        println!("seed {seed} does not fail");
        return false;
    };
    let outcome = run(plan.clone(), Keep::All);
    for line in &outcome.lines {
        // The metrics of a log line tell nothing here.
        println!("{}", line.split(",\"_aws\":").next().unwrap_or_default());
    }
    println!(
        "shrunk to {} requests, {} faults, {} events ({runs} runs)",
        plan.requests.len(),
        plan.call_faults.len() + plan.invocation_faults.len(),
        plan.events.len(),
    );
    println!("{}", serde_json::to_string(&plan).unwrap_or_default());
    println!("seed {seed}: {}", verdict(&outcome));
    true
}

fn storms(callers: u16) -> bool {
    println!("{callers} adds to one record at once");
    println!("{}", storm::HEADINGS);
    let mut is_right = true;
    for behavior in storm::BEHAVIORS {
        let storm = storm::run(callers, behavior);
        println!("{storm}");
        for violation in &storm.violations {
            is_right = false;
            println!("FAILED: {violation}");
        }
    }
    is_right
}

fn all_breaks(only: &str, seeds: u64, requests: u32) -> io::Result<bool> {
    let chosen: Vec<_> = BREAKS.iter().filter(|broken| broken.name.contains(only)).collect();
    if chosen.is_empty() {
        return Err(io::Error::other(format!("no break has a name that contains {only:?}")));
    }
    let copy = breaks::SourceCopy::new()?;
    let mut all_found = true;
    println!("| break | seed | what was wrong | shrunk to |\n|---|---:|---|---|");
    for broken in chosen {
        let found = copy.build(broken).and_then(|program| breaks::find(&program, seeds, requests));
        copy.restore(broken)?;
        let (seed, violation, shrunk) = match found {
            Ok(Some(found)) => (found.seed.to_string(), found.violation, found.shrunk),
            Ok(None) => (format!("not found in {seeds} seeds"), String::new(), String::new()),
            Err(error) => (error.to_string(), String::new(), String::new()),
        };
        all_found &= !violation.is_empty();
        println!("| {} | {seed} | {violation} | {shrunk} |", broken.name);
    }
    Ok(all_found)
}

fn verdict(outcome: &Outcome) -> String {
    match outcome.violations.first() {
        None => format!("hash {} over {} lines", outcome.hash, outcome.trace_lines),
        Some(violation) => format!("FAILED: {violation}"),
    }
}
