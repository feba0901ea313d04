//! Responses to the gateway, and the JSON in them.

use std::borrow::Cow;

use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use super::FieldError;
use crate::domain::{Ccid, Channel, ChannelType, ClientId, Consent, CustomerRecord, Phone, PhoneRecord};

/// A response to the gateway, in the format that both payload formats accept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Response {
    /// The HTTP status.
    pub status_code: u16,
    /// Names are lower case.
    #[serde(serialize_with = "as_map")]
    pub headers: Vec<(&'static str, Cow<'static, str>)>,
    /// JSON.
    pub body: String,
    /// Always false, because JSON is text.
    pub is_base64_encoded: bool,
    /// The `code` of an error, or `None` for a success. Only the log reads it; the caller finds the code in the body.
    #[serde(skip)]
    pub code: Option<&'static str>,
}

fn as_map<S: Serializer>(headers: &[(&'static str, Cow<'static, str>)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(headers.iter().map(|(name, value)| (name, value)))
}

impl Response {
    fn new(status_code: u16, code: Option<&'static str>, body: String) -> Self {
        let headers = vec![
            ("content-type", "application/json; charset=utf-8".into()),
            // The response is health data, which no cache may keep.
            ("cache-control", "no-store".into()),
        ];
        Self { status_code, headers, body, is_base64_encoded: false, code }
    }

    /// 200 with `{"message": …}`.
    pub fn message(message: &str) -> Self {
        Self::new(200, None, json!({ "message": message }).to_string())
    }

    /// 201 with `{"message": …}`.
    pub fn created(message: &str) -> Self {
        Self { status_code: 201, ..Self::message(message) }
    }

    /// 200 with the consent of a number.
    pub fn consent(client_id: &ClientId, phone: &Phone, consent: Consent) -> Self {
        Self::new(200, None, json!({ "consent": consent_json(client_id, phone, consent) }).to_string())
    }

    /// 200 with a phone number's customers and consent.
    pub fn phone(client_id: &ClientId, phone: &Phone, record: &PhoneRecord) -> Self {
        Self::new(200, None, phone_json(client_id, phone, record).to_string())
    }

    /// 200 with a customer's record.
    pub fn customer(client_id: &ClientId, ccid: &Ccid, record: &CustomerRecord) -> Self {
        Self::new(200, None, customer_json(client_id, ccid, record).to_string())
    }

    /// An error, in the contract's envelope.
    pub fn error(status_code: u16, error: &ErrorBody<'_>) -> Self {
        // Strings under string keys always serialise.
        Self::new(status_code, Some(error.code), serde_json::to_string(error).unwrap_or_default())
    }

    /// Adds a header. `name` is lower case.
    pub fn with_header(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// The body of an error.
#[derive(Debug, Clone, Serialize)]
pub struct ErrorBody<'a> {
    /// For people.
    pub message: &'a str,
    /// For programs.
    pub code: &'static str,
    /// The gateway's id of the request.
    pub request_id: &'a str,
    /// The invalid fields of a 400.
    #[serde(skip_serializing_if = "<[_]>::is_empty", serialize_with = "as_fields")]
    pub errors: &'a [FieldError],
}

fn as_fields<S: Serializer>(errors: &[FieldError], serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Field<'a> {
        field: &'a str,
        message: &'static str,
    }
    serializer.collect_seq(errors.iter().map(|error| Field { field: &error.field, message: error.rule.0 }))
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

/// The consent of a number as callers see it.
pub fn consent_json(client_id: &ClientId, phone: &Phone, consent: Consent) -> Value {
    json!({
        "client_id": client_id.as_str(),
        "channel_type": ChannelType.as_str(),
        "channel_addr": phone.e164(),
        "consent_type": consent.consent_type.as_str(),
        "created_at": consent.created_at.to_rfc3339(),
        "updated_at": consent.updated_at.to_rfc3339(),
    })
}

/// A phone number as callers see it.
pub fn phone_json(client_id: &ClientId, phone: &Phone, record: &PhoneRecord) -> Value {
    let mut json = json!({
        "client_id": client_id.as_str(),
        "channel_addr": phone.e164(),
        "phone_number": phone.dialled(),
        "country_code": phone.country_code().number().to_string(),
        "ccid_count": record.ccids.len(),
        "ccids": record.ccids,
    });
    if let (Some(consent), Some(fields)) = (record.consent, json.as_object_mut()) {
        fields.insert("consent".to_owned(), consent_json(client_id, phone, consent));
    }
    json
}

fn channel_json(channel: &Channel) -> Value {
    let mut json = json!({
        "channel_type": ChannelType.as_str(),
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
