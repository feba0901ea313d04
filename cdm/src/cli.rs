//! The commands and options of `cdm`, and which module runs each command.

use std::io::Write as _;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;

use crate::commands::arguments::table_name;
use crate::commands::check::Check;
use crate::commands::client::{self, Client};
use crate::commands::customer::{self, Customer};
use crate::commands::item::{self, Item};
use crate::commands::key::{self, Key};
use crate::commands::phone::{self, Phone};
use crate::commands::table::{self, Table};
use crate::commands::undo::Undo;
use crate::dev::{self, Dev};
use crate::table::connection::Connection;
use crate::ui::Failure;
use crate::ui::output::Output;

/// Manages phone numbers on customer records: the dev server and the operator's tools.
#[derive(Debug, Parser)]
#[command(
    version,
    arg_required_else_help = true,
    after_help = "Region and credentials are found as in other AWS tools (AWS_REGION, AWS_PROFILE, …).
AWS_ENDPOINT_URL_DYNAMODB selects another endpoint; a database on this machine needs no credentials.

Exit codes: 0 done, 1 refused or failed, 2 wrong usage.

Examples:
  cdm dev
  export AWS_ENDPOINT_URL_DYNAMODB=http://127.0.0.1:8000 TABLE_NAME=cdm-phones
  cdm key issue --client demo-clinic --label 'nightly sync' --expires 90d
  cdm customer show --client demo-clinic --ccid BAK-11984-007 --output json"
)]
pub struct Cdm {
    /// The table. Default: the environment variable `TABLE_NAME`.
    #[arg(long, global = true, value_name = "NAME", value_parser = table_name)]
    table: Option<String>,
    /// Tables for people, or JSON for programs, one object per line. [default: table]
    #[arg(long, global = true, value_enum, hide_possible_values = true, value_name = "table|json")]
    output: Option<Output>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Dev(Dev),
    #[command(subcommand)]
    Key(Key),
    #[command(subcommand)]
    Customer(Customer),
    #[command(subcommand)]
    Phone(Phone),
    #[command(subcommand)]
    Client(Client),
    Check(Check),
    Undo(Undo),
    #[command(subcommand)]
    Item(Item),
    #[command(subcommand)]
    Table(Table),
    Completions(Completions),
}

/// Print a script that completes these commands in your shell.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cdm completions bash > ~/.local/share/bash-completion/completions/cdm
  cdm completions zsh > ~/.zfunc/_cdm
  cdm completions fish > ~/.config/fish/completions/cdm.fish")]
struct Completions {
    /// The shell.
    shell: Shell,
}

impl Cdm {
    /// Reads the arguments of this process.
    ///
    /// # Errors
    /// What is wrong with the arguments, or the help that was requested.
    pub fn from_arguments() -> Result<Self, clap::Error> {
        Self::try_parse().and_then(with_table)
    }

    /// Whether the command is the dev server, which hides panic messages itself.
    pub fn is_dev(&self) -> bool {
        matches!(self.command, Command::Dev(_))
    }

    /// Runs the command.
    ///
    /// # Errors
    /// What was refused or failed, in one line.
    pub async fn run(self) -> Result<(), Failure> {
        let output = self.output.unwrap_or_default();
        // Commands that need a table have one: see `with_table`.
        let open = || Connection::open(self.table.unwrap_or_default());
        match self.command {
            Command::Dev(dev) => dev::run(dev).await,
            Command::Completions(Completions { shell }) => completions(shell),
            Command::Table(command) => table::run(command, &open().await?, output).await,
            Command::Key(command) => key::run(command, &open().await?, output).await,
            Command::Customer(command) => customer::run(command, &open().await?, output).await,
            Command::Phone(command) => phone::run(command, &open().await?, output).await,
            Command::Client(command) => client::run(command, &open().await?, output).await,
            Command::Check(command) => command.run(&open().await?, output).await,
            Command::Undo(command) => command.run(&open().await?, output).await,
            Command::Item(command) => item::run(command, &open().await?, output).await,
        }
    }
}

/// Takes the table from `TABLE_NAME` if `--table` is not given. All commands but two need a table, and those two must not
/// have one.
fn with_table(mut cdm: Cdm) -> Result<Cdm, clap::Error> {
    let wrong = |kind, text: &str| Err(Cdm::command().error(kind, text));
    if matches!(cdm.command, Command::Dev(_) | Command::Completions(_)) {
        if cdm.table.is_some() || cdm.output.is_some() {
            return wrong(ErrorKind::ArgumentConflict, "this command does not take --table or --output");
        }
        return Ok(cdm);
    }
    if cdm.table.is_none() {
        let named = std::env::var("TABLE_NAME").ok().filter(|name| !name.is_empty());
        cdm.table = match named.map(|name| table_name(&name)) {
            Some(Ok(name)) => Some(name),
            Some(Err(rule)) => return wrong(ErrorKind::ValueValidation, &format!("TABLE_NAME {rule}")),
            None => {
                return wrong(ErrorKind::MissingRequiredArgument, "no table is named: give --table or set TABLE_NAME");
            }
        };
    }
    Ok(cdm)
}

fn completions(shell: Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cdm::command(), "cdm", &mut script);
    std::io::stdout()
        .write_all(&script)
        .map_err(|error| Failure(format!("the output cannot be written ({})", error.kind())))
}
