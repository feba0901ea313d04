//! The failures of a request that never gets to the store.

use crate::domain::Rule;

/// One invalid field of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// `path.NAME`, `header.NAME`, `query.NAME`, `body.NAME`, or `body` for the body as a whole.
    pub field: String,
    /// The rule that the field breaks.
    pub rule: Rule,
}

/// Why a request is refused before its operation calls the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestError {
    /// No operation has this path.
    RouteNotFound,
    /// The path belongs to an operation, but the method does not.
    MethodNotAllowed {
        /// The methods of the path, in alphabetical order, as the `Allow` header lists them.
        allow: String,
    },
    /// Every invalid field, ordered by path, headers, query, body.
    Invalid(Vec<FieldError>),
}
