//! The `cdm` command.

use std::process::ExitCode;

use cdm::dev;
use clap::{Parser, Subcommand};

/// Phone numbers on customer records: the dev server and the operator's tools.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true)]
struct Cdm {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Dev(dev::Dev),
}

#[tokio::main]
async fn main() -> ExitCode {
    let done = match Cdm::parse().command {
        Command::Dev(arguments) => dev::run(arguments).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("cdm: {failure}");
            ExitCode::FAILURE
        }
    }
}
