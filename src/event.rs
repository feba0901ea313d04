//! A gateway event, read without judging it.
//!
//! Why not `lambda_http`'s own conversion into an `http::Request`? It panics on a Host header that is no host name, on a
//! query string with a space and on broken base64; it refuses a whole event for one odd byte in a header that nobody
//! asked for; and it parses every header, query and context field on every call. These few fields, read straight from
//! the JSON, cannot fail on anything that a gateway sends, and cost less. The runtime is `lambda_http`'s.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};

/// Which of the gateway's two payloads an event is, since they differ in what is percent-decoded already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// HTTP API, payload 2.0 (a function URL sends the same): paths and path parameters arrive decoded.
    HttpApi,
    /// REST API, payload 1.0 (a load balancer's event is alike): paths and path parameters arrive as they were sent.
    RestApi,
}

/// The parts of an event that this function looks at. It holds a caller's values, so it has no `Debug`.
pub struct Event {
    /// Which payload it is.
    pub shape: Shape,
    /// The method, as sent.
    pub method: String,
    /// The path template that the gateway matched, where it matched one: `/cdm/client/{client_id}/…`.
    pub template: Option<String>,
    /// The values of the template's parameters.
    pub parameters: Parameters,
    /// The whole path.
    pub path: String,
    /// The headers that matter.
    pub headers: Headers,
    /// The body, where there is one.
    pub body: Option<String>,
    /// Whether the body is base64.
    pub is_base64: bool,
    /// The gateway's id of the request.
    pub request_id: Option<String>,
}

/// The event is no HTTP request: nobody to whom a status could be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAnHttpEvent;

impl Event {
    /// Reads an event of API Gateway, or of what sends the same shapes.
    ///
    /// # Errors
    /// [`NotAnHttpEvent`] where the JSON has neither shape.
    pub fn read(json: &str) -> Result<Self, NotAnHttpEvent> {
        let raw: RawEvent = serde_json::from_str(json).map_err(|_| NotAnHttpEvent)?;
        let context = raw.request_context.ok_or(NotAnHttpEvent)?;
        let (shape, method, path, template) = match (context.http, raw.http_method) {
            (Some(http), _) => {
                // `ANY /path`, `PUT /path` or `$default`.
                let template = raw.route_key.and_then(|key| Some(key.split_once(' ')?.1.to_owned()));
                (Shape::HttpApi, http.method, raw.raw_path, template)
            }
            (None, Some(method)) => (Shape::RestApi, method, raw.path, raw.resource),
            _ => return Err(NotAnHttpEvent),
        };
        // REST API repeats every header under `multiValueHeaders`, with all its values.
        let headers = raw.multi_value_headers.or(raw.headers).unwrap_or_default();
        Ok(Self {
            shape,
            method,
            template,
            parameters: raw.path_parameters.unwrap_or_default(),
            path: path.ok_or(NotAnHttpEvent)?,
            headers,
            body: raw.body,
            is_base64: raw.is_base64_encoded.unwrap_or(false),
            request_id: context.request_id,
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawEvent {
    http_method: Option<String>,
    path: Option<String>,
    resource: Option<String>,
    raw_path: Option<String>,
    route_key: Option<String>,
    path_parameters: Option<Parameters>,
    headers: Option<Headers>,
    multi_value_headers: Option<Headers>,
    body: Option<String>,
    is_base64_encoded: Option<bool>,
    request_context: Option<Context>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Context {
    request_id: Option<String>,
    http: Option<Http>,
}

#[derive(Deserialize)]
struct Http {
    method: String,
}

/// The values of a matched template's parameters, as the gateway gives them.
#[derive(Default, Deserialize)]
pub struct Parameters {
    /// Of `{client_id}`.
    pub client_id: Option<String>,
    /// Of `{ccid}`.
    pub ccid: Option<String>,
    /// Of `{phone_number}`.
    pub phone_number: Option<String>,
}

/// The two headers of the contract. Names are compared without case; values of a repeated header are joined with a
/// comma, as HTTP has it, so that two API keys are no key.
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

/// One value (`headers`) or several (`multiValueHeaders`).
#[derive(Deserialize)]
#[serde(untagged)]
enum Values {
    One(String),
    Several(Vec<String>),
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

/// A header's name, not copied where the JSON has it without escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);
