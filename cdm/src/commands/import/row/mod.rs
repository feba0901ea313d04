//! Rows of an import: CSV with a header, or JSON objects. Each line is validated by itself.
//!
//! A CSV line is a customer and at most one number; a customer with several numbers has several lines. A JSON line
//! has all numbers of a customer under `phone_numbers`, or it is the output of `cdm customer show`, with its times.
//! Fields have the names and rules of the API; a number may also be in E.164 form.

mod csv;
mod json;

use cdm_lambda::domain::{Ccid, Channel, ChannelField, ChannelFields, ClientId, Rule};
use cdm_lambda::time::UnixMillis;
use csv_core::Reader;

use self::csv::{csv_line, fields};
use self::json::JsonLine;

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

/// The stated fields of a number. An absent field means the same as in a request.
#[derive(Default)]
struct Number(Vec<(ChannelField, String)>);

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

#[cfg(test)]
mod tests;
