//! What each operation does: its responses, and what it writes.

mod added;
mod consent;
mod cost;
mod customers;
mod get_and_remove;
mod limits;
mod phones;
