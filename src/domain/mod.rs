//! The values of the contract. A value that must follow a rule has private fields, and only its parser makes it. So a value
//! that exists is valid.

mod channel;
mod channel_fields;
mod commands;
mod consent;
mod customer;
mod idempotency;
mod limits;
mod phone;
mod rule;

pub use channel::*;
pub use channel_fields::{ChannelField, ChannelFields, parse_stated_number};
pub use commands::{AddOutcome, AddPhone, CreateOutcome, RemovePhone, UpdateConsent};
pub use consent::{ChannelType, Consent, ConsentType};
pub use customer::{Ccid, ClientId, CustomerRecord, PhoneRecord};
pub use idempotency::{IdempotencyFingerprint, IdempotencyKey};
pub use limits::Limits;
pub use phone::{CountryCode, Digits, Number, Phone};
pub use rule::Rule;
