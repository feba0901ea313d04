//! Tests of the API contract in process: complete gateway events, the real handler, and an embedded DynamoDB.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops at its first surprise"
)]

mod connection;
mod failures;
mod helpers;
mod openapi;
mod operations;
mod request;
mod request_log;
mod threat_model;
