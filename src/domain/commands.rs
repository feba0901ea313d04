//! What callers ask the store to do, after parsing.

use super::{Ccid, Channel, ClientId, ConsentType, Phone};

/// Add a phone number to a customer's record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddPhone {
    /// The client that the customer belongs to.
    pub client_id: ClientId,
    /// The customer.
    pub ccid: Ccid,
    /// The number and its attributes.
    pub channel: Channel,
}

/// How an add succeeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddOutcome {
    /// This request added the number.
    Added,
    /// An earlier request with the same idempotency key and values added the number. This request wrote nothing.
    Replayed,
}

/// Remove a phone number from a customer's record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemovePhone {
    /// The client that the customer belongs to.
    pub client_id: ClientId,
    /// The customer.
    pub ccid: Ccid,
    /// The number.
    pub phone: Phone,
}

/// How the creation of a customer succeeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CreateOutcome {
    /// This request created the record.
    Created,
    /// The customer exists. The request wrote nothing.
    AlreadyExists,
}

/// Change the consent of a phone number, for all of its customers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdateConsent {
    /// The client that the number belongs to.
    pub client_id: ClientId,
    /// The number.
    pub phone: Phone,
    /// The new value.
    pub consent_type: ConsentType,
}
