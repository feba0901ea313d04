//! Everything that can end a request without a success. What callers are told of each is [`crate::answer`]'s.

/// A rule of the contract that a value breaks, told to people. It never holds the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule(pub &'static str);

/// One bad field of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// `path.NAME`, `header.NAME`, `body.NAME`, or `body` for the body as a whole.
    pub field: String,
    /// What the field must be.
    pub rule: Rule,
}

/// Why a request was not done.
#[derive(Debug, PartialEq, Eq)]
pub enum Error {
    /// Every bad field: path, then headers, then body.
    InvalidRequest(Vec<FieldError>),
    /// No key, or none that is good for this client. It deliberately says no more.
    Unauthorized,
    /// No operation has this path.
    RouteNotFound,
    /// The path is an operation's, the method is not.
    MethodNotAllowed {
        /// The method that the operation has.
        allow: &'static str,
    },
    /// The client has no customer with this ccid.
    CustomerNotFound,
    /// The record does not have the number.
    PhoneNotFound,
    /// The number is already on the record.
    PhoneAlreadyAdded,
    /// The record already has as many numbers as it may.
    CustomerPhoneLimitReached,
    /// The number is already on as many records as it may be.
    PhoneCustomerLimitReached,
    /// The caller's Idempotency-Key was used for this record and number with other values.
    IdempotencyKeyReused,
    /// Nothing was written, for certain, and a repeat is likely to succeed.
    TryAgain(Trouble),
    /// Anything else: the outcome is unknown, or a repeat alone will not help.
    Internal(Trouble),
}

impl Error {
    /// What went wrong, where the failure is ours.
    pub fn into_trouble(self) -> Option<Trouble> {
        match self {
            Self::TryAgain(trouble) | Self::Internal(trouble) => Some(trouble),
            _ => None,
        }
    }
}

/// What the person on call needs to know of a failure that is ours. It holds no value of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// What went wrong, in our own words.
    pub what: &'static str,
    /// DynamoDB's error code, where it gave one.
    pub aws_code: Option<String>,
    /// DynamoDB's id of the failed request, for a support case.
    pub aws_request_id: Option<String>,
    /// Whether it is what the table holds that is wrong: a repeat ends alike, and other items are not concerned.
    pub is_damage: bool,
}

impl Trouble {
    /// Trouble that DynamoDB has not named.
    pub fn new(what: &'static str) -> Self {
        Self { what, aws_code: None, aws_request_id: None, is_damage: false }
    }

    /// An item that is not whole or contradicts itself.
    pub fn damage(what: &'static str) -> Self {
        Self { is_damage: true, ..Self::new(what) }
    }
}
