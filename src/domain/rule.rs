//! A rule of the contract.

/// The rule that a value breaks, such as `must be 10 to 11 digits`. It is shown to callers and never holds the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule(pub &'static str);
