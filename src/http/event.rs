//! Reads a gateway event without judging it.
//!
//! `lambda_http` has a conversion into an `http::Request`, but it panics on a Host header that is not a host name, on a
//! query string with a space, and on invalid base64. It also rejects a whole event for one odd byte in a header that this
//! function does not use, and it parses every field on every call. This module reads the few fields that the function
//! needs from the JSON. It cannot fail on an event that a gateway sends, and it costs less.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::query::{Query, Values};

/// Whether the sender of the event has already percent-decoded the path and its parameters.
///
/// An HTTP API decodes them, in both of its payload formats. A REST API, a function URL and a load balancer do not,
/// although a function URL uses the HTTP API's format 2.0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathEncoding {
    /// Decoded by the sender of the event.
    Decoded,
    /// Still encoded, as the caller sent it.
    PercentEncoded,
}

/// The parts of an event that this function uses. It holds a caller's values, so it does not implement `Debug`.
pub struct Event {
    /// Whether the path and its parameters are still percent-encoded.
    pub path_encoding: PathEncoding,
    /// The method, as sent.
    pub method: String,
    /// The path template that the gateway matched, `/cdm/client/{client_id}/…`. `None` if the gateway matched a catch-all
    /// route or no route. Then only the path tells the operation.
    pub template: Option<String>,
    /// The values of the template's parameters, by name.
    pub parameters: HashMap<String, Option<String>>,
    /// The whole path.
    pub path: String,
    /// The query string.
    pub query: Query,
    /// The headers that the contract names.
    pub headers: Headers,
    /// The body, if there is one.
    pub body: Option<String>,
    /// Whether the body is base64.
    pub is_base64: bool,
    /// The gateway's id of the request.
    pub request_id: Option<String>,
}

/// The event is not an HTTP request, so no caller waits for a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAnHttpEvent;

impl Event {
    /// Reads an event of API Gateway, or of a service that sends the same payload formats.
    ///
    /// # Errors
    /// [`NotAnHttpEvent`], if the JSON has neither format.
    pub fn parse(json: &str) -> Result<Self, NotAnHttpEvent> {
        let raw: RawEvent = serde_json::from_str(json).map_err(|_| NotAnHttpEvent)?;
        let context = raw.request_context.ok_or(NotAnHttpEvent)?;
        let is_function_url = context.domain_name.is_some_and(|name| name.contains(".lambda-url."));
        let is_load_balancer = context.elb.is_some();
        let query =
            match (raw.raw_query_string, raw.multi_value_query_string_parameters.or(raw.query_string_parameters)) {
                (Some(text), _) => Query::Text(text),
                (None, Some(values)) if is_load_balancer => Query::EncodedValues(values),
                (None, Some(values)) => Query::Values(values),
                (None, None) => Query::Text(String::new()),
            };
        let (path_encoding, method, path, template) = match (context.http, raw.http_method) {
            (Some(http), _) => {
                // `ANY /path`, `PUT /path` or `$default`.
                let template = raw.route_key.and_then(|key| Some(key.split_once(' ')?.1.to_owned()));
                let encoding = if is_function_url { PathEncoding::PercentEncoded } else { PathEncoding::Decoded };
                (encoding, http.method, raw.raw_path, template)
            }
            (None, Some(method)) => {
                // In this format only an HTTP API names a version.
                let encoding = if raw.version.is_some() { PathEncoding::Decoded } else { PathEncoding::PercentEncoded };
                (encoding, method, raw.path, raw.resource)
            }
            _ => return Err(NotAnHttpEvent),
        };
        // A REST API repeats every header under `multiValueHeaders`, with all its values.
        let headers = raw.multi_value_headers.or(raw.headers).unwrap_or_default();
        Ok(Self {
            path_encoding,
            method,
            template: template.filter(|template| !is_catch_all(template)),
            parameters: raw.path_parameters.unwrap_or_default(),
            path: path.ok_or(NotAnHttpEvent)?,
            query,
            headers,
            body: raw.body,
            is_base64: raw.is_base64_encoded.unwrap_or(false),
            request_id: context.request_id,
        })
    }
}

/// `/{proxy+}` of a REST API, `/{anything+}` or `$default` of an HTTP API.
fn is_catch_all(template: &str) -> bool {
    template.ends_with("+}") || !template.starts_with('/')
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawEvent {
    version: Option<IgnoredAny>,
    http_method: Option<String>,
    path: Option<String>,
    resource: Option<String>,
    raw_path: Option<String>,
    route_key: Option<String>,
    path_parameters: Option<HashMap<String, Option<String>>>,
    headers: Option<Headers>,
    multi_value_headers: Option<Headers>,
    raw_query_string: Option<String>,
    query_string_parameters: Option<Box<RawValue>>,
    multi_value_query_string_parameters: Option<Box<RawValue>>,
    body: Option<String>,
    is_base64_encoded: Option<bool>,
    request_context: Option<Context>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Context {
    request_id: Option<String>,
    http: Option<Http>,
    domain_name: Option<String>,
    elb: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Http {
    method: String,
}

/// The two headers of the contract. Names are compared without case. The values of a repeated header are joined with a
/// comma, as HTTP defines it, so two API keys are not a valid key.
#[derive(Default)]
pub struct Headers {
    /// `x-relay-api-key`.
    pub api_key: Option<String>,
    /// `Idempotency-Key`.
    pub idempotency_key: Option<String>,
}

impl Headers {
    fn slot(&mut self, name: &str) -> Option<&mut Option<String>> {
        if name.eq_ignore_ascii_case("x-relay-api-key") {
            Some(&mut self.api_key)
        } else if name.eq_ignore_ascii_case("idempotency-key") {
            Some(&mut self.idempotency_key)
        } else {
            None
        }
    }
}

impl<'de> Deserialize<'de> for Headers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pick;
        impl<'de> Visitor<'de> for Pick {
            type Value = Headers;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of headers")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Headers, A::Error> {
                let mut headers = Headers::default();
                while let Some(Name(name)) = map.next_key()? {
                    match headers.slot(&name) {
                        None => drop(map.next_value::<IgnoredAny>()?),
                        Some(slot) => {
                            let values = match map.next_value()? {
                                Values::One(value) => value,
                                Values::Several(values) => values.join(","),
                            };
                            *slot = Some(match slot.take() {
                                None => values,
                                Some(earlier) => format!("{earlier},{values}"),
                            });
                        }
                    }
                }
                Ok(headers)
            }
        }
        deserializer.deserialize_map(Pick)
    }
}

/// A header's name, copied only if the JSON escapes a character in it.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// A load balancer leaves the values encoded, and a REST API decodes them. Nothing is decoded twice.
    #[test]
    fn the_query_string_is_decoded_once_whatever_sent_it() {
        for (context, sent) in [(json!({ "elb": { "targetGroupArn": "arn" } }), "%2B33"), (json!({}), "+33")] {
            for parameters in ["queryStringParameters", "multiValueQueryStringParameters"] {
                let event = |value: &str| {
                    let value = if parameters == "queryStringParameters" { Value::from(value) } else { json!([value]) };
                    let event = json!({
                        "httpMethod": "GET", "path": "/", "requestContext": context, parameters: { "code": value },
                    });
                    Event::parse(&event.to_string()).unwrap_or_else(|_| panic!("{event}"))
                };
                assert_eq!(event(sent).query.get("code"), Ok(Some("+33".to_owned())), "{parameters}");
                let twice = if sent == "+33" { "%2B33" } else { "%252B33" };
                assert_eq!(event(twice).query.get("code"), Ok(Some("%2B33".to_owned())), "{parameters}");
            }
        }
    }
}
