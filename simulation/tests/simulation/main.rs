//! Short runs of the simulation: nothing is wrong, every run replays, and the embedded engine and a general checker agree.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test stops at its first surprise")]

mod checker;
mod engine;
mod gate;
mod stories;
mod storm;
