//! The operator's command line, as an operator uses it: the `cdm` program against an embedded DynamoDB.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test stops at its first surprise")]

mod aws;
mod check;
mod client;
mod consent;
mod credentials;
mod customer;
mod evidence;
mod helpers;
mod import;
mod key;
mod network;
mod phone;
mod proxy;
mod table;
mod transcripts;
mod undo;
mod usage;
