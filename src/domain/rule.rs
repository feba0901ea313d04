//! A rule of the contract.

/// The rule that a value breaks, such as `must be 10 to 11 digits`. It is shown to callers and never holds the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule(pub &'static str);

impl Rule {
    /// A field that must be present is not.
    pub const REQUIRED: Self = Self("is required");
    /// A member of the body or a parameter of the query string is repeated.
    pub const AT_MOST_ONCE: Self = Self("must appear at most once");
    /// A part of the path or of the query string is not UTF-8 text.
    pub const PERCENT_ENCODED: Self = Self("must be percent-encoded UTF-8");
    /// A ccid or a `client_source` has another length.
    pub const TO_100_CHARACTERS: Self = Self("must be 1 to 100 characters");
}
