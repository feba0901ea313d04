//! DynamoDB's values, with maps and sets in a fixed order.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An item, or a map in one.
pub type Item = BTreeMap<String, Value>;

/// A value in DynamoDB's JSON: `{"S": "text"}`. Numbers are whole, because the function writes no others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[expect(missing_docs, reason = "DynamoDB's names")]
pub enum Value {
    S(String),
    N(#[serde(serialize_with = "write_number", deserialize_with = "read_number")] i64),
    /// Base64.
    B(String),
    Bool(bool),
    Null(bool),
    Ss(BTreeSet<String>),
    L(Vec<Value>),
    M(Item),
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn write_number<S: Serializer>(number: &i64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(number)
}

fn read_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
}

impl Value {
    /// The number, if it is one.
    pub fn number(&self) -> Option<i64> {
        if let Self::N(number) = self { Some(*number) } else { None }
    }

    /// The text, if it is one.
    pub fn text(&self) -> Option<&str> {
        if let Self::S(text) = self { Some(text) } else { None }
    }

    /// The map, if it is one.
    pub fn map(&self) -> Option<&Item> {
        if let Self::M(map) = self { Some(map) } else { None }
    }

    /// The set of strings, if it is one.
    pub fn strings(&self) -> Option<&BTreeSet<String>> {
        if let Self::Ss(set) = self { Some(set) } else { None }
    }

    /// About as many bytes as DynamoDB counts.
    pub fn size(&self) -> usize {
        match self {
            Self::S(text) | Self::B(text) => text.len(),
            Self::N(_) => 8,
            Self::Bool(_) | Self::Null(_) => 1,
            Self::Ss(set) => set.iter().map(String::len).sum(),
            Self::L(list) => 3 + list.iter().map(|value| 1 + value.size()).sum::<usize>(),
            Self::M(map) => 3 + item_size(map),
        }
    }
}

/// About as many bytes as DynamoDB counts.
pub fn item_size(item: &Item) -> usize {
    item.iter().map(|(name, value)| 1 + name.len() + value.size()).sum()
}
