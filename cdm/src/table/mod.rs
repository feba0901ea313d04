//! The table: the connection to it, reading all of it, and changing its items.

pub(crate) mod call_failure;
pub(crate) mod change;
pub mod connection;
pub(crate) mod corruption;
pub(crate) mod dynamo_json;
pub(crate) mod erase;
pub(crate) mod item_parts;
pub(crate) mod repair;
pub(crate) mod saved;
pub mod scan;
