//! The calls to DynamoDB, a file for each operation.

mod add_phone;
mod get_api_key;
mod get_customer;
mod remove_phone;

pub use add_phone::{AddPhone, Added};
pub use get_api_key::KeyRecord;
pub use get_customer::CustomerRecord;
pub use remove_phone::RemovePhone;
