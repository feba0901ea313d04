//! The operator's command line, as an operator uses it: the `cdm` program against an embedded DynamoDB.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test stops at its first surprise")]

mod access;
mod check;
mod helpers;
mod import;
mod proxy;
mod records;
mod table;
mod transcripts;
mod undo;
mod usage;
