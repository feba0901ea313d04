//! A JSON line: all numbers of a customer under `phone_numbers`, or the output of `cdm customer show`.

use aws_sdk_dynamodb::primitives::{DateTime, DateTimeFormat};
use cdm_lambda::domain::{Ccid, Channel, ChannelField, ClientId, Digits, Phone, Rule};
use cdm_lambda::time::UnixMillis;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};

use super::{Number, Row};

/// A row with `phone_numbers`, or a record in the form of `cdm customer show`, with `notification_channels`.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct JsonLine {
    ccid: String,
    #[serde(default, deserialize_with = "present")]
    phone_numbers: Option<Vec<Number>>,
    #[serde(default, deserialize_with = "present")]
    client_id: Option<String>,
    #[serde(default, deserialize_with = "present")]
    created_at: Option<String>,
    #[serde(default, deserialize_with = "present")]
    phone_count: Option<usize>,
    #[serde(default, deserialize_with = "present")]
    pub(super) notification_channels: Option<Vec<ShownChannel>>,
}

/// A channel in the form of `cdm customer show`.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ShownChannel {
    channel_type: String,
    channel_addr: String,
    phone_number: String,
    country_code: String,
    phone_type: String,
    #[serde(default, deserialize_with = "present")]
    consent_type: Option<String>,
    client_source: String,
    created_at: String,
}

impl JsonLine {
    /// The ccid and the numbers of a row with `phone_numbers`.
    pub(super) fn listed(self) -> Result<(String, Vec<Number>), String> {
        let shown_only = [
            ("client_id", self.client_id.is_some()),
            ("created_at", self.created_at.is_some()),
            ("phone_count", self.phone_count.is_some()),
        ];
        match shown_only.into_iter().find(|(_, is_there)| *is_there) {
            Some((name, _)) => Err(format!("{name} is allowed only together with notification_channels")),
            None => Ok((self.ccid, self.phone_numbers.unwrap_or_default())),
        }
    }

    /// A record in the form of `cdm customer show`. It keeps its times, so that a record that was deleted by
    /// mistake can be imported again. Values that appear twice must agree, because a change of only one of them
    /// would be lost.
    pub(super) fn shown(self, client: &ClientId) -> Result<Row, String> {
        let mut bad = Vec::new();
        let channels = self.notification_channels.unwrap_or_default();
        if self.phone_numbers.is_some() {
            bad.push("phone_numbers must not appear together with notification_channels".to_owned());
        }
        if self.client_id.is_some_and(|id| id != client.as_str()) {
            bad.push("client_id must be the client of this import".to_owned());
        }
        if self.phone_count.is_some_and(|phone_count| phone_count != channels.len()) {
            bad.push("phone_count must be the number of notification_channels".to_owned());
        }
        let ccid = check("ccid", "", Ccid::parse(&self.ccid), &mut bad);
        let created_at = check("created_at", "", moment(self.created_at.as_deref().unwrap_or_default()), &mut bad);
        let several = channels.len() > 1;
        let mut row_channels = Vec::new();
        for (index, channel) in channels.into_iter().enumerate() {
            let of = if several { format!("notification_channels[{index}].") } else { String::new() };
            row_channels.extend(channel.channel(&of, &mut bad));
        }
        match (ccid, created_at) {
            (Some(ccid), Some(created_at)) if bad.is_empty() => Ok(Row { ccid, created_at, channels: row_channels }),
            _ => Err(bad.join("; ")),
        }
    }
}

impl ShownChannel {
    /// Returns `None` if a field is invalid, and adds the reason to `bad`.
    fn channel(self, of: &str, bad: &mut Vec<String>) -> Option<Channel> {
        if self.channel_type != "sms" {
            bad.push(format!("{of}channel_type must be sms"));
        }
        let created_at = check("created_at", of, moment(&self.created_at), bad);
        let stated = [
            (ChannelField::PhoneNumber, Some(self.channel_addr)),
            (ChannelField::ConsentType, self.consent_type),
            (ChannelField::PhoneType, Some(self.phone_type)),
            (ChannelField::CountryCode, Some(self.country_code)),
            (ChannelField::ClientSource, Some(self.client_source)),
        ];
        let stated = stated.into_iter().filter_map(|(field, text)| Some((field, text?)));
        let channel = Number(stated.collect()).channel(created_at?, "channel_addr", of, bad)?;
        let phone = &channel.phone;
        let is_the_same = self.phone_number == phone.dialled()
            || Digits::parse(&self.phone_number).and_then(|digits| Phone::new(digits, phone.country_code())).as_ref()
                == Ok(phone);
        if !is_the_same {
            bad.push(format!("{of}phone_number must be the same number as channel_addr"));
        }
        Some(channel)
    }
}

/// A time in exactly the form in which it is shown.
fn moment(text: &str) -> Result<UnixMillis, Rule> {
    let moment = DateTime::from_str(text, DateTimeFormat::DateTime).ok().and_then(|moment| moment.to_millis().ok());
    let moment = moment.and_then(|millis| u64::try_from(millis).ok()).and_then(UnixMillis::new);
    moment
        .filter(|moment| moment.to_rfc3339() == text)
        .ok_or(Rule("must be a time in the form that is shown, such as 2026-11-23T15:30:00.042Z"))
}

fn check<T>(name: &str, of: &str, value: Result<T, Rule>, bad: &mut Vec<String>) -> Option<T> {
    value.map_err(|Rule(rule)| bad.push(format!("{of}{name} {rule}"))).ok()
}

/// A value other than `null`.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

impl<'de> Deserialize<'de> for Number {
    /// Reads an object with the fields, or only the number as a string.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct StringOrObject;

        impl<'de> Visitor<'de> for StringOrObject {
            type Value = Number;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a phone number or an object with phone_number")
            }

            fn visit_str<E: serde::de::Error>(self, digits: &str) -> Result<Number, E> {
                Ok(Number(vec![(ChannelField::PhoneNumber, digits.to_owned())]))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Number, A::Error> {
                let mut number = Number::default();
                while let Some(name) = map.next_key::<String>()? {
                    let field = ChannelField::ALL.into_iter().find(|field| field.name() == name);
                    let field = field.ok_or_else(|| A::Error::custom(format!("unknown field `{name}`")))?;
                    if number.text(field).is_some() {
                        return Err(A::Error::duplicate_field(field.name()));
                    }
                    number.0.push((field, map.next_value()?));
                }
                if number.text(ChannelField::PhoneNumber).is_none() {
                    return Err(A::Error::missing_field(ChannelField::PhoneNumber.name()));
                }
                Ok(number)
            }
        }

        deserializer.deserialize_any(StringOrObject)
    }
}
