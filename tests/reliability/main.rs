//! What the function answered is what the table holds, whatever happened in between: attacked here by machine.
//! `docs/reliability.md` says what is promised, how it is attacked and what came of it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops at its first surprise"
)]

mod fault_table;
mod faults;
mod hostile;
mod linearizable;
mod messages;
mod protocol;
mod protocol_model;
mod proxy;
mod storm;
mod world;
