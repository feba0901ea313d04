//! The store's calls, one file per operation.

mod add_phone;
mod get_api_key;
mod get_customer;
mod remove_phone;

pub use get_api_key::KeyRecord;
pub use get_customer::read_customer;
