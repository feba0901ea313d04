//! Deterministic simulation of the function: the shipped code, in virtual time, on one thread, from one seed.
//!
//! | module | what it does |
//! |---|---|
//! | [`plan`], [`generate`], [`storm`] | what is asked and what goes wrong, as data; from a seed to a plan; a conflict storm |
//! | [`runner`] | one run of a plan |
//! | [`client`], [`operator`], [`lambda`] | who acts: clients, operators, execution environments behind a gateway |
//! | [`log`] | the function's log lines |
//! | [`network`], `endpoint` | the connector under the SDK's client, and its faults; DynamoDB at work |
//! | [`state`], [`trace`], [`totals`] | what everything in a run shares; the trace and its hash; the figures |
//! | [`check`] | what must hold |
//! | [`service`], [`origin`] | DynamoDB's items, transactions and tokens; where a call comes from |
//! | [`shrink`], [`breaks`] | smaller plans that still fail; the code broken on purpose |
//! | [`draw`], [`story`] | random numbers by purpose; the names in a run |

pub mod breaks;
pub mod check;
pub mod client;
pub mod draw;
mod endpoint;
pub mod generate;
pub mod lambda;
pub mod log;
pub mod network;
pub mod operator;
pub mod origin;
pub mod plan;
pub mod runner;
pub mod service;
pub mod shrink;
pub mod state;
pub mod storm;
pub mod story;
pub mod totals;
pub mod trace;
