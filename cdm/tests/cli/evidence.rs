//! `cdm check --fix` never removes what a corrupt item still shows.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use cdm_lambda::store::items::{self, Item};

use crate::helpers::{Table, counter, record, text};

const ONE: &str = "6105551212";

fn with(mut item: Item, name: &str, value: AttributeValue) -> Item {
    item.insert(name.to_owned(), value);
    item
}

/// A customer who opted out, in a record whose channels became a list.
fn opted_out_in_a_list() -> Item {
    let channel = AttributeValue::M(HashMap::from([
        ("t".to_owned(), AttributeValue::N("1732003200000".to_owned())),
        ("c".to_owned(), text("stop")),
        ("e164".to_owned(), text("+16105551212")),
    ]));
    with(record("A", &[ONE]), items::NOTIFICATION_CHANNELS, AttributeValue::L(vec![channel]))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_whose_channels_became_a_list_is_left_for_a_person() {
    let table = Table::new().await;
    for item in [opted_out_in_a_list(), counter(ONE, &["A"])] {
        table.put(item).await;
    }
    let before = table.sorted().await;
    let ran = table.cdm(&["check", "--fix", "--yes"]).await;
    assert_eq!(table.sorted().await, before, "{ran:?}");
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.out.contains("for a person"), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_that_only_the_number_names_stays_named() {
    // The record is gone, does not have the number, or cannot be read.
    for rest in [None, Some(record("A", &[])), Some(opted_out_in_a_list())] {
        let table = Table::new().await;
        table.put(counter(ONE, &["A"])).await;
        if let Some(record) = rest {
            table.put(record).await;
        }
        let before = table.sorted().await;
        let ran = table.cdm(&["check", "--fix", "--yes"]).await;
        assert_eq!((table.sorted().await, ran.code), (before, 1), "{ran:?}");
    }
}
