//! Deterministic simulation of the function: the shipped code, in virtual time, on one thread, from one seed.
//!
//! | module | what it does |
//! |---|---|
//! | [`plan`], [`generate`], [`storm`] | what is asked and what goes wrong, as data; from a seed to a plan; a conflict storm |
//! | [`runner`] | one run of a plan |
//! | [`client`], [`lambda`], [`operator`] | who acts: clients, execution environments behind a gateway, operators |
//! | [`network`] | the connector under the SDK's client, and its faults |
//! | [`service`] | the simulated DynamoDB |
//! | [`check`] | what must hold |
//! | [`trace`], [`log`], [`totals`] | the trace and its hash, the function's log lines, the figures |
//! | [`shrink`], [`breaks`] | smaller plans that still fail; the code broken on purpose |
//! | [`draw`], [`story`] | random numbers by purpose; the names in a run |

pub mod breaks;
pub mod check;
pub mod client;
pub mod draw;
pub mod generate;
pub mod lambda;
pub mod log;
pub mod network;
pub mod operator;
pub mod plan;
pub mod runner;
pub mod service;
pub mod shrink;
pub mod storm;
pub mod story;
pub mod totals;
pub mod trace;
