//! Rows of an import: CSV with a header, or JSON objects. Each line is validated by itself.
//!
//! A CSV line is a customer and at most one number; a customer with several numbers has several lines. A JSON line
//! has all numbers of a customer under `phone_numbers`, or it is the output of `cdm customer show`, with its times.
//! Fields have the names and rules of the API; a number may also be in E.164 form.

use aws_sdk_dynamodb::primitives::{DateTime, DateTimeFormat};
use cdm_lambda::domain::{Ccid, Channel, ChannelField, ChannelFields, ClientId, Digits, Phone, Rule};
use cdm_lambda::time::UnixMillis;
use csv_core::{ReadRecordResult, Reader};
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};

use crate::ui::Failure;

/// A customer to import.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) ccid: Ccid,
    /// The creation time of the record, if the import creates it.
    pub(crate) created_at: UnixMillis,
    pub(crate) channels: Vec<Channel>,
}

/// The column of the customer.
const CCID: &str = "ccid";

/// The columns that CSV may have.
fn columns() -> impl Iterator<Item = &'static str> {
    std::iter::once(CCID).chain(ChannelField::ALL.map(ChannelField::name))
}

/// The format of the lines, determined by the first line.
pub(crate) enum Format {
    /// The columns of the header.
    Csv { columns: Vec<&'static str>, reader: Box<Reader> },
    /// The first line is a row, too.
    Json,
}

impl Format {
    /// # Errors
    /// The line is neither a JSON object nor a header.
    pub(crate) fn detect(first: &[u8]) -> Result<Self, Failure> {
        let first = first.strip_prefix("\u{feff}".as_bytes()).unwrap_or(first);
        if first.trim_ascii_start().starts_with(b"{") {
            return Ok(Self::Json);
        }
        let mut reader = Box::new(Reader::new());
        let names = std::str::from_utf8(first).ok().and_then(|first| fields(&mut reader, first));
        let found: Option<Vec<_>> =
            names.and_then(|names| names.iter().map(|name| columns().find(|column| *column == name.trim())).collect());
        let has_twice = |found: &[&str]| columns().any(|one| found.iter().filter(|column| **column == one).count() > 1);
        match found {
            Some(columns) if columns.contains(&CCID) && !has_twice(&columns) => Ok(Self::Csv { columns, reader }),
            _ => Err(Failure(format!(
                "the first line is neither a JSON object nor a CSV header: the columns are {}, of which only ccid is \
                 required",
                columns().collect::<Vec<_>>().join(", ")
            ))),
        }
    }

    /// Reads a line of this client.
    ///
    /// # Errors
    /// Why it is not a valid row. The text may contain a value of the line.
    pub(crate) fn row(&mut self, line: &[u8], client: &ClientId, now: UnixMillis) -> Result<Row, String> {
        let text = std::str::from_utf8(line).map_err(|_| "the line is not UTF-8")?;
        let (ccid, numbers) = match self {
            Self::Json => {
                let line: JsonLine = serde_json::from_str(text.trim_start_matches('\u{feff}'))
                    .map_err(|error| format!("the line is not a valid row: {error}"))?;
                match line.notification_channels {
                    Some(_) => return line.shown(client),
                    None => line.listed()?,
                }
            }
            Self::Csv { columns, reader } => {
                let (ccid, number) = csv_line(columns, reader, text)?;
                (ccid, number.into_iter().collect())
            }
        };
        let mut bad = Vec::new();
        let ccid = Ccid::parse(&ccid).map_err(|Rule(rule)| bad.push(format!("ccid {rule}")));
        let mut channels = Vec::new();
        for (place, number) in numbers.iter().enumerate() {
            let of = if numbers.len() == 1 { String::new() } else { format!("phone_numbers[{place}].") };
            channels.extend(number.channel(now, "phone_number", &of, &mut bad));
        }
        match ccid {
            Ok(ccid) if bad.is_empty() => Ok(Row { ccid, created_at: now, channels }),
            _ => Err(bad.join("; ")),
        }
    }
}

/// A row with `phone_numbers`, or a record in the form of `cdm customer show`, with `notification_channels`.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonLine {
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
    notification_channels: Option<Vec<ShownChannel>>,
}

/// A channel in the form of `cdm customer show`.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct ShownChannel {
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
    fn listed(self) -> Result<(String, Vec<Number>), String> {
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
    fn shown(self, client: &ClientId) -> Result<Row, String> {
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
        let mut entry_channels = Vec::new();
        for (place, channel) in channels.into_iter().enumerate() {
            let of = if several { format!("notification_channels[{place}].") } else { String::new() };
            entry_channels.extend(channel.channel(&of, &mut bad));
        }
        match (ccid, created_at) {
            (Some(ccid), Some(created_at)) if bad.is_empty() => Ok(Row { ccid, created_at, channels: entry_channels }),
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

/// The stated fields of a number. An absent field means the same as in a request.
#[derive(Default)]
struct Number(Vec<(ChannelField, String)>);

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

impl Number {
    fn text(&self, wanted: ChannelField) -> Option<&str> {
        self.0.iter().find(|(field, _)| *field == wanted).map(|(_, text)| text.as_str())
    }

    /// Returns `None` if a field is invalid, and adds the reason to `bad`, which calls the number `name`.
    fn channel(&self, created_at: UnixMillis, name: &str, of: &str, bad: &mut Vec<String>) -> Option<Channel> {
        let report = |field: ChannelField, Rule(rule): Rule| {
            let name = if field == ChannelField::PhoneNumber { name } else { field.name() };
            bad.push(format!("{of}{name} {rule}"));
        };
        let fields = ChannelFields::parse_any_form(|field| Ok(self.text(field)), report)?;
        Some(fields.into_channel(created_at))
    }
}

/// The ccid of a CSV line, and its number if it has one. An empty cell is an absent field.
fn csv_line(columns: &[&str], reader: &mut Reader, line: &str) -> Result<(String, Option<Number>), String> {
    let cells = fields(reader, line).ok_or("a quoted field has no end: a field may not hold a line break")?;
    if cells.len() != columns.len() {
        return Err(format!("the line has {} fields, the header {}", cells.len(), columns.len()));
    }
    let mut ccid = String::new();
    let mut number = Number::default();
    for (column, cell) in columns.iter().zip(cells).filter(|(_, cell)| !cell.is_empty()) {
        match ChannelField::ALL.into_iter().find(|field| field.name() == *column) {
            Some(field) => number.0.push((field, cell)),
            None => ccid = cell,
        }
    }
    Ok((ccid, (!number.0.is_empty()).then_some(number)))
}

/// The fields of a CSV line. `None` if a quote is not closed.
fn fields(reader: &mut Reader, line: &str) -> Option<Vec<String>> {
    if line.bytes().filter(|byte| *byte == b'"').count() % 2 == 1 {
        return None;
    }
    reader.reset();
    let mut text = vec![0; line.len() + 1];
    let mut ends = vec![0; line.len() + 2];
    let (mut read, mut written, mut ended) = (0, 0, 0);
    loop {
        // At the end of the line, an empty input ends the record.
        let input = line.as_bytes().get(read..)?;
        let (result, r, w, e) = reader.read_record(input, text.get_mut(written..)?, ends.get_mut(ended..)?);
        read += r;
        written += w;
        ended += e;
        match result {
            ReadRecordResult::InputEmpty => {}
            ReadRecordResult::Record | ReadRecordResult::End => break,
            ReadRecordResult::OutputFull | ReadRecordResult::OutputEndsFull => return None,
        }
    }
    let mut start = 0;
    let mut fields = Vec::new();
    for end in ends.get(..ended)? {
        // The fields are parts of the line, cut at ASCII characters, so they are UTF-8.
        fields.push(String::from_utf8(text.get(start..*end)?.to_vec()).ok()?);
        start = *end;
    }
    Some(fields)
}

#[cfg(test)]
mod tests {
    use cdm_lambda::domain::ConsentType;

    use super::*;

    fn read(first: &str, line: &str) -> Result<(String, Vec<String>), String> {
        let mut format = Format::detect(first.as_bytes()).map_err(|Failure(why)| why)?;
        let row = format.row(line.as_bytes(), &client(), UnixMillis::now())?;
        let numbers = row.channels.iter().map(|channel| {
            format!(
                "{} {} {} {}",
                channel.phone.e164(),
                channel.phone_type.as_str(),
                channel.consent_type.map_or("-", ConsentType::as_str),
                channel.client_source.as_str()
            )
        });
        Ok((row.ccid.as_str().to_owned(), numbers.collect()))
    }

    fn client() -> ClientId {
        ClientId::parse("demo-clinic").unwrap()
    }

    const HEADER: &str = "ccid,phone_number,country_code,phone_type,consent_type,client_source";

    #[test]
    fn csv() {
        for (line, ccid, number) in [
            ("A,,,,,", "A", None),
            ("A,6105551212,,,,", "A", Some("+16105551212 unknown - internal")),
            ("A,0612345678,+33,mobile,written,web", "A", Some("+33612345678 mobile written web")),
            ("A,+33612345678,,,,", "A", Some("+33612345678 unknown - internal")),
            ("A,+33612345678,33,,,", "A", Some("+33612345678 unknown - internal")),
            (r#""A,""1""",6105551212,1,,,"a, b""#, r#"A,"1""#, Some("+16105551212 unknown - a, b")),
            ("Zoë 7?.%41,,,,,", "Zoë 7?.%41", None),
        ] {
            let expected = Ok((ccid.to_owned(), number.map(str::to_owned).into_iter().collect()));
            assert_eq!(read(HEADER, line), expected, "{line}");
        }
        assert_eq!(read("ccid", "A"), Ok(("A".to_owned(), vec![])));
        assert_eq!(read("\u{feff}phone_number, ccid", "6105551212,A").map(|read| read.0).as_deref(), Ok("A"));
    }

    #[test]
    fn invalid_csv_rows_say_why() {
        for (line, why) in [
            ("A,6105551212", "the line has 2 fields, the header 6"),
            ("A,,,,,,", "the line has 7 fields, the header 6"),
            (",,,,,", "ccid must be 1 to 100 characters"),
            ("a/b,,,,,", "ccid must not contain control characters or /"),
            ("A,,1,,,", "phone_number is required"),
            (
                "A,610-555-1212,,,,",
                "phone_number must be 10 to 11 digits, or a number in E.164 form such as +16105551212",
            ),
            (
                "A,+33612345678,1,,,",
                "country_code must be the country code of the phone number, which is in E.164 form",
            ),
            ("A,+330612345678,,,,", "phone_number must be the number's E.164 form, without a trunk prefix"),
            ("\"A,6105551212,,,,", "a quoted field has no end: a field may not hold a line break"),
            (
                "..,1,999,fax,maybe,",
                "ccid must not be . or ..; phone_number must be 10 to 11 digits, or a number in E.164 form such as \
                 +16105551212; consent_type must be one of written, express, stop; phone_type must be one of mobile, landline, unknown; \
                 country_code must be an assigned calling code of 1 to 3 digits, such as 1 or +44",
            ),
        ] {
            assert_eq!(read(HEADER, line), Err(why.to_owned()), "{line}");
        }
        let mut format = Format::detect(b"ccid").unwrap();
        assert_eq!(format.row(b"\xff", &client(), UnixMillis::now()), Err("the line is not UTF-8".to_owned()));
    }

    #[test]
    fn json() {
        for (line, numbers) in [
            (r#"{"ccid":"A"}"#, vec![]),
            (r#" {"ccid":"A","phone_numbers":[]} "#, vec![]),
            (r#"{"phone_numbers":["6105551212"],"ccid":"A"}"#, vec!["+16105551212 unknown - internal"]),
            (
                r#"{"ccid":"A","phone_numbers":["6105551212",{"phone_number":"0612345678","country_code":"33","phone_type":"mobile","consent_type":"stop","client_source":"web"}]}"#,
                vec!["+16105551212 unknown - internal", "+33612345678 mobile stop web"],
            ),
        ] {
            let numbers = numbers.into_iter().map(str::to_owned).collect();
            assert_eq!(read("{}", line), Ok(("A".to_owned(), numbers)), "{line}");
        }
    }

    #[test]
    fn json_that_is_no_entry() {
        for line in [
            "",
            "{",
            "[]",
            "7",
            r#"{"ccid":7}"#,
            r#"{"ccid":null}"#,
            "{}",
            r#"{"ccid":"A","ccid":"A"}"#,
            r#"{"ccid":"A","phones":[]}"#,
            r#"{"ccid":"A","phone_numbers":null}"#,
            r#"{"ccid":"A"} x"#,
            r#"{"ccid":"A","phone_numbers":[7]}"#,
            r#"{"ccid":"A","phone_numbers":[{}]}"#,
            r#"{"ccid":"A","phone_numbers":[{"phone_number":"6105551212","consent_type":null}]}"#,
            r#"{"ccid":"A","phone_numbers":[{"phone_number":"6105551212","consent_typ":"stop"}]}"#,
        ] {
            assert!(read("{}", line).is_err(), "{line}");
        }
        assert_eq!(
            read("{}", r#"{"ccid":"A","phone_numbers":["6105551212","1"]}"#),
            Err(
                "phone_numbers[1].phone_number must be 10 to 11 digits, or a number in E.164 form such as +16105551212"
                    .to_owned()
            )
        );
    }

    const SHOWN: &str = r#"{"ccid":"A","client_id":"demo-clinic","created_at":"2024-11-19T08:00:00.000Z","notification_channels":[{"channel_addr":"+33612345678","channel_type":"sms","client_source":"web","consent_type":"stop","country_code":"33","created_at":"2024-11-20T08:00:00.042Z","phone_number":"0612345678","phone_type":"mobile"}],"phone_count":1}"#;

    #[test]
    fn a_record_as_it_is_shown() {
        let mut format = Format::detect(SHOWN.as_bytes()).unwrap();
        let row = format.row(SHOWN.as_bytes(), &client(), UnixMillis::now()).unwrap();
        assert_eq!(row.created_at.to_rfc3339(), "2024-11-19T08:00:00.000Z");
        let [channel] = &row.channels[..] else { panic!("one channel") };
        assert_eq!(channel.created_at.to_rfc3339(), "2024-11-20T08:00:00.042Z");
        assert_eq!(read("{}", SHOWN), Ok(("A".to_owned(), vec!["+33612345678 mobile stop web".to_owned()])));
        let none = r#"{"ccid":"A","created_at":"2024-11-19T08:00:00.000Z","notification_channels":[]}"#;
        assert_eq!(read("{}", none), Ok(("A".to_owned(), vec![])));
    }

    #[test]
    fn a_shown_record_that_contradicts_itself() {
        for (from, to, why) in [
            ("demo-clinic", "other-clinic", "client_id must be the client of this import"),
            ("\"phone_count\":1", "\"phone_count\":2", "phone_count must be the number of notification_channels"),
            (
                "\"phone_count\":1",
                "\"phone_numbers\":[]",
                "phone_numbers must not appear together with notification_channels",
            ),
            ("sms", "fax", "channel_type must be sms"),
            ("0612345678", "0612345679", "phone_number must be the same number as channel_addr"),
            ("\"33\"", "\"1\"", "country_code must be the country code of the phone number, which is in E.164 form"),
            ("stop", "maybe", "consent_type must be one of written, express, stop"),
            (
                "2024-11-19T08:00:00.000Z",
                "2024-11-19",
                "created_at must be a time in the form that is shown, such as 2026-11-23T15:30:00.042Z",
            ),
            (
                "2024-11-20T08:00:00.042Z",
                "2024-11-20T08:00:00.0421Z",
                "created_at must be a time in the form that is shown, such as 2026-11-23T15:30:00.042Z",
            ),
        ] {
            assert!(SHOWN.contains(from), "{from}");
            assert_eq!(read("{}", &SHOWN.replace(from, to)), Err(why.to_owned()), "{from} {to}");
        }
        assert_eq!(
            read("{}", r#"{"ccid":"A","phone_count":0}"#),
            Err("phone_count is allowed only together with notification_channels".to_owned())
        );
        for bad in [r#"{"ccid":"A","notification_channels":null}"#, &SHOWN.replace("phone_type", "phone_typ")] {
            assert!(read("{}", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_first_line_is_a_header_or_an_object() {
        for bad in ["", "A,6105551212", "phone_number", "ccid,ccid", "ccid,phone", "\"ccid", "[{}]", "\u{0}"] {
            assert!(Format::detect(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
