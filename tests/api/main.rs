//! Tests of the API contract in process: complete gateway events, the real handler, and an embedded DynamoDB.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops at its first surprise"
)]

mod added;
mod authorization;
mod companions;
mod connection;
mod consent;
mod cost;
mod customers;
mod events;
mod failures;
mod fault_connector;
mod fields;
mod helpers;
mod idempotency;
mod limits;
mod log;
mod openapi;
mod paths;
mod phones;
mod request_log;
