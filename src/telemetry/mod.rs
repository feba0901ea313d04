//! What operators see of the function: JSON log lines, and the metrics in them.

mod json;

pub(crate) use json::REQUEST;
pub use json::{errors, quiet_panics, subscriber};
