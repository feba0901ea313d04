//! A caller's requests, and the events that the two types of API Gateway make of them.

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};
use testkit::demo;

use crate::helpers::log;

/// A caller's request, before a gateway converts it to an event.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    method: &'static str,
    base: String,
    template: &'static str,
    parameters: Vec<(&'static str, String)>,
    query: String,
    headers: Vec<(String, String)>,
    body: Option<String>,
}

const ADD: &str = "/cdm/client/{client_id}/customer/{ccid}/add_phone/{phone_number}";
const REMOVE: &str = "/cdm/client/{client_id}/customer/{ccid}/remove_phone/{phone_number}";
const CUSTOMER: &str = "/cdm/client/{client_id}/customer/{ccid}";
const PHONE: &str = "/cdm/client/{client_id}/phone/{phone_number}";
const CONSENT: &str = "/messaging/client/{client_id}/consent/channel_addr/{phone_number}/channel_type/{channel_type}";

/// An add by the demo client.
pub(crate) fn add(ccid: &str, phone_number: &str) -> Request {
    let mut request = customer(ccid);
    request.parameters.push(("phone_number", phone_number.to_owned()));
    Request { method: "PUT", template: ADD, ..request }
}

/// A removal by the demo client.
pub(crate) fn remove(ccid: &str, phone_number: &str) -> Request {
    Request { template: REMOVE, ..add(ccid, phone_number) }
}

/// A creation of a customer by the demo client.
pub(crate) fn create(ccid: &str) -> Request {
    Request { method: "PUT", ..customer(ccid) }
}

/// A deletion of a customer by the demo client.
pub(crate) fn delete(ccid: &str) -> Request {
    Request { method: "DELETE", ..customer(ccid) }
}

/// A retrieval of a number by the demo client.
pub(crate) fn phone(phone_number: &str) -> Request {
    let mut request = customer("");
    request.parameters[1] = ("phone_number", phone_number.to_owned());
    Request { template: PHONE, ..request }
}

/// A change of consent by the demo client.
pub(crate) fn consent(phone_number: &str, consent_type: &str) -> Request {
    let mut request = phone(phone_number);
    request.parameters.push(("channel_type", "sms".to_owned()));
    Request { method: "PUT", template: CONSENT, ..request }.body(json!({ "consent_type": consent_type }))
}

/// A retrieval by the demo client.
pub(crate) fn customer(ccid: &str) -> Request {
    Request {
        method: "GET",
        base: String::new(),
        template: CUSTOMER,
        parameters: vec![("client_id", demo::CLIENT.to_owned()), ("ccid", ccid.to_owned())],
        query: String::new(),
        headers: vec![("x-relay-api-key".to_owned(), demo::KEY.to_owned())],
        body: None,
    }
}

impl Request {
    /// Whether it changes a consent to this value.
    pub(crate) fn is_change_to(&self, consent_type: &str) -> bool {
        self.template == CONSENT && self.body.as_ref().is_some_and(|body| body.contains(consent_type))
    }

    pub(crate) fn client(mut self, client_id: &str) -> Self {
        client_id.clone_into(&mut self.parameters[0].1);
        self
    }

    /// Another value of a path parameter.
    pub(crate) fn parameter(mut self, name: &str, value: &str) -> Self {
        let parameter = self.parameters.iter_mut().find(|(known, _)| *known == name).unwrap();
        value.clone_into(&mut parameter.1);
        self
    }

    /// A query string, as a caller sends it.
    pub(crate) fn query(self, query: &str) -> Self {
        Self { query: query.to_owned(), ..self }
    }

    pub(crate) fn method(self, method: &'static str) -> Self {
        Self { method, ..self }
    }

    /// Puts a stage or a base path before the route.
    pub(crate) fn base(self, base: &str) -> Self {
        Self { base: base.to_owned(), ..self }
    }

    pub(crate) fn key(self, key: &str) -> Self {
        self.no_key().header("x-relay-api-key", key)
    }

    pub(crate) fn no_key(mut self) -> Self {
        self.headers.retain(|(name, _)| name != "x-relay-api-key");
        self
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn body(self, body: impl Into<Body>) -> Self {
        Self { body: Some(body.into().0), ..self }
    }

    fn path(&self, encode: impl Fn(&str) -> String) -> String {
        let mut path = format!("{}{}", self.base, self.template);
        for (name, value) in &self.parameters {
            path = path.replace(&format!("{{{name}}}"), &encode(value));
        }
        path
    }

    fn headers(&self) -> Map<String, Value> {
        self.headers.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect()
    }

    /// The event of HTTP API: the path and its parameters are decoded, header names are in lower case.
    pub(crate) fn http_event(&self) -> Value {
        log::sent(self.secrets());
        let path = self.path(str::to_owned);
        let headers: Map<_, _> = self.headers().into_iter().map(|(name, value)| (name.to_lowercase(), value)).collect();
        let parameters: Map<_, _> =
            self.parameters.iter().map(|(name, value)| ((*name).to_owned(), value.as_str().into())).collect();
        json!({
            "version": "2.0",
            "routeKey": format!("ANY {}", self.template),
            "rawPath": path.split('?').next(),
            "rawQueryString": self.query,
            "headers": headers,
            "pathParameters": parameters,
            "requestContext": {
                "requestId": "gateway-request",
                "http": { "method": self.method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1" },
                "stage": "$default",
            },
            "body": self.body,
            "isBase64Encoded": false,
        })
    }

    /// The event of REST API: the path and its parameters are encoded, header names are as sent.
    pub(crate) fn rest_event(&self) -> Value {
        log::sent(self.secrets());
        let path = self.path(encoded);
        let parameters: Map<_, _> =
            self.parameters.iter().map(|(name, value)| ((*name).to_owned(), encoded(value).into())).collect();
        let multi: Map<_, _> = self.headers().into_iter().map(|(name, value)| (name, json!([value]))).collect();
        let mut query = Map::new();
        for pair in self.query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            // REST API decodes the values, and a plus sign as a space.
            let value = percent_decode_str(&value.replace('+', " ")).decode_utf8_lossy().into_owned();
            query.entry(name).or_insert_with(|| json!([])).as_array_mut().unwrap().push(value.into());
        }
        json!({
            "resource": self.template,
            "path": path,
            "httpMethod": self.method,
            "headers": self.headers(),
            "multiValueHeaders": multi,
            "multiValueQueryStringParameters": query,
            "pathParameters": parameters,
            "requestContext": { "requestId": "gateway-request", "stage": "prod", "httpMethod": self.method },
            "body": self.body,
            "isBase64Encoded": false,
        })
    }

    /// The values that must not be in any log line.
    fn secrets(&self) -> Vec<String> {
        let parameters =
            self.parameters.iter().filter(|(name, _)| *name != "client_id").map(|(_, value)| value.clone());
        let headers = self.headers.iter().map(|(_, value)| value.clone());
        parameters.chain(headers).chain(self.body.clone()).collect()
    }
}

/// Percent-encodes every byte that is not unreserved.
pub(crate) fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

/// The text of a body, made of text or JSON.
pub(crate) struct Body(String);

impl From<Value> for Body {
    fn from(json: Value) -> Self {
        Self(json.to_string())
    }
}

impl From<&Value> for Body {
    fn from(json: &Value) -> Self {
        Self(json.to_string())
    }
}

impl From<&str> for Body {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Self(text)
    }
}
