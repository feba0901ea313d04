//! The one parser of a channel's fields. The API, the import and the command line read their texts through it.

use super::{Channel, ClientSource, ConsentType, CountryCode, Digits, Number, Phone, PhoneType, Rule};
use crate::time::UnixMillis;

/// A field that describes a channel. The API, the import and the command line use the same names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChannelField {
    /// The phone number; the only required field.
    PhoneNumber,
    /// The consent.
    ConsentType,
    /// The type of the line.
    PhoneType,
    /// The calling code, `1` if absent.
    CountryCode,
    /// The source that the client names.
    ClientSource,
}

impl ChannelField {
    /// Every field, in the order of the contract. Errors are reported in this order.
    pub const ALL: [Self; 5] =
        [Self::PhoneNumber, Self::ConsentType, Self::PhoneType, Self::CountryCode, Self::ClientSource];

    /// The fields that an add takes from its body.
    pub const BODY: [Self; 4] = [Self::ConsentType, Self::PhoneType, Self::CountryCode, Self::ClientSource];

    /// The contract's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::PhoneNumber => "phone_number",
            Self::ConsentType => "consent_type",
            Self::PhoneType => "phone_type",
            Self::CountryCode => "country_code",
            Self::ClientSource => "client_source",
        }
    }
}

/// The parsed fields of a channel, with defaults for those that are absent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelFields {
    /// The number.
    pub phone: Phone,
    /// The type of the line.
    pub phone_type: PhoneType,
    /// The consent, if one was stated.
    pub consent_type: Option<ConsentType>,
    /// The source that the client names.
    pub client_source: ClientSource,
}

/// The text of a field: `None` if it is absent, a rule if it is not a text.
type Text<'a> = Result<Option<&'a str>, Rule>;

impl ChannelFields {
    /// Reads the fields of an API request, whose phone number is 10 to 11 digits. `text` returns a field's text. Each
    /// broken rule goes to `report`, in the order of [`ChannelField::ALL`]. Returns `None` if it reported any.
    pub fn parse<'a>(text: impl Fn(ChannelField) -> Text<'a>, report: impl FnMut(ChannelField, Rule)) -> Option<Self> {
        let country_code = optional(text(ChannelField::CountryCode), CountryCode::parse);
        let digits = required(text(ChannelField::PhoneNumber), Digits::parse);
        // Valid digits under an invalid country code are neither a phone nor an error of the phone number.
        let phone = digits.and_then(|digits| match country_code {
            Ok(country_code) => Phone::new(digits, country_code.unwrap_or_default()).map(Some),
            Err(_) => Ok(None),
        });
        Self::collect(text, report, phone, country_code.map(drop))
    }

    /// Like [`ChannelFields::parse`], for the operator's tools: the phone number may also be in E.164 form, which must
    /// then be the number's only E.164 form.
    pub fn parse_any_form<'a>(
        text: impl Fn(ChannelField) -> Text<'a>,
        report: impl FnMut(ChannelField, Rule),
    ) -> Option<Self> {
        let (number, country_code) =
            parse_stated_number(text(ChannelField::PhoneNumber), text(ChannelField::CountryCode));
        let phone = number.and_then(|number| number.map(|(number, code)| number.canonical_phone(code)).transpose());
        Self::collect(text, report, phone, country_code)
    }

    fn collect<'a>(
        text: impl Fn(ChannelField) -> Text<'a>,
        mut report: impl FnMut(ChannelField, Rule),
        phone: Result<Option<Phone>, Rule>,
        country_code: Result<(), Rule>,
    ) -> Option<Self> {
        let phone = phone.map_err(|rule| report(ChannelField::PhoneNumber, rule)).ok();
        let consent_type = optional(text(ChannelField::ConsentType), ConsentType::parse)
            .map_err(|rule| report(ChannelField::ConsentType, rule))
            .ok();
        let phone_type = optional(text(ChannelField::PhoneType), PhoneType::parse)
            .map_err(|rule| report(ChannelField::PhoneType, rule))
            .ok();
        let country_code = country_code.map_err(|rule| report(ChannelField::CountryCode, rule)).ok();
        let client_source = optional(text(ChannelField::ClientSource), ClientSource::parse)
            .map_err(|rule| report(ChannelField::ClientSource, rule))
            .ok();
        country_code?;
        Some(Self {
            phone: phone??,
            phone_type: phone_type?.unwrap_or_default(),
            consent_type: consent_type?,
            client_source: client_source?.unwrap_or_default(),
        })
    }

    /// The channel with these fields.
    pub fn into_channel(self, created_at: UnixMillis) -> Channel {
        let Self { phone, phone_type, consent_type, client_source } = self;
        Channel { phone, phone_type, consent_type, client_source, created_at, fingerprint: None }
    }
}

/// Reads a phone number that is digits or an E.164 form, and the country code stated beside it. The second result is the
/// rule that the country code breaks. If only the country code is invalid, the first result is `None`, because the number
/// breaks no rule.
#[expect(clippy::type_complexity, reason = "two results, one for each field")]
pub fn parse_stated_number<'a>(
    number: Text<'a>,
    country_code: Text<'_>,
) -> (Result<Option<(Number<'a>, CountryCode)>, Rule>, Result<(), Rule>) {
    let number = required(number, Number::parse);
    let country_code = optional(country_code, CountryCode::parse).and_then(|stated| match (&number, stated) {
        (Ok(number), Some(stated)) => number.agrees_with(stated).map(|()| stated),
        _ => Ok(stated.unwrap_or_default()),
    });
    let both = number.map(|number| country_code.ok().map(|country_code| (number, country_code)));
    (both, country_code.map(drop))
}

fn optional<'a, T>(text: Text<'a>, parse: impl FnOnce(&'a str) -> Result<T, Rule>) -> Result<Option<T>, Rule> {
    text?.map(parse).transpose()
}

fn required<'a, T>(text: Text<'a>, parse: impl FnOnce(&'a str) -> Result<T, Rule>) -> Result<T, Rule> {
    parse(text?.ok_or(Rule::REQUIRED)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(
        fields: &[(ChannelField, &'static str)],
        any_form: bool,
    ) -> (Option<ChannelFields>, Vec<(ChannelField, &'static str)>) {
        let text = |wanted| Ok(fields.iter().find(|(field, _)| *field == wanted).map(|(_, text)| *text));
        let mut broken = Vec::new();
        let report = |field, Rule(rule)| broken.push((field, rule));
        let parsed =
            if any_form { ChannelFields::parse_any_form(text, report) } else { ChannelFields::parse(text, report) };
        (parsed, broken)
    }

    #[test]
    fn absent_fields_have_defaults() {
        for any_form in [false, true] {
            let (fields, broken) = parsed(&[(ChannelField::PhoneNumber, "6105551212")], any_form);
            let fields = fields.unwrap();
            assert_eq!((fields.phone.e164(), fields.consent_type), ("+16105551212", None));
            assert_eq!((fields.phone_type, fields.client_source.is_default()), (PhoneType::Unknown, true));
            assert!(broken.is_empty());
        }
    }

    #[test]
    fn every_broken_rule_is_reported_in_the_contracts_order() {
        for any_form in [false, true] {
            let all_bad = ChannelField::ALL.map(|field| (field, ""));
            let (fields, broken) = parsed(&all_bad, any_form);
            assert_eq!(fields, None);
            assert_eq!(broken.iter().map(|(field, _)| *field).collect::<Vec<_>>(), ChannelField::ALL);
        }
        assert_eq!(parsed(&[], false).1, [(ChannelField::PhoneNumber, "is required")]);
    }

    #[test]
    fn digits_under_an_invalid_country_code_are_not_an_error_of_the_number() {
        for any_form in [false, true] {
            let fields = [(ChannelField::PhoneNumber, "6105551212"), (ChannelField::CountryCode, "999")];
            let (fields, broken) = parsed(&fields, any_form);
            assert_eq!(fields, None);
            assert_eq!(broken.iter().map(|(field, _)| *field).collect::<Vec<_>>(), [ChannelField::CountryCode]);
        }
    }

    #[test]
    fn the_e164_form_is_taken_from_operators_only() {
        let french = [(ChannelField::PhoneNumber, "+33612345678")];
        assert_eq!(parsed(&french, false).1.len(), 1);
        assert_eq!(parsed(&french, true).0.unwrap().phone.e164(), "+33612345678");
        let contradicted = [(ChannelField::PhoneNumber, "+33612345678"), (ChannelField::CountryCode, "1")];
        assert_eq!(parsed(&contradicted, true).1[0].0, ChannelField::CountryCode);
    }
}
