//! The operator's commands, one module per command.

pub(crate) mod arguments;
pub mod check;
pub(crate) mod client;
pub(crate) mod customer;
pub(crate) mod import;
pub(crate) mod item;
pub(crate) mod key;
pub(crate) mod phone;
pub(crate) mod table;
pub(crate) mod undo;
