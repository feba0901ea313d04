//! The table's keys and index, for every table that is not created by `template.yaml`, which defines the same. The
//! function itself never calls this, so the linker leaves it out of the deployed binary.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::BuildError;
use aws_sdk_dynamodb::operation::create_table::builders::CreateTableFluentBuilder;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection, ProjectionType,
    ScalarAttributeType,
};

use super::items::{CLIENT_ID, CREATED_AT, PK, SK};

/// The index that lists a client's API keys. Only the items of API keys have a `client_id`, so it holds nothing else.
pub const KEYS_BY_CLIENT: &str = "keys_by_client";

/// A request that creates the table.
///
/// # Errors
/// Never: each part has what its builder requires.
pub fn create_table(client: &Client, table: &str) -> Result<CreateTableFluentBuilder, BuildError> {
    let attribute = |name: &str, kind| AttributeDefinition::builder().attribute_name(name).attribute_type(kind).build();
    let key = |name: &str, kind| KeySchemaElement::builder().attribute_name(name).key_type(kind).build();
    let keys_by_client = GlobalSecondaryIndex::builder()
        .index_name(KEYS_BY_CLIENT)
        .key_schema(key(CLIENT_ID, KeyType::Hash)?)
        .key_schema(key(CREATED_AT, KeyType::Range)?)
        .projection(Projection::builder().projection_type(ProjectionType::All).build())
        .build()?;
    Ok(client
        .create_table()
        .table_name(table)
        .billing_mode(BillingMode::PayPerRequest)
        .attribute_definitions(attribute(PK, ScalarAttributeType::S)?)
        .attribute_definitions(attribute(SK, ScalarAttributeType::S)?)
        .attribute_definitions(attribute(CLIENT_ID, ScalarAttributeType::S)?)
        .attribute_definitions(attribute(CREATED_AT, ScalarAttributeType::N)?)
        .key_schema(key(PK, KeyType::Hash)?)
        .key_schema(key(SK, KeyType::Range)?)
        .global_secondary_indexes(keys_by_client))
}
