//! Where a call comes from.

use std::fmt;

/// Where a call comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// The request.
    pub request: u32,
    /// The try of the request: 0 is the first.
    pub attempt: u32,
    /// The number of the call, over all tries of the request.
    pub call: u32,
    /// For how many milliseconds longer the transaction holds its items.
    pub stuck: u64,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r{}.{}c{}", self.request, self.attempt, self.call)
    }
}
