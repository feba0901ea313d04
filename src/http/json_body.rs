//! The members of a JSON body.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

use super::event::Event;
use crate::domain::Rule;

/// The largest body that is parsed, in bytes, after base64 decoding.
const MAX_BODY: usize = 16 * 1024;

const TOO_LARGE: Rule = Rule("must be at most 16 KiB");

/// The members of the body's JSON object, in order and with duplicates; or the rule that the body as a whole breaks.
pub(super) struct JsonBody(Result<Vec<(String, Value)>, Rule>);

impl JsonBody {
    pub(super) fn parse(event: &Event) -> Self {
        Self(members(event))
    }

    pub(super) fn empty() -> Self {
        Self(Ok(Vec::new()))
    }

    /// The text of a member, or `None` if the body has no such member. A body that is invalid as a whole has no members;
    /// [`JsonBody::check`] reports it.
    pub(super) fn text(&self, name: &str) -> Result<Option<&str>, Rule> {
        let mut values = self.0.iter().flatten().filter(|(member, _)| member == name).map(|(_, value)| value);
        match (values.next(), values.next()) {
            (None, _) => Ok(None),
            (Some(_), Some(_)) => Err(Rule::AT_MOST_ONCE),
            (Some(Value::String(text)), None) => Ok(Some(text)),
            (Some(_), None) => Err(Rule("must be a string")),
        }
    }

    /// Reports the rule that the body as a whole breaks, and each member that is not in `known`. An unknown member is an
    /// error, because it may be a misspelled field.
    pub(super) fn check(&self, known: &[&str], mut report: impl FnMut(String, Rule)) {
        let members = match &self.0 {
            Ok(members) => members,
            Err(rule) => return report("body".to_owned(), *rule),
        };
        let mut unknown = BTreeSet::new();
        for (name, _) in members {
            if !known.contains(&name.as_str()) && unknown.insert(name) {
                let field = if is_field_name(name) { format!("body.{name}") } else { "body".to_owned() };
                report(field, Rule("is not a field of this request"));
            }
        }
    }
}

/// An absent or empty body is `{}`.
fn members(event: &Event) -> Result<Vec<(String, Value)>, Rule> {
    let text = event.body.as_deref().unwrap_or_default();
    let bytes = if event.is_base64 {
        // Reject a body whose encoded length already exceeds the limit, before decoding it.
        if text.len() > MAX_BODY.div_ceil(3) * 4 {
            return Err(TOO_LARGE);
        }
        Cow::Owned(STANDARD.decode(text).map_err(|_| Rule("must be valid base64, because it is marked as base64"))?)
    } else {
        Cow::Borrowed(text.as_bytes())
    };
    if bytes.len() > MAX_BODY {
        return Err(TOO_LARGE);
    }
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let Members(members) = serde_json::from_slice(&bytes).map_err(|_| Rule("must be one valid JSON object"))?;
    Ok(members)
}

/// Whether a response may repeat the name of a member. A misspelled field looks like this; a phone number does not.
fn is_field_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    name.len() <= 64
        && bytes.next().is_some_and(|first| first.is_ascii_alphabetic())
        && bytes.all(|byte| byte.is_ascii_alphabetic() || byte == b'_')
}

/// A JSON object that keeps its duplicates: a map would silently drop them.
struct Members(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}
