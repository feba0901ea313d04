//! The contract's values. Each has private fields and one `parse`: whoever holds one knows that it is good.

mod channel;
mod customer;
mod phone;

pub use channel::{Channel, ClientSource, ConsentType, IdempotencyFingerprint, IdempotencyKey, PhoneType};
pub use customer::{Ccid, ClientId};
pub use phone::{CountryCode, Digits, Number, Phone};

/// How many phone numbers one customer record may have. Source: the published page.
pub const PHONES_PER_CUSTOMER: u32 = 50;

/// How many customers of one client may have one phone number. Source: the published page.
pub const CUSTOMERS_PER_PHONE: u32 = 50;
