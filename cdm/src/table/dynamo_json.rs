//! Items in DynamoDB's JSON (`{"pk": {"S": "…"}}`), for files that keep an item exactly.

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use cdm_lambda::store::items::Item;
use serde_json::{Map, Value, json};

/// The item as JSON. Sets are sorted, so that equal items have equal JSON.
pub(crate) fn from_item(item: &Item) -> Value {
    Value::Object(item.iter().map(|(name, value)| (name.clone(), from_value(value))).collect())
}

/// Reads an item from JSON. `None` if it is not an item.
pub(crate) fn to_item(json: &Value) -> Option<Item> {
    json.as_object()?.iter().map(|(name, value)| Some((name.clone(), to_value(value)?))).collect()
}

/// Whether two items are equal, or both absent. The order of a set does not matter.
pub(crate) fn same(a: Option<&Item>, b: Option<&Item>) -> bool {
    a.map(from_item) == b.map(from_item)
}

fn from_value(value: &AttributeValue) -> Value {
    let sorted = |texts: &[String]| {
        let mut texts = texts.to_vec();
        texts.sort();
        texts
    };
    let base64 = |blob: &Blob| BASE64.encode(blob.as_ref());
    match value {
        AttributeValue::S(text) => json!({ "S": text }),
        AttributeValue::N(number) => json!({ "N": number }),
        AttributeValue::B(blob) => json!({ "B": base64(blob) }),
        AttributeValue::Bool(is) => json!({ "BOOL": is }),
        AttributeValue::Null(is) => json!({ "NULL": is }),
        AttributeValue::Ss(texts) => json!({ "SS": sorted(texts) }),
        AttributeValue::Ns(numbers) => json!({ "NS": sorted(numbers) }),
        AttributeValue::Bs(blobs) => json!({ "BS": sorted(&blobs.iter().map(base64).collect::<Vec<_>>()) }),
        AttributeValue::L(values) => json!({ "L": values.iter().map(from_value).collect::<Vec<_>>() }),
        AttributeValue::M(item) => json!({ "M": from_item(item) }),
        // A type that DynamoDB does not have today. It cannot be read back.
        _ => Value::Null,
    }
}

fn to_value(json: &Value) -> Option<AttributeValue> {
    let object: &Map<String, Value> = json.as_object()?;
    let mut members = object.iter();
    let (Some((name, value)), None) = (members.next(), members.next()) else {
        return None;
    };
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let blob = |value: &Value| Some(Blob::new(BASE64.decode(value.as_str()?).ok()?));
    let each = || value.as_array().map(|values| values.iter());
    Some(match name.as_str() {
        "S" => AttributeValue::S(text(value)?),
        "N" => AttributeValue::N(text(value)?),
        "B" => AttributeValue::B(blob(value)?),
        "BOOL" => AttributeValue::Bool(value.as_bool()?),
        "NULL" => AttributeValue::Null(value.as_bool()?),
        "SS" => AttributeValue::Ss(each()?.map(text).collect::<Option<_>>()?),
        "NS" => AttributeValue::Ns(each()?.map(text).collect::<Option<_>>()?),
        "BS" => AttributeValue::Bs(each()?.map(blob).collect::<Option<_>>()?),
        "L" => AttributeValue::L(each()?.map(to_value).collect::<Option<_>>()?),
        "M" => AttributeValue::M(to_item(value)?),
        _ => return None,
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Any value that DynamoDB can hold.
    pub(crate) fn value() -> impl Strategy<Value = AttributeValue> {
        let bytes = || prop::collection::vec(any::<u8>(), 1..4).prop_map(Blob::new);
        let leaf = prop_oneof![
            "\\PC{0,6}".prop_map(AttributeValue::S),
            any::<i64>().prop_map(|number| AttributeValue::N(number.to_string())),
            bytes().prop_map(AttributeValue::B),
            any::<bool>().prop_map(AttributeValue::Bool),
            Just(AttributeValue::Null(true)),
            prop::collection::btree_set("[a-z]{1,3}", 1..4)
                .prop_map(|set| AttributeValue::Ss(set.into_iter().collect())),
            prop::collection::btree_set("[1-9]{1,3}", 1..4)
                .prop_map(|set| AttributeValue::Ns(set.into_iter().collect())),
            prop::collection::vec(bytes(), 1..2).prop_map(AttributeValue::Bs),
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(AttributeValue::L),
                prop::collection::hash_map("\\PC{1,6}", inner, 0..4).prop_map(AttributeValue::M),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_item_reads_back(item in prop::collection::hash_map("\\PC{1,6}", value(), 0..5)) {
            let text = from_item(&item).to_string();
            let read = serde_json::from_str(&text).ok().and_then(|json| to_item(&json));
            prop_assert!(same(read.as_ref(), Some(&item)), "{}", text);
        }
    }

    #[test]
    fn a_set_has_no_order_and_a_list_has_one() {
        let item = |value: AttributeValue| Item::from([("a".to_owned(), value)]);
        let texts = |texts: [&str; 2]| texts.map(str::to_owned).to_vec();
        let set = |names| item(AttributeValue::Ss(texts(names)));
        assert!(same(Some(&set(["x", "y"])), Some(&set(["y", "x"]))));
        let list = |names| item(AttributeValue::L(texts(names).into_iter().map(AttributeValue::S).collect()));
        assert!(!same(Some(&list(["x", "y"])), Some(&list(["y", "x"]))));
        assert!(!same(Some(&Item::new()), None));
    }

    #[test]
    fn other_json_is_no_item() {
        for bad in [r#"{"a": 1}"#, r#"{"a": {"S": 1}}"#, r#"{"a": {"X": "1"}}"#, r#"{"a": {"S": "1", "N": "1"}}"#, "[]"]
        {
            assert_eq!(to_item(&serde_json::from_str(bad).unwrap()), None, "{bad}");
        }
    }
}
