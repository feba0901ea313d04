//! From an event to a route and its path parameters, decoded exactly once.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use super::RequestError;
use super::event::{Event, PathEncoding};

/// A method and a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// The method, such as `PUT`.
    pub method: &'static str,
    /// The path, such as `/cdm/client/{client_id}/customer/{ccid}`. A request's path ends with it; what stands before it
    /// is a stage or a base path.
    pub path: &'static str,
}

/// A path parameter after decoding. `None` if its bytes are not UTF-8.
pub type PathParameter<'a> = Option<Cow<'a, str>>;

/// The parameters of a matched path.
pub struct PathParameters<'a>(Vec<(&'static str, PathParameter<'a>)>);

impl PathParameters<'_> {
    /// The parameter `{name}` of the route. `None` if its bytes are not UTF-8.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| *known == name).and_then(|(_, value)| value.as_deref())
    }
}

/// Finds the entry of `table` whose route the event matches.
///
/// # Errors
/// [`RequestError::RouteNotFound`], or [`RequestError::MethodNotAllowed`] if only the method does not match.
pub fn find<'a, T: Copy>(
    event: &'a Event,
    table: &[T],
    route: impl Fn(&T) -> Route,
) -> Result<(T, PathParameters<'a>), RequestError> {
    let matched = |entry: &T| parameters(event, route(entry).path).map(|parameters| (*entry, parameters));
    let (first, parameters) = table.iter().find_map(matched).ok_or(RequestError::RouteNotFound)?;
    let path = route(&first).path;
    let same_path = || table.iter().filter(|entry| route(entry).path == path);
    if let Some(entry) = same_path().find(|entry| route(entry).method == event.method) {
        return Ok((*entry, parameters));
    }
    // A path has a few methods, so the next one in alphabetical order is searched for. A sort would cost 10 kB of code.
    let methods = || same_path().map(|entry| route(entry).method);
    let mut allow = String::new();
    let mut next = methods().min();
    while let Some(method) = next {
        if !allow.is_empty() {
            allow.push_str(", ");
        }
        allow.push_str(method);
        next = methods().filter(|other| *other > method).min();
    }
    Err(RequestError::MethodNotAllowed { allow })
}

/// The parameters of `path` in the event. `None` if the event has another path.
///
/// If the gateway matched a template, only the template and its parameters count. The path of the same event may contain
/// the encoded path of another operation as one value, and an HTTP API has decoded that value and cut it at a question
/// mark.
fn parameters<'a>(event: &'a Event, path: &'static str) -> Option<PathParameters<'a>> {
    let from_template = event.template.is_some();
    let actual = event.template.as_deref().unwrap_or(&event.path);
    let mut actual = actual.strip_prefix('/')?.rsplit('/');
    let mut parameters = Vec::new();
    // From the end, because a stage or a base path may stand before the route.
    for expected in path.strip_prefix('/')?.rsplit('/') {
        let segment = actual.next()?;
        let Some(name) = parameter_name(expected) else {
            let is_match = if from_template {
                segment == expected
            } else {
                decoded(segment, event.path_encoding).is_some_and(|segment| segment == expected)
            };
            if is_match {
                continue;
            }
            return None;
        };
        let value = if from_template {
            // The template may give the parameter another name.
            event.parameters.get(parameter_name(segment)?)?.as_deref()?
        } else {
            segment
        };
        // An empty segment is not a match.
        if value.is_empty() {
            return None;
        }
        parameters.push((name, decoded(value, event.path_encoding)));
    }
    Some(PathParameters(parameters))
}

/// `client_id` for `{client_id}`; `None` for a literal segment.
fn parameter_name(segment: &str) -> Option<&str> {
    segment.strip_prefix('{')?.strip_suffix('}')
}

/// Decodes a segment if the sender of the event has not done so. A plus sign stays a plus sign, and a percent sign that
/// does not begin an escape stays as it is.
fn decoded(segment: &str, encoding: PathEncoding) -> PathParameter<'_> {
    match encoding {
        PathEncoding::Decoded => Some(Cow::Borrowed(segment)),
        PathEncoding::PercentEncoded => percent_decode_str(segment).decode_utf8().ok(),
    }
}
