//! Deterministic simulation of the function: the shipped code, in virtual time, on one thread, from one seed.
//!
//! | module | what it does |
//! |---|---|
//! | [`plan`] | what is asked and what goes wrong, as data, drawn from a seed; the names in a run |
//! | [`service`] | DynamoDB's items, expressions, messages and tokens |
//! | [`check`] | what must hold |
//! | [`world`] | what everything in a run shares; the trace and its hash; the figures; the function's log lines |
//! | [`network`] | the connector under the SDK's client, and its faults; DynamoDB at work |
//! | [`actors`] | clients, operators, and execution environments behind a gateway |
//! | [`runner`], [`storm`] | one run of a plan; a conflict storm |
//! | [`shrink`], [`breaks`] | smaller plans that still fail; the code broken on purpose |
//!
//! Each imports from those above it.

pub mod actors;
pub mod breaks;
pub mod check;
pub mod network;
pub mod plan;
pub mod runner;
pub mod service;
pub mod shrink;
pub mod storm;
pub mod world;
