//! From a path to an operation and its values, decoded exactly once.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use crate::error::Error;
use crate::event::{Event, Shape};

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
    pub fn of(event: &'a Event) -> Result<Self, Error> {
        let route = Operation::ALL
            .into_iter()
            .find_map(|operation| Self::from_template(operation, event).or_else(|| Self::from_path(operation, event)))
            .ok_or(Error::RouteNotFound)?;
        let allow = route.operation.row().method;
        if event.method == allow { Ok(route) } else { Err(Error::MethodNotAllowed { allow }) }
    }

    /// From the parameters of the template that the gateway matched, which are whole where its path is not: HTTP API
    /// cuts the path at a decoded question mark, and a decoded slash looks like any other.
    fn from_template(operation: Operation, event: &'a Event) -> Option<Self> {
        let template = event.template.as_deref()?;
        let segments = operation.row().segments;
        if !last_segments(template, segments.len())?.eq(segments.iter().copied()) {
            return None;
        }
        Self::with(operation, event.shape, |name| match name {
            "{client_id}" => event.parameters.client_id.as_deref(),
            "{ccid}" => event.parameters.ccid.as_deref(),
            _ => event.parameters.phone_number.as_deref(),
        })
    }

    /// From the last segments of the path, where the gateway matched a catch-all or nothing.
    fn from_path(operation: Operation, event: &'a Event) -> Option<Self> {
        let segments = operation.row().segments;
        let values: Vec<_> = last_segments(&event.path, segments.len())?.collect();
        let literal = |(name, value): (&&str, &&'a str)| {
            name.starts_with('{') || decoded(value, event.shape).is_some_and(|value| value == **name)
        };
        if !segments.iter().zip(&values).all(literal) {
            return None;
        }
        Self::with(operation, event.shape, |name| {
            segments.iter().zip(&values).find(|(segment, _)| **segment == name).map(|(_, value)| *value)
        })
    }

    /// `None` where a value is missing or empty: an empty segment is no match.
    fn with(operation: Operation, shape: Shape, value: impl Fn(&str) -> Option<&'a str>) -> Option<Self> {
        let segments = operation.row().segments;
        let whole = segments.iter().filter(|name| name.starts_with('{'));
        if !whole.copied().all(|name| value(name).is_some_and(|value| !value.is_empty())) {
            return None;
        }
        let value = |name| value(name).and_then(|value| decoded(value, shape));
        Some(Self {
            operation,
            client_id: value("{client_id}"),
            ccid: value("{ccid}"),
            phone_number: value("{phone_number}"),
        })
    }
}

/// The last `count` segments of a path, in order; `None` where it has fewer.
fn last_segments(path: &str, count: usize) -> Option<impl Iterator<Item = &str>> {
    let mut last: Vec<_> = path.strip_prefix('/')?.rsplitn(count + 1, '/').take(count).collect();
    last.reverse();
    (last.len() == count).then(|| last.into_iter())
}

/// A segment, decoded once: HTTP API has done it already, REST API leaves it to us. A plus sign stays one, and a percent
/// sign that begins no escape stays as it is.
fn decoded(segment: &str, shape: Shape) -> PathValue<'_> {
    match shape {
        Shape::HttpApi => Some(Cow::Borrowed(segment)),
        Shape::RestApi => percent_decode_str(segment).decode_utf8().ok(),
    }
}
