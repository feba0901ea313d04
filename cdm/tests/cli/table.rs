use aws_sdk_dynamodb::types::KeyType;
use serde_json::json;

use crate::helpers::Table;

#[tokio::test(flavor = "multi_thread")]
async fn a_table_is_created_once() {
    let table = Table::new().await;
    let arguments = ["table", "create", "--table", "another"];
    assert_eq!(table.json(&arguments).await, [json!({ "table": "another", "created": true })]);
    assert_eq!(table.json(&arguments).await, [json!({ "table": "another", "created": false })]);
    assert_eq!(table.done(&arguments).await, "The table another already exists.\n");

    let described = table.connection.client.describe_table().table_name("another").send().await.unwrap();
    let described = described.table.unwrap();
    let keys: Vec<_> = described.key_schema().iter().map(|key| (key.attribute_name(), key.key_type())).collect();
    assert_eq!(keys, [("pk", &KeyType::Hash), ("sk", &KeyType::Range)]);
    assert_eq!(described.global_secondary_indexes()[0].index_name(), Some("keys_by_client"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_table_is_named() {
    let table = Table::new().await;
    let expected =
        "the table elsewhere does not exist here: check --table and the region, or create it with `cdm table create`";
    let customer = ["--client", "a", "--ccid", "b"];
    for command in [
        &["key", "issue", "--client", "a"][..],
        &["key", "list", "--client", "a"],
        &["customer", "create", customer[0], customer[1], customer[2], customer[3]],
        &["customer", "show", customer[0], customer[1], customer[2], customer[3]],
        &["customer", "delete", "--yes", customer[0], customer[1], customer[2], customer[3]],
        &["client", "delete", "--yes", "--client", "a"],
        &["phone", "add", "6105551212", customer[0], customer[1], customer[2], customer[3]],
        &["phone", "remove", "--yes", "6105551212", customer[0], customer[1], customer[2], customer[3]],
        &["phone", "who", "6105551212", "--client", "a"],
        &["check"],
    ] {
        let line = table.refused(&[command, &["--table", "elsewhere"]].concat()).await;
        assert!(line.ends_with(expected), "{command:?}: {line}");
    }
}
