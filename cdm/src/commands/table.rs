//! The table's definition. In AWS the template makes it; this is the same for everywhere else.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{BuildError, ProvideErrorMetadata};
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection, ProjectionType,
    ScalarAttributeType,
};
use cdm_lambda::store::items;
use clap::Subcommand;
use serde_json::json;

use crate::table::connection::Connection;
use crate::ui::Failure;
use crate::ui::output::Output;

/// The index that lists a client's API keys. Only keys have a `client_id`, so it holds nothing else.
pub(crate) const KEYS_BY_CLIENT: &str = "keys_by_client";

/// Make the table, for local work; in AWS the template makes it.
#[derive(Debug, Subcommand)]
pub(crate) enum Table {
    /// Make the table. One that is there is left as it is.
    #[command(after_help = "Example:
  AWS_ENDPOINT_URL_DYNAMODB=http://127.0.0.1:8000 cdm table create --table cdm-phones")]
    Create,
}

/// Runs the command.
///
/// # Errors
/// What DynamoDB said, in one line.
pub(crate) async fn run(command: Table, connection: &Connection, output: Output) -> Result<(), Failure> {
    let Table::Create = command;
    let table = &connection.table;
    let created = create(&connection.client, table).await?;
    let sentence =
        if created { format!("The table {table} is made.") } else { format!("The table {table} was there already.") };
    output.done(&sentence, &json!({ "table": table, "created": created }))
}

/// Creates the table. `false` where it is there already.
///
/// # Errors
/// What DynamoDB said, in one line.
pub async fn create(client: &Client, table: &str) -> Result<bool, Failure> {
    let created = definition(client, table)
        .map_err(|error| Failure(format!("the table cannot be described: {error}")))?
        .send()
        .await;
    match created {
        Ok(_) => Ok(true),
        Err(error) if error.code() == Some("ResourceInUseException") => Ok(false),
        Err(error) => Err(Failure(format!(
            "the table {table} cannot be created: {}",
            error.code().unwrap_or("DynamoDB cannot be reached at the configured endpoint")
        ))),
    }
}

fn definition(
    client: &Client,
    table: &str,
) -> Result<aws_sdk_dynamodb::operation::create_table::builders::CreateTableFluentBuilder, BuildError> {
    let attribute = |name: &str, kind| AttributeDefinition::builder().attribute_name(name).attribute_type(kind).build();
    let key = |name: &str, kind| KeySchemaElement::builder().attribute_name(name).key_type(kind).build();
    let keys_by_client = GlobalSecondaryIndex::builder()
        .index_name(KEYS_BY_CLIENT)
        .key_schema(key(items::CLIENT_ID, KeyType::Hash)?)
        .key_schema(key(items::CREATED_AT, KeyType::Range)?)
        .projection(Projection::builder().projection_type(ProjectionType::All).build())
        .build()?;
    Ok(client
        .create_table()
        .table_name(table)
        .billing_mode(BillingMode::PayPerRequest)
        .attribute_definitions(attribute(items::PK, ScalarAttributeType::S)?)
        .attribute_definitions(attribute(items::SK, ScalarAttributeType::S)?)
        .attribute_definitions(attribute(items::CLIENT_ID, ScalarAttributeType::S)?)
        .attribute_definitions(attribute(items::CREATED_AT, ScalarAttributeType::N)?)
        .key_schema(key(items::PK, KeyType::Hash)?)
        .key_schema(key(items::SK, KeyType::Range)?)
        .global_secondary_indexes(keys_by_client))
}
