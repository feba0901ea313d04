//! `cdm customer`: creates, shows, imports and deletes customer records.

use cdm_lambda::http::response::customer_json;
use cdm_lambda::store::{CallContext, items};
use cdm_lambda::time::UnixMillis;
use clap::{Args, Subcommand};
use serde_json::json;

use crate::commands::arguments::Customer as Whose;
use crate::commands::import::Import;
use crate::table::call_failure;
use crate::table::connection::{Connection, OPERATION_TIMEOUT};
use crate::table::erase;
use crate::table::erase::CorruptNumbers;
use crate::table::saved::{Save, lock};
use crate::ui::Failure;
use crate::ui::output::{self, Output};

/// Create, show, import and delete customer records.
#[derive(Debug, Subcommand)]
pub(crate) enum Customer {
    Create(Create),
    Show(Show),
    Delete(Delete),
    Import(Import),
}

/// Create a customer's record, without numbers.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  cdm customer create --client demo-clinic --ccid BAK-11984-100")]
pub(crate) struct Create {
    #[command(flatten)]
    customer: Whose,
}

/// Show a customer's record. As JSON, it is the body of the API's response to a GET.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cdm customer show --client demo-clinic --ccid BAK-11984-007
  cdm customer show --client demo-clinic --ccid BAK-11984-007 --output json | jq .phone_count")]
pub(crate) struct Show {
    #[command(flatten)]
    customer: Whose,
}

/// Delete a customer's record, and remove the customer from the count of every number.
///
/// The consent of a number belongs to the client and stays, even if no customer has the number.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cdm customer delete --client demo-clinic --ccid BAK-11984-100
  cdm customer delete --client demo-clinic --ccid BAK-11984-100 --no-save")]
pub(crate) struct Delete {
    #[command(flatten)]
    customer: Whose,
    #[command(flatten)]
    save: Save,
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
}

const CHANNEL: [output::Column; 6] = [
    ("NUMBER", "channel_addr"),
    ("COUNTRY", "country_code"),
    ("TYPE", "phone_type"),
    ("CONSENT", "consent_type"),
    ("SOURCE", "client_source"),
    ("ADDED", "created_at"),
];

/// Runs the command.
///
/// # Errors
/// What was refused or failed, in one line.
pub(crate) async fn run(command: Customer, connection: &Connection, output: Output) -> Result<(), Failure> {
    match command {
        Customer::Create(create) => create.run(connection, output).await,
        Customer::Show(show) => show.run(connection, output).await,
        Customer::Delete(delete) => delete.run(connection, output).await,
        Customer::Import(import) => import.run(connection, output).await,
    }
}

impl Create {
    async fn run(self, connection: &Connection, output: Output) -> Result<(), Failure> {
        let Whose { client, ccid } = self.customer;
        let record = items::empty_record(&client, &ccid, UnixMillis::now());
        if connection.create(record).await?.is_some() {
            return Err(Failure("the client already has a customer with this ccid: nothing was changed".to_owned()));
        }
        output.done(
            &format!("Customer {} of {} was created.", ccid.as_str(), client.as_str()),
            &json!({ "client_id": client.as_str(), "ccid": ccid.as_str(), "created": true }),
        )
    }
}

impl Show {
    async fn run(self, connection: &Connection, output: Output) -> Result<(), Failure> {
        let Whose { client, ccid } = self.customer;
        let record = connection.store.customer(&client, &ccid, &mut CallContext::within(OPERATION_TIMEOUT)).await;
        let record = record.map_err(|error| call_failure::refusal(error, &connection.table))?;
        let body = customer_json(&client, &ccid, &record);
        if output == Output::Json {
            return output::print_object(&body);
        }
        output.details(
            &[("Client", "client_id"), ("Customer", "ccid"), ("Created", "created_at"), ("Numbers", "phone_count")],
            &body,
        )?;
        let channels = body.get("notification_channels").and_then(|channels| channels.as_array());
        match channels {
            Some(channels) if !channels.is_empty() => {
                output::print_text("")?;
                output.list(&CHANNEL, channels, "")
            }
            _ => Ok(()),
        }
    }
}

impl Delete {
    async fn run(self, connection: &Connection, output: Output) -> Result<(), Failure> {
        let Whose { client, ccid } = self.customer;
        let (client_name, ccid_text) = (client.as_str(), ccid.as_str());
        output::confirm(&format!("Delete the record of {ccid_text} of {client_name} and its numbers?"), "y", self.yes)?;
        let saving = self.save.open(connection.address(), "customer delete").shared();
        let erased = erase::customer(connection, &client, &ccid, CorruptNumbers::Refuse, &saving).await;
        let Some(erased) = lock(&saving).report_on(erased)? else {
            return Err(Failure("the client has no customer with this ccid: nothing was deleted".to_owned()));
        };
        output.done(
            &format!(
                "Customer {ccid_text} of {client_name} was deleted, with {}.",
                output::count(erased.numbers as u64, "number")
            ),
            &json!({ "client_id": client_name, "ccid": ccid_text, "numbers_removed": erased.numbers }),
        )?;
        lock(&saving).report();
        Ok(())
    }
}
