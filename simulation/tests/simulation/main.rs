//! The simulation, shortly: nothing is wrong, every run replays, and two others agree with it.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test stops at its first surprise")]

mod checker;
mod engine;
mod gate;
mod stories;
mod storm;
