//! Tests of one promise: the response of the function says what the table holds, whatever fails in between.
//! `docs/reliability.md` states the promise in full and the results of long runs.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test stops at its first surprise")]

mod deployment;
mod fault_table;
mod faults;
mod hostile;
mod linearizable;
mod protocol;
mod proxy;
mod request;

/// Whether the long runs are wanted: `RELIABILITY=full`.
pub(crate) fn is_full() -> bool {
    std::env::var("RELIABILITY").is_ok_and(|value| value == "full")
}
