//! The table and the timeout of local work are those of `template.yaml`.
#![expect(clippy::unwrap_used, reason = "a test stops at its first surprise")]

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{BehaviorVersion, Config, Region};
use cdm_lambda::store::schema;
use serde_json::{Value, json};

fn template() -> Value {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../template.yaml")).unwrap();
    // AWS reads `N` as text; YAML 1.1 would read it as false.
    let options = serde_saphyr::options! { strict_booleans: true };
    serde_saphyr::from_str_with_options(&text, options).unwrap()
}

fn key_schema(keys: &[aws_sdk_dynamodb::types::KeySchemaElement]) -> Value {
    keys.iter()
        .map(|key| json!({ "AttributeName": key.attribute_name(), "KeyType": key.key_type().as_str() }))
        .collect()
}

#[test]
fn the_schema_is_that_of_the_template() {
    let client = Client::from_conf(
        Config::builder().behavior_version(BehaviorVersion::latest()).region(Region::new("us-east-1")).build(),
    );
    let request = schema::create_table(&client, "any").unwrap();
    let request = request.as_input();
    let attributes = request.get_attribute_definitions().as_ref().unwrap().iter();
    let attributes: Value = attributes
        .map(|attribute| {
            json!({ "AttributeName": attribute.attribute_name(), "AttributeType": attribute.attribute_type().as_str() })
        })
        .collect();
    let indexes: Value = request
        .get_global_secondary_indexes()
        .as_ref()
        .unwrap()
        .iter()
        .map(|index| {
            json!({
                "IndexName": index.index_name(),
                "KeySchema": key_schema(index.key_schema()),
                "Projection": { "ProjectionType": index.projection().unwrap().projection_type().unwrap().as_str() },
            })
        })
        .collect();
    let table = &template()["Resources"]["Table"]["Properties"];
    assert_eq!(request.get_billing_mode().as_ref().unwrap().as_str(), table["BillingMode"]);
    assert_eq!(attributes, table["AttributeDefinitions"]);
    assert_eq!(key_schema(request.get_key_schema().as_ref().unwrap()), table["KeySchema"]);
    assert_eq!(indexes, table["GlobalSecondaryIndexes"]);
}

#[test]
fn the_timeout_is_that_of_the_template() {
    assert_eq!(template()["Resources"]["Function"]["Properties"]["Timeout"], testkit::TIMEOUT.as_secs());
}
