//! What callers are told: the one table from outcome to status, code and message.

use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use crate::domain::{Ccid, Channel, ClientId};
use crate::error::{Error, FieldError};
use crate::store::CustomerRecord;

/// An answer to the gateway, in the shape that both its payloads take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Response {
    /// The HTTP status.
    pub status_code: u16,
    /// Header names are lower case.
    #[serde(serialize_with = "as_map")]
    pub headers: Vec<(&'static str, &'static str)>,
    /// JSON.
    pub body: String,
    /// Always false: JSON is text.
    pub is_base64_encoded: bool,
    /// The `code` of an error; `None` on success. Not part of the answer's own JSON: it is in the body.
    #[serde(skip)]
    pub code: Option<&'static str>,
}

fn as_map<S: Serializer>(headers: &[(&'static str, &'static str)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(headers.iter().copied())
}

/// How long a caller is asked to wait before it repeats a request that wrote nothing, in seconds. One of these is drawn
/// at random, so that requests that were refused together do not come back together.
const RETRY_AFTER: [&str; 5] = ["1", "2", "3", "4", "5"];

impl Response {
    fn new(status_code: u16, code: Option<&'static str>, body: String) -> Self {
        // Health data: no cache on the way may keep it.
        let headers = vec![("content-type", "application/json; charset=utf-8"), ("cache-control", "no-store")];
        Self { status_code, headers, body, is_base64_encoded: false, code }
    }

    /// 200: the number has been added. The three values are the caller's own.
    pub fn added(phone_number: &str, ccid: &str, client_id: &str) -> Self {
        Self::message(&format!(
            "Phone number {phone_number} has been added to customer with ccid {ccid} for client {client_id}."
        ))
    }

    /// 200: the number has been removed. The three values are the caller's own.
    pub fn removed(phone_number: &str, ccid: &str, client_id: &str) -> Self {
        Self::message(&format!(
            "Phone number {phone_number} has been removed from customer with ccid {ccid} for client {client_id}."
        ))
    }

    /// 200: the customer's record.
    pub fn customer(client_id: &ClientId, ccid: &Ccid, record: &CustomerRecord) -> Self {
        Self::new(200, None, customer_json(client_id, ccid, record).to_string())
    }

    /// The same answer, to a repeat that wrote nothing.
    pub fn replayed(mut self) -> Self {
        self.headers.push(("idempotency-replayed", "true"));
        self
    }

    fn message(message: &str) -> Self {
        Self::new(200, None, json!({ "message": message }).to_string())
    }

    /// An error, with the gateway's id of the request.
    pub fn error(error: &Error, request_id: &str) -> Self {
        #[derive(Serialize)]
        struct Envelope<'a> {
            message: &'a str,
            code: &'a str,
            request_id: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            errors: Option<Vec<Field<'a>>>,
        }
        #[derive(Serialize)]
        struct Field<'a> {
            field: &'a str,
            message: &'a str,
        }
        fn field(error: &FieldError) -> Field<'_> {
            Field { field: &error.field, message: error.rule.0 }
        }
        let (status, code, message) = row(error);
        let errors = match error {
            Error::InvalidRequest(errors) => Some(errors.iter().map(field).collect()),
            _ => None,
        };
        let envelope = Envelope { message, code, request_id, errors };
        // Strings under string keys always serialise.
        let mut answer = Self::new(status, Some(code), serde_json::to_string(&envelope).unwrap_or_default());
        match error {
            Error::MethodNotAllowed { allow } => answer.headers.push(("allow", allow)),
            Error::TryAgain(_) => {
                answer.headers.extend(fastrand::choice(RETRY_AFTER).map(|seconds| ("retry-after", seconds)));
            }
            _ => {}
        }
        answer
    }
}

/// A customer's record as callers see it.
pub fn customer_json(client_id: &ClientId, ccid: &Ccid, record: &CustomerRecord) -> Value {
    json!({
        "client_id": client_id.as_str(),
        "ccid": ccid.as_str(),
        "created_at": record.created_at.to_rfc3339(),
        "phone_count": record.channels.len(),
        "notification_channels": record.channels.iter().map(channel_json).collect::<Vec<_>>(),
    })
}

fn channel_json(channel: &Channel) -> Value {
    let mut json = json!({
        "channel_type": "sms",
        "channel_addr": channel.phone.e164(),
        "phone_number": channel.phone.dialled(),
        "country_code": channel.phone.country_code().number().to_string(),
        "phone_type": channel.phone_type.as_str(),
        "client_source": channel.client_source.as_str(),
        "created_at": channel.created_at.to_rfc3339(),
    });
    if let (Some(consent), Some(fields)) = (channel.consent_type, json.as_object_mut()) {
        fields.insert("consent_type".to_owned(), consent.as_str().into());
    }
    json
}

/// The table: status, `code` for programs, `message` for people.
fn row(error: &Error) -> (u16, &'static str, &'static str) {
    match error {
        Error::InvalidRequest(_) => (400, "invalid_request", "The request is invalid: see errors."),
        Error::Unauthorized => {
            (401, "unauthorized", "Unauthorized: the x-relay-api-key header is missing or not valid for this client.")
        }
        Error::RouteNotFound => (404, "route_not_found", "No such route. Please verify the path."),
        Error::CustomerNotFound => (404, "customer_not_found", "The client has no customer with this ccid."),
        Error::PhoneNotFound => (404, "phone_not_found", "The customer has no such phone number."),
        Error::MethodNotAllowed { .. } => {
            (405, "method_not_allowed", "This route does not take this method: see the Allow header.")
        }
        Error::PhoneAlreadyAdded => {
            (409, "phone_already_added", "The phone number is already on this customer's record.")
        }
        Error::CustomerPhoneLimitReached => {
            (409, "customer_phone_limit_reached", "The customer already has 50 phone numbers.")
        }
        Error::PhoneCustomerLimitReached => {
            (409, "phone_customer_limit_reached", "The phone number is already on 50 customers.")
        }
        Error::IdempotencyKeyReused => (
            409,
            "idempotency_key_reused",
            "The Idempotency-Key was used for this customer and phone number with other values.",
        ),
        Error::TryAgain(_) => (500, "try_again", "Nothing was written. Please retry your request."),
        Error::Internal(_) => (
            500,
            "internal_error",
            "An unexpected error occurred and the outcome is unknown. Please retry your request: phone_already_added \
             then means that the number is there.",
        ),
    }
}
