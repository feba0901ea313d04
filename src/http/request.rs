//! From path, headers and body to a domain value, or to every reason why not.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

use crate::domain::{
    Ccid, Channel, ClientId, ClientSource, ConsentType, CountryCode, Digits, IdempotencyKey, Number, Phone, PhoneType,
};
use crate::error::{Error, FieldError, Rule};
use crate::http::event::Event;
use crate::http::route::{PathValue, Route};
use crate::store::{AddPhone, RemovePhone};
use crate::time::UnixMillis;

/// The largest body that is parsed, in bytes after base64.
const LARGEST_BODY: usize = 16 * 1024;

/// Reads an add. The key check has been passed, and the client's name with it.
///
/// # Errors
/// [`Error::InvalidRequest`] with every bad field: path, headers, body.
pub fn add_phone(client_id: ClientId, route: &Route<'_>, event: &Event, now: UnixMillis) -> Result<AddPhone, Error> {
    let mut errors = Errors::default();
    let body = Body::read(event);
    let ccid = errors.check("path.ccid", ccid(route));
    let country_code = body.country_code();
    let phone = errors.check("path.phone_number", phone(route, country_code));
    let idempotency_key = errors.check(
        "header.idempotency-key",
        event.headers.idempotency_key.as_deref().map(IdempotencyKey::parse).transpose(),
    );
    let consent_type = errors.check("body.consent_type", body.parse("consent_type", ConsentType::parse));
    let phone_type = errors.check("body.phone_type", body.parse("phone_type", PhoneType::parse));
    errors.check("body.country_code", country_code);
    let client_source = errors.check("body.client_source", body.parse("client_source", ClientSource::parse));
    body.check(&["consent_type", "phone_type", "country_code", "client_source"], &mut errors);

    match (ccid, phone.flatten(), idempotency_key, consent_type, phone_type, client_source) {
        (Some(ccid), Some(phone), Some(key), Some(consent_type), Some(phone_type), Some(client_source))
            if errors.0.is_empty() =>
        {
            let mut channel = Channel {
                phone,
                phone_type: phone_type.unwrap_or_default(),
                consent_type,
                client_source: client_source.unwrap_or_default(),
                created_at: now,
                fingerprint: None,
            };
            channel.fingerprint = key.map(|key| channel.fingerprint_for(&key));
            Ok(AddPhone { client_id, ccid, channel })
        }
        _ => Err(Error::InvalidRequest(errors.0)),
    }
}

/// Reads a removal. `client_source` is checked and not used. The number may be in the form that a record shows.
///
/// # Errors
/// [`Error::InvalidRequest`] with every bad field: path, body.
pub fn remove_phone(client_id: ClientId, route: &Route<'_>, event: &Event) -> Result<RemovePhone, Error> {
    let mut errors = Errors::default();
    let body = Body::read(event);
    let ccid = errors.check("path.ccid", ccid(route));
    let number = errors.check("path.phone_number", path_value(&route.phone_number).and_then(Number::parse));
    let stated = body.parse("country_code", CountryCode::parse);
    let country_code = stated.and_then(|stated| match (&number, stated) {
        (Some(number), Some(stated)) => number.agrees_with(stated).map(|()| stated),
        _ => Ok(stated.unwrap_or_default()),
    });
    // Without a country code good digits make no number yet, which is no error of theirs.
    let phone = number.zip(country_code.ok()).map(|(number, country_code)| number.phone(country_code));
    let phone = phone.and_then(|phone| errors.check("path.phone_number", phone));
    errors.check("body.country_code", country_code);
    errors.check("body.client_source", body.parse("client_source", ClientSource::parse));
    body.check(&["country_code", "client_source"], &mut errors);
    match (ccid, phone) {
        (Some(ccid), Some(phone)) if errors.0.is_empty() => Ok(RemovePhone { client_id, ccid, phone }),
        _ => Err(Error::InvalidRequest(errors.0)),
    }
}

/// Reads whose record is wanted. A GET's body, if there is one, is not looked at.
///
/// # Errors
/// [`Error::InvalidRequest`] with every bad field of the path.
pub fn customer(route: &Route<'_>) -> Result<Ccid, Error> {
    let mut errors = Errors::default();
    errors.check("path.ccid", ccid(route)).ok_or(Error::InvalidRequest(errors.0))
}

fn ccid(route: &Route<'_>) -> Result<Ccid, Rule> {
    path_value(&route.ccid).and_then(Ccid::parse)
}

/// The number, which takes the country code too. Each is judged by itself first: with a bad country code, good digits
/// are no error, and no number yet.
fn phone(route: &Route<'_>, country_code: Result<CountryCode, Rule>) -> Result<Option<Phone>, Rule> {
    let digits = path_value(&route.phone_number).and_then(Digits::parse)?;
    country_code.ok().map(|country_code| Phone::new(digits, country_code)).transpose()
}

fn path_value<'a>(value: &'a PathValue<'_>) -> Result<&'a str, Rule> {
    value.as_deref().ok_or(Rule("must be percent-encoded UTF-8"))
}

/// Every bad field found so far.
#[derive(Default)]
struct Errors(Vec<FieldError>);

impl Errors {
    fn add(&mut self, field: &str, rule: Rule) {
        self.0.push(FieldError { field: field.to_owned(), rule });
    }

    fn check<T>(&mut self, field: &str, value: Result<T, Rule>) -> Option<T> {
        value.map_err(|rule| self.add(field, rule)).ok()
    }
}

/// The members of the body's JSON object, in order, repeated ones included; or the rule that the body as a whole breaks.
struct Body(Result<Vec<(String, Value)>, Rule>);

impl Body {
    fn read(event: &Event) -> Self {
        Self(Self::members(event))
    }

    /// An absent or empty body is `{}`.
    fn members(event: &Event) -> Result<Vec<(String, Value)>, Rule> {
        const TOO_LARGE: Rule = Rule("must be at most 16 KiB");
        let text = event.body.as_deref().unwrap_or_default();
        let bytes = if event.is_base64 {
            // What cannot decode to a body that is small enough is not decoded at all.
            if text.len() > LARGEST_BODY.div_ceil(3) * 4 {
                return Err(TOO_LARGE);
            }
            Cow::Owned(STANDARD.decode(text).map_err(|_| Rule("must be valid base64 where it is marked as base64"))?)
        } else {
            Cow::Borrowed(text.as_bytes())
        };
        if bytes.len() > LARGEST_BODY {
            return Err(TOO_LARGE);
        }
        if bytes.is_empty() {
            return Ok(Vec::new());
        }
        let Members(members) = serde_json::from_slice(&bytes).map_err(|_| Rule("must be one valid JSON object"))?;
        Ok(members)
    }

    /// A member's value, if it is there. A body that is bad as a whole has none: that is an error of its own.
    fn parse<T>(&self, name: &str, parse: impl Fn(&str) -> Result<T, Rule>) -> Result<Option<T>, Rule> {
        let mut values = self.0.iter().flatten().filter(|(member, _)| member == name).map(|(_, value)| value);
        match (values.next(), values.next()) {
            (None, _) => Ok(None),
            (Some(_), Some(_)) => Err(Rule("must not be there more than once")),
            (Some(Value::String(text)), None) => parse(text).map(Some),
            (Some(_), None) => Err(Rule("must be a string")),
        }
    }

    fn country_code(&self) -> Result<CountryCode, Rule> {
        Ok(self.parse("country_code", CountryCode::parse)?.unwrap_or_default())
    }

    /// Reports what is wrong with the body as a whole, and members that are not of the contract: a misspelt name must
    /// never be dropped silently.
    fn check(&self, known: &[&str], errors: &mut Errors) {
        let members = match &self.0 {
            Ok(members) => members,
            Err(rule) => return errors.add("body", *rule),
        };
        let mut unknown = BTreeSet::new();
        for (name, _) in members {
            if !known.contains(&name.as_str()) && unknown.insert(name) {
                let field = if is_field_name(name) { format!("body.{name}") } else { "body".to_owned() };
                errors.add(&field, Rule("is not known to this request"));
            }
        }
    }
}

/// Whether a member's name may be repeated in an answer: a misspelt field looks like this, a phone number does not.
fn is_field_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    name.len() <= 64
        && bytes.next().is_some_and(|first| first.is_ascii_alphabetic())
        && bytes.all(|byte| byte.is_ascii_alphabetic() || byte == b'_')
}

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
