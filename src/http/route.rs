//! From a path to an operation and its values, decoded exactly once.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use crate::error::Error;
use crate::http::event::{Event, PathEncoding};

/// What the function can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Add a phone number to a customer's record.
    AddPhone,
    /// Remove one from it.
    RemovePhone,
    /// Retrieve the record.
    GetCustomer,
}

impl Operation {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::AddPhone, Self::RemovePhone, Self::GetCustomer];

    /// Its name in logs and metrics.
    pub fn as_str(self) -> &'static str {
        self.row().name
    }

    /// Its path template, `/cdm/client/{client_id}/…`: all that may be shown of a request's path.
    pub fn template(self) -> String {
        format!("/{}", self.row().segments.join("/"))
    }

    /// Whether it changes the table.
    pub fn writes(self) -> bool {
        !matches!(self, Self::GetCustomer)
    }

    fn row(self) -> &'static Row {
        match self {
            Self::AddPhone => &ADD_PHONE,
            Self::RemovePhone => &REMOVE_PHONE,
            Self::GetCustomer => &GET_CUSTOMER,
        }
    }
}

struct Row {
    name: &'static str,
    method: &'static str,
    /// The last segments of the path. What stands before them is a stage or a base path.
    segments: &'static [&'static str],
}

const ADD_PHONE: Row = Row {
    name: "add_phone",
    method: "PUT",
    segments: &["cdm", "client", "{client_id}", "customer", "{ccid}", "add_phone", "{phone_number}"],
};

const REMOVE_PHONE: Row = Row {
    name: "remove_phone",
    method: "PUT",
    segments: &["cdm", "client", "{client_id}", "customer", "{ccid}", "remove_phone", "{phone_number}"],
};

const GET_CUSTOMER: Row =
    Row { name: "get_customer", method: "GET", segments: &["cdm", "client", "{client_id}", "customer", "{ccid}"] };

/// A path value, decoded; `None` where its bytes are no UTF-8.
pub type PathValue<'a> = Option<Cow<'a, str>>;

/// A matched route.
pub struct Route<'a> {
    /// What is to be done.
    pub operation: Operation,
    /// `{client_id}`.
    pub client_id: PathValue<'a>,
    /// `{ccid}`.
    pub ccid: PathValue<'a>,
    /// `{phone_number}`, where the operation has one.
    pub phone_number: PathValue<'a>,
}

impl<'a> Route<'a> {
    /// Finds the operation of an event.
    ///
    /// # Errors
    /// [`Error::RouteNotFound`], or [`Error::MethodNotAllowed`] where only the method is wrong.
    pub fn find(event: &'a Event) -> Result<Self, Error> {
        let mut operations = Operation::ALL.into_iter();
        let route = match event.template.as_deref() {
            Some(template) => operations.find_map(|operation| Self::from_template(operation, template, event)),
            None => operations.find_map(|operation| Self::from_path(operation, event)),
        };
        let route = route.ok_or(Error::RouteNotFound)?;
        let allow = route.operation.row().method;
        if event.method == allow { Ok(route) } else { Err(Error::MethodNotAllowed { allow }) }
    }

    /// From the template that the gateway matched, and from that alone. The path of the same event may hold the encoded
    /// path of another operation as one value, and an HTTP API has decoded it by then and cuts it at a question mark.
    /// The template's parameters may have names of their own.
    fn from_template(operation: Operation, template: &'a str, event: &'a Event) -> Option<Self> {
        let segments = operation.row().segments;
        let matched: Vec<_> = last_segments(template, segments.len())?.collect();
        let names: Option<Vec<_>> = segments
            .iter()
            .zip(matched)
            .map(|(segment, matched)| match (is_parameter(segment), is_parameter(matched)) {
                (true, true) => Some(matched.trim_matches(['{', '}'])),
                (false, false) if *segment == matched => Some(matched),
                _ => None,
            })
            .collect();
        let names = names?;
        Self::with(operation, event.path_encoding, |place| {
            event.parameters.get(*names.get(place)?).and_then(Option::as_deref)
        })
    }

    /// From the last segments of the path, where the gateway matched a catch-all route or none.
    fn from_path(operation: Operation, event: &'a Event) -> Option<Self> {
        let segments = operation.row().segments;
        let values: Vec<_> = last_segments(&event.path, segments.len())?.collect();
        let literal = |(name, value): (&&str, &&'a str)| {
            is_parameter(name) || decoded(value, event.path_encoding).is_some_and(|value| value == **name)
        };
        if !segments.iter().zip(&values).all(literal) {
            return None;
        }
        Self::with(operation, event.path_encoding, |place| values.get(place).copied())
    }

    /// Takes each value from its place among the operation's segments. `None` where one is missing or empty: an empty
    /// segment is no match.
    fn with(operation: Operation, encoding: PathEncoding, value_at: impl Fn(usize) -> Option<&'a str>) -> Option<Self> {
        let mut route = Self { operation, client_id: None, ccid: None, phone_number: None };
        for (place, segment) in operation.row().segments.iter().enumerate() {
            let slot = match *segment {
                "{client_id}" => &mut route.client_id,
                "{ccid}" => &mut route.ccid,
                "{phone_number}" => &mut route.phone_number,
                _ => continue,
            };
            *slot = decoded(value_at(place).filter(|value| !value.is_empty())?, encoding);
        }
        Some(route)
    }
}

fn is_parameter(segment: &str) -> bool {
    segment.starts_with('{')
}

/// The last `count` segments of a path, in order; `None` where it has fewer.
fn last_segments(path: &str, count: usize) -> Option<impl Iterator<Item = &str>> {
    let mut last: Vec<_> = path.strip_prefix('/')?.rsplitn(count + 1, '/').take(count).collect();
    last.reverse();
    (last.len() == count).then(|| last.into_iter())
}

/// A segment, decoded where no front has done it. A plus sign stays one, and a percent sign that begins no escape stays
/// as it is.
fn decoded(segment: &str, encoding: PathEncoding) -> PathValue<'_> {
    match encoding {
        PathEncoding::Decoded => Some(Cow::Borrowed(segment)),
        PathEncoding::PercentEncoded => percent_decode_str(segment).decode_utf8().ok(),
    }
}
