//! Reads the fields of a request, and collects every rule that they break.

use super::event::Event;
use super::json_body::JsonBody;
use super::route::PathParameters;
use super::{FieldError, RequestError};
use crate::domain::{
    Ccid, ChannelField, ChannelFields, ChannelType, ClientSource, ConsentType, CountryCode, IdempotencyKey, Number,
    Phone, Rule, parse_stated_number,
};

/// The fields of a request. Read all of them, then call [`Fields::finish`], which returns the errors in the contract's
/// order: path, headers, query, body.
pub struct Fields<'a> {
    event: &'a Event,
    parameters: &'a PathParameters<'a>,
    body: JsonBody,
    errors: Vec<FieldError>,
}

impl<'a> Fields<'a> {
    /// The fields of an event whose path has these parameters.
    pub fn new(event: &'a Event, parameters: &'a PathParameters<'a>) -> Self {
        Self { event, parameters, body: JsonBody::parse(event), errors: Vec::new() }
    }

    /// The fields of a request whose body is not read, whatever it is.
    pub fn without_body(event: &'a Event, parameters: &'a PathParameters<'a>) -> Self {
        Self { event, parameters, body: JsonBody::empty(), errors: Vec::new() }
    }

    /// The path parameter `{ccid}`.
    pub fn ccid(&mut self) -> Option<Ccid> {
        let ccid = path_text(self.parameters, "ccid").and_then(Ccid::parse);
        self.check("path.ccid", ccid)
    }

    /// The header `Idempotency-Key`. The outer option is `None` if the header is invalid.
    pub fn idempotency_key(&mut self) -> Option<Option<IdempotencyKey>> {
        let key = self.event.headers.idempotency_key.as_deref().map(IdempotencyKey::parse).transpose();
        self.check("header.idempotency-key", key)
    }

    /// The fields of a channel: the path parameter `{phone_number}` and the members of the body.
    pub fn channel(&mut self) -> Option<ChannelFields> {
        let Self { parameters, body, errors, .. } = self;
        let text = |field| match field {
            ChannelField::PhoneNumber => path_text(parameters, field.name()).map(Some),
            _ => body.text(field.name()),
        };
        ChannelFields::parse(text, |field, rule| errors.push(FieldError { field: full_name(field), rule }))
    }

    /// A phone number in either form, and the country code of the body.
    pub fn phone(&mut self) -> Option<Phone> {
        self.phone_and_body(Number::phone)
    }

    /// The same, but only the number's only E.164 form is accepted.
    pub fn canonical_phone(&mut self) -> Option<Phone> {
        self.phone_and_body(Number::canonical_phone)
    }

    fn phone_and_body(&mut self, read: ReadNumber<'a>) -> Option<Phone> {
        let stated = stated_phone(self.parameters, self.body.text(ChannelField::CountryCode.name()), read);
        self.check_phone(stated, &full_name(ChannelField::CountryCode))
    }

    /// A phone number in either form, and the country code of the query string.
    pub fn phone_and_query(&mut self) -> Option<Phone> {
        let name = ChannelField::CountryCode.name();
        // A country code never begins with a space. A gateway may have decoded a plus sign as one; AWS does not document which
        // ones do.
        let plus = |code: String| code.strip_prefix(' ').map(|digits| format!("+{digits}")).unwrap_or(code);
        let country_code = self.event.query.get(name).map(|code| code.map(plus));
        let country_code = country_code.as_ref().map(Option::as_deref).map_err(|rule| *rule);
        let stated = stated_phone(self.parameters, country_code, Number::phone);
        self.check_phone(stated, &format!("query.{name}"))
    }

    fn check_phone(
        &mut self,
        (phone, country_code): (Result<Option<Phone>, Rule>, Result<(), Rule>),
        country_code_field: &str,
    ) -> Option<Phone> {
        let phone = self.check(&full_name(ChannelField::PhoneNumber), phone);
        self.check(country_code_field, country_code);
        phone.flatten()
    }

    /// The path parameter `{channel_type}`.
    pub fn channel_type(&mut self) -> Option<ChannelType> {
        let channel_type = path_text(self.parameters, "channel_type").and_then(ChannelType::parse);
        self.check("path.channel_type", channel_type)
    }

    /// The member `consent_type` of the body, which must be present.
    pub fn consent_type(&mut self) -> Option<ConsentType> {
        let text = self.body.text(ChannelField::ConsentType.name());
        let consent_type = text.and_then(|text| ConsentType::parse(text.ok_or(Rule::REQUIRED)?));
        self.check(&full_name(ChannelField::ConsentType), consent_type)
    }

    /// Checks the member `client_source` of the body, for an operation that does not use it.
    pub fn check_client_source(&mut self) {
        let source = self.body.text(ChannelField::ClientSource.name());
        let source = source.and_then(|source| source.map(ClientSource::parse).transpose());
        self.check(&full_name(ChannelField::ClientSource), source);
    }

    /// Checks that the body has no members other than `body_fields`, then returns `value` if every field was valid.
    ///
    /// # Errors
    /// [`RequestError::Invalid`] with every invalid field.
    pub fn finish<T>(mut self, body_fields: &[ChannelField], value: Option<T>) -> Result<T, RequestError> {
        let known: Vec<_> = body_fields.iter().map(|field| field.name()).collect();
        self.body.check(&known, |field, rule| self.errors.push(FieldError { field, rule }));
        match value {
            Some(value) if self.errors.is_empty() => Ok(value),
            _ => {
                let mut errors = Vec::with_capacity(self.errors.len());
                // Section by section, because a sort would cost 20 kB of code.
                for section in ["path", "header", "query", "body"] {
                    errors.extend(self.errors.extract_if(.., |error| error.field.starts_with(section)));
                }
                Err(RequestError::Invalid(errors))
            }
        }
    }

    fn check<T>(&mut self, field: &str, value: Result<T, Rule>) -> Option<T> {
        value.map_err(|rule| self.errors.push(FieldError { field: field.to_owned(), rule })).ok()
    }
}

/// How a number and a country code become a phone.
type ReadNumber<'a> = fn(Number<'a>, CountryCode) -> Result<Phone, Rule>;

/// The phone of the path under this country code, and the rule that the country code breaks. If only the country code is
/// invalid, there is no phone, and the number breaks no rule.
fn stated_phone<'a>(
    parameters: &'a PathParameters<'_>,
    country_code: Result<Option<&str>, Rule>,
    read: ReadNumber<'a>,
) -> (Result<Option<Phone>, Rule>, Result<(), Rule>) {
    let number = path_text(parameters, ChannelField::PhoneNumber.name()).map(Some);
    let (number, country_code) = parse_stated_number(number, country_code);
    (number.and_then(|number| number.map(|(number, code)| read(number, code)).transpose()), country_code)
}

/// `path.phone_number`, `body.consent_type`, …
fn full_name(field: ChannelField) -> String {
    let section = if field == ChannelField::PhoneNumber { "path" } else { "body" };
    format!("{section}.{}", field.name())
}

fn path_text<'a>(parameters: &'a PathParameters<'_>, name: &str) -> Result<&'a str, Rule> {
    parameters.get(name).ok_or(Rule::PERCENT_ENCODED)
}
