//! The query string of an event.

use std::collections::HashMap;

use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::domain::Rule;

/// The query string, in the form in which the gateway sends it. It is read only by an operation that has a parameter in it,
/// so an odd query string does not disturb the others.
pub enum Query {
    /// The text as the caller sent it (payload format 2.0).
    Text(String),
    /// A JSON object of decoded values by name (payload format 1.0).
    Values(Box<RawValue>),
    /// A JSON object of values by name, both as the caller sent them (a load balancer).
    EncodedValues(Box<RawValue>),
}

/// The values of one name in a JSON object: of a header or of a parameter, one or several.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Values {
    One(String),
    Several(Vec<String>),
}

impl Query {
    /// The value of a parameter, or `None` if the query string does not have it.
    ///
    /// # Errors
    /// The rule, if the parameter appears more than once or is not UTF-8.
    pub fn get(&self, name: &str) -> Result<Option<String>, Rule> {
        let mut values = Vec::new();
        match self {
            Self::Text(text) => {
                for pair in text.split('&') {
                    let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                    if decoded(key).as_deref() == Ok(name) {
                        values.push(decoded(value)?);
                    }
                }
            }
            Self::Values(json) => {
                values.extend(by_name(json).into_iter().filter(|(key, _)| key == name).map(|(_, value)| value));
            }
            Self::EncodedValues(json) => {
                for (key, value) in by_name(json) {
                    if decoded(&key).as_deref() == Ok(name) {
                        values.push(decoded(&value)?);
                    }
                }
            }
        }
        let value = values.pop();
        if values.is_empty() { Ok(value) } else { Err(Rule::AT_MOST_ONCE) }
    }
}

fn decoded(text: &str) -> Result<String, Rule> {
    let decoded = percent_decode_str(text).decode_utf8();
    Ok(decoded.map_err(|_| Rule::PERCENT_ENCODED)?.into_owned())
}

fn by_name(json: &RawValue) -> Vec<(String, String)> {
    let values: HashMap<String, Values> = serde_json::from_str(json.get()).unwrap_or_default();
    let each = values.into_iter().flat_map(|(name, values)| {
        let values = match values {
            Values::One(value) => vec![value],
            Values::Several(values) => values,
        };
        values.into_iter().map(move |value| (name.clone(), value))
    });
    each.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forms(text: &str, json: &str) -> [Query; 2] {
        let json = || RawValue::from_string(json.to_owned()).unwrap();
        [Query::Text(text.to_owned()), Query::EncodedValues(json())]
    }

    #[test]
    fn a_parameter_is_decoded_once() {
        for query in forms("a=b&c%5fode=%2B33&x", r#"{"a":"b","c%5fode":["%2B33"],"x":""}"#) {
            assert_eq!(query.get("c_ode"), Ok(Some("+33".to_owned())));
            assert_eq!(query.get("x"), Ok(Some(String::new())));
            assert_eq!(query.get("code"), Ok(None));
        }
        let decoded = Query::Values(RawValue::from_string(r#"{"code":["%2B33"]}"#.to_owned()).unwrap());
        assert_eq!(decoded.get("code"), Ok(Some("%2B33".to_owned())));
    }

    #[test]
    fn a_repeated_or_undecodable_parameter_breaks_a_rule() {
        for query in forms("code=1&code=1", r#"{"code":["1","1"]}"#) {
            assert_eq!(query.get("code"), Err(Rule::AT_MOST_ONCE));
        }
        for query in forms("code=%ff", r#"{"code":"%ff"}"#) {
            assert_eq!(query.get("code"), Err(Rule::PERCENT_ENCODED));
        }
    }

    #[test]
    fn other_parameters_are_not_looked_at() {
        for query in forms("%ff=%ff&code=1&&=", r#"{"%ff":"%ff","code":"1"}"#) {
            assert_eq!(query.get("code"), Ok(Some("1".to_owned())));
        }
        for json in ["null", "[]", r#"{"code":{}}"#, "1"] {
            assert_eq!(Query::Values(RawValue::from_string(json.to_owned()).unwrap()).get("code"), Ok(None), "{json}");
        }
    }
}
