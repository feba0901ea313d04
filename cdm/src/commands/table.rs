//! `cdm table`: creates the table where the template does not.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::ProvideErrorMetadata as _;
use cdm_lambda::store::schema;
use clap::Subcommand;
use serde_json::json;

use crate::table::call_failure;
use crate::table::connection::Connection;
use crate::ui::Failure;
use crate::ui::output::Output;

/// Create the table for local work. In AWS the template creates it.
#[derive(Debug, Subcommand)]
pub(crate) enum Table {
    /// Create the table. An existing table stays as it is.
    #[command(after_help = "Example:
  AWS_ENDPOINT_URL_DYNAMODB=http://127.0.0.1:8000 cdm table create --table cdm-phones")]
    Create,
}

/// Runs the command.
///
/// # Errors
/// The failure of the call, in one line.
pub(crate) async fn run(command: Table, connection: &Connection, output: Output) -> Result<(), Failure> {
    let Table::Create = command;
    let table = &connection.table;
    let created = create(&connection.client, table).await?;
    let sentence =
        if created { format!("The table {table} was created.") } else { format!("The table {table} already exists.") };
    output.done(&sentence, &json!({ "table": table, "created": created }))
}

/// Creates the table. Returns `false` if it already exists.
///
/// # Errors
/// The failure of the call, in one line.
pub(crate) async fn create(client: &Client, table: &str) -> Result<bool, Failure> {
    let created = schema::create_table(client, table)
        .map_err(|error| Failure(format!("the table cannot be described: {error}")))?
        .send()
        .await;
    match created {
        Ok(_) => Ok(true),
        Err(error) if error.code() == Some("ResourceInUseException") => Ok(false),
        // The operators' policy does not allow it.
        Err(error) if error.code() == Some("AccessDeniedException") => {
            Err(Failure(format!("the table {table} cannot be created: in AWS, deploy the stack, which creates it")))
        }
        Err(error) => Err(call_failure::call(&format!("the table {table} cannot be created"), &error, table)),
    }
}
