//! Measures the function under a Lambda Runtime API and a DynamoDB of its own.
//!
//!     harness probe BOOTSTRAP             instructions of a start with one add, and of a warm add; profiles kept
//!     harness smoke BOOTSTRAP             one short run of every subject: does each of them work here?
//!     harness budgets BOOTSTRAP [--record]  the budgets, held to what was recorded
//!     harness micro                       instructions of the pieces of an add
//!     harness compare BOOTSTRAP           everything side by side, into results/

mod budgets;
mod certificates;
mod chart;
mod compare;
mod database;
mod events;
mod http;
mod micro;
mod quota;
mod report;
mod results;
mod runtime_api;
mod session;
mod subjects;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use certificates::Certificates;
use session::Bench;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// The table's name in every environment here.
const TABLE: &str = "cdm-phones";

fn main() -> ExitCode {
    let words: Vec<_> = std::env::args().skip(1).collect();
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["probe", bootstrap] => ready(bootstrap).and_then(|(bench, bootstrap)| budgets::probe(&bench, &bootstrap)),
        ["budgets", bootstrap] => {
            ready(bootstrap).and_then(|(bench, bootstrap)| budgets::hold(&bench, &bootstrap, folder(), false))
        }
        ["budgets", bootstrap, "--record"] => {
            ready(bootstrap).and_then(|(bench, bootstrap)| budgets::hold(&bench, &bootstrap, folder(), true))
        }
        ["compare", bootstrap] => {
            ready(bootstrap).and_then(|(bench, bootstrap)| compare::run(&bench, &bootstrap, folder()))
        }
        ["smoke", bootstrap] => {
            ready(bootstrap).and_then(|(bench, bootstrap)| compare::smoke(&bench, &bootstrap, folder()))
        }
        ["micro"] => ready(".").and_then(|(bench, _)| {
            println!("{}", micro::markdown(&micro::count(&bench, folder())?));
            Ok(())
        }),
        _ => Err("usage: harness probe|smoke|budgets|compare BOOTSTRAP, or harness micro".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// This workspace's folder.
fn folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

fn ready(bootstrap: &str) -> Result<(Bench, PathBuf)> {
    let work = folder().join("target/work");
    std::fs::create_dir_all(&work)?;
    let bench = Bench { certificates: Certificates::make(&work.join(format!("tls.{}", std::process::id())))?, work };
    bench.forget_logs()?;
    let bootstrap = std::fs::canonicalize(bootstrap).map_err(|error| format!("{bootstrap}: {error}"))?;
    Ok((bench, bootstrap))
}
