//! Who acts: clients, operators, and execution environments behind a gateway.

pub mod check;
pub mod client;
pub mod environment;
pub mod first_table;
mod freeze;
pub mod operator;
pub mod platform;
