//! The `cdm` command.

use std::process::ExitCode;

use cdm::cli::Cdm;
use cdm::ui::Failure;
use cdm::ui::output::complain;
use clap::error::ErrorKind;

#[tokio::main]
async fn main() -> ExitCode {
    let cdm = match Cdm::from_arguments() {
        Ok(cdm) => cdm,
        Err(error) => return misused(&error),
    };
    if !cdm.is_dev() {
        std::panic::set_hook(Box::new(|panic| {
            let place = panic.location().map(ToString::to_string).unwrap_or_default();
            complain(&Failure(format!("internal error at {place}: please report it")));
            std::process::exit(1);
        }));
    }
    match Box::pin(cdm.run()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            complain(&failure);
            ExitCode::FAILURE
        }
    }
}

/// Requested help goes to standard output. A usage error is one line, like every error.
fn misused(error: &clap::Error) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            let _ = error.print();
            return ExitCode::SUCCESS;
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = error.print();
        }
        _ => {
            let text = error.render().to_string();
            let about = |line: &&str| !line.starts_with("Usage:") && !line.starts_with("For more information");
            let lines: Vec<_> = text.lines().take_while(about).map(str::trim).filter(|line| !line.is_empty()).collect();
            let line = lines.join(" ");
            complain(&Failure(format!("{}: see --help", line.trim_start_matches("error: "))));
        }
    }
    ExitCode::from(2)
}
