//! Measures the function with a Lambda Runtime API and a stand-in for DynamoDB.
//!
//!     harness probe BOOTSTRAP               counts the instructions of a cold and of a warm add, and keeps the profiles
//!     harness smoke BOOTSTRAP               runs each subject once, to see whether it works here
//!     harness budgets BOOTSTRAP [--record]  compares the function with its budgets, or records new values
//!     harness compare BOOTSTRAP             measures all subjects side by side and writes results/

mod budgets;
mod compare;
mod database;
mod events;
mod http;
mod instructions;
mod report;
mod session;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use database::Certificates;
use session::Bench;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// The table's name for every subject.
const TABLE: &str = "cdm-phones";

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let done = match arguments.as_slice() {
        ["probe", bootstrap] => ready(bootstrap).and_then(|(bench, bootstrap)| instructions::probe(&bench, &bootstrap)),
        ["budgets", bootstrap] => {
            ready(bootstrap).and_then(|(bench, bootstrap)| budgets::check(&bench, &bootstrap, folder(), false))
        }
        ["budgets", bootstrap, "--record"] => {
            ready(bootstrap).and_then(|(bench, bootstrap)| budgets::check(&bench, &bootstrap, folder(), true))
        }
        ["compare", bootstrap] => {
            ready(bootstrap).and_then(|(bench, bootstrap)| compare::run(&bench, &bootstrap, folder()))
        }
        ["smoke", bootstrap] => {
            ready(bootstrap).and_then(|(bench, bootstrap)| compare::smoke(&bench, &bootstrap, folder()))
        }
        _ => Err("usage: harness probe|smoke|budgets|compare BOOTSTRAP".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// The folder of this workspace.
fn folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

fn ready(bootstrap: &str) -> Result<(Bench, PathBuf)> {
    let work = folder().join("target/work");
    std::fs::create_dir_all(&work)?;
    let bench = Bench { certificates: Certificates::create(&work.join(format!("tls.{}", std::process::id())))?, work };
    bench.clear_logs()?;
    let bootstrap = std::fs::canonicalize(bootstrap).map_err(|error| format!("{bootstrap}: {error}"))?;
    Ok((bench, bootstrap))
}
