//! Who acts: clients, operators, and execution environments behind a gateway.

pub mod check;
pub mod client;
pub mod environment;
mod freeze;
pub mod operator;
pub mod platform;
