//! The store's calls, one file per operation.

mod add_phone;
mod create_customer;
mod delete_customer;
mod get_api_key;
mod get_customer;
mod get_phone;
mod remove_phone;
mod update_consent;

pub use get_api_key::KeyRecord;
pub use get_customer::read_customer;
pub use get_phone::read_phone;
