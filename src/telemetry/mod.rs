//! What operators see of the function: JSON log lines, and the metrics in them.

mod json;
mod request_log;

pub use json::{errors, hide_panic_messages, subscriber, subscriber_with_sources};
pub use request_log::{RequestIds, RequestLog};
