//! What commands print and ask, and how they are interrupted.

mod failure;
pub mod output;
pub(crate) mod progress;
pub(crate) mod signals;
pub(crate) mod stdin;

pub use failure::Failure;
pub(crate) use failure::plain;
