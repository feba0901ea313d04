//! The command line of the simulation.

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use clap::{Parser, Subcommand};
use simulation::generate;
use simulation::totals::Totals;
use simulation::trace::Keep;
use simulation::world::{Outcome, run};

#[derive(Parser)]
#[command(about = "Simulates the function from a seed")]
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
    /// Runs many seeds.
    Many {
        /// The first seed.
        #[arg(long)]
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
    },
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run { seed, requests, timeline } => {
            let began = Instant::now();
            let outcome = run(generate::plan(seed, requests), if timeline { Keep::All } else { Keep::Hash });
            for line in &outcome.lines {
                println!("{line}");
            }
            print(&outcome.totals);
            println!("seed {seed}: {} in {:.1} s", verdict(&outcome), began.elapsed().as_secs_f64());
            if outcome.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Command::Many { from, to, requests, threads } => many(from, to, requests, threads),
    }
}

fn many(from: u64, to: u64, requests: u32, threads: usize) -> ExitCode {
    let began = Instant::now();
    let (next, all) = (AtomicU64::new(from), Mutex::new((Totals::default(), 0_u64)));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed > to {
                        break;
                    }
                    let outcome = run(generate::plan(seed, requests), Keep::Hash);
                    let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
                    all.0.add(&outcome.totals);
                    if !outcome.violations.is_empty() {
                        all.1 += 1;
                        println!("seed {seed}: {}", verdict(&outcome));
                    }
                }
            });
        }
    });
    let (totals, failed) = all.into_inner().unwrap_or_else(PoisonError::into_inner);
    print(&totals);
    println!("seeds {from} to {to}: {failed} failed, {:.1} s", began.elapsed().as_secs_f64());
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn verdict(outcome: &Outcome) -> String {
    match outcome.violations.first() {
        None => format!("hash {} over {} lines", outcome.hash, outcome.trace_lines),
        Some(violation) => format!("FAILED: {violation}"),
    }
}

fn print(totals: &Totals) {
    println!("{totals:#?}");
}
