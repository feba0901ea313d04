//! Everything that can end a request without a success. What callers are told of each is [`crate::http::response`]'s.

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
    TryAgain(FailureDetail),
    /// Anything else: the outcome is unknown, or a repeat alone will not help.
    Internal(FailureDetail),
}

impl Error {
    /// What went wrong, where the failure is ours.
    pub fn into_detail(self) -> Option<FailureDetail> {
        match self {
            Self::TryAgain(detail) | Self::Internal(detail) => Some(detail),
            _ => None,
        }
    }
}

/// What the person on call needs to know of a failure that is ours. It holds no value of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailureDetail {
    /// What went wrong.
    pub cause: Cause,
    /// DynamoDB's error code, where it gave one.
    pub aws_code: Option<String>,
    /// DynamoDB's id of the failed request, for a support case.
    pub aws_request_id: Option<String>,
    /// Why DynamoDB throttled, in its own word, such as `TableWriteMaxOnDemandThroughputExceeded`.
    pub throttling_reason: Option<String>,
}

impl FailureDetail {
    /// A failure that DynamoDB has not named.
    pub fn new(cause: Cause) -> Self {
        Self { cause, aws_code: None, aws_request_id: None, throttling_reason: None }
    }
}

/// What went wrong. It is decided once, where the failure happens; the log line, the metrics and the operator's commands
/// all read it from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// DynamoDB refused the call for its rate.
    Throttled,
    /// Another transaction was changing the same item.
    Conflict,
    /// No connection could be made, so nothing was sent.
    NoConnection,
    /// The name of the endpoint did not resolve, so nothing was sent.
    Dns,
    /// There are no AWS credentials, so nothing was sent.
    NoCredentials,
    /// The connection ended before the response.
    ConnectionLost,
    /// DynamoDB did not respond within the time of one attempt.
    TimedOut,
    /// DynamoDB is still executing an earlier attempt under the same token.
    EarlierAttemptRunning,
    /// DynamoDB responded with a 5xx.
    ServiceFailed,
    /// DynamoDB refused the call, and would refuse it again: access denied, no such table.
    Refused,
    /// What responded was not DynamoDB, or only a part of its response arrived.
    UnreadableAnswer,
    /// DynamoDB cancelled the transaction for reasons that it does not document.
    UnknownCancellation,
    /// The client token belongs to a transaction that is not ours.
    TokenTaken,
    /// The customer's record contradicts itself.
    CorruptRecord,
    /// The phone number's counter contradicts itself.
    CorruptCounter,
    /// The record or the counter does not fit the update, and DynamoDB does not say which.
    CorruptItem,
    /// The API key's item contradicts itself.
    CorruptKey,
    /// The invocation had no time left for an attempt.
    OutOfTime,
    /// The call could not be built.
    NotBuilt,
    /// The operating system gave no random numbers.
    NoRandomness,
    /// The function panicked.
    Panicked,
}

impl Cause {
    /// Every cause.
    pub const ALL: [Self; 21] = [
        Self::Throttled,
        Self::Conflict,
        Self::NoConnection,
        Self::Dns,
        Self::NoCredentials,
        Self::ConnectionLost,
        Self::TimedOut,
        Self::EarlierAttemptRunning,
        Self::ServiceFailed,
        Self::Refused,
        Self::UnreadableAnswer,
        Self::UnknownCancellation,
        Self::TokenTaken,
        Self::CorruptRecord,
        Self::CorruptCounter,
        Self::CorruptItem,
        Self::CorruptKey,
        Self::OutOfTime,
        Self::NotBuilt,
        Self::NoRandomness,
        Self::Panicked,
    ];

    /// Its name in the log's field `cause`. Saved queries and alarms use it, so it stays as it is.
    pub fn as_str(self) -> &'static str {
        self.row().0
    }

    /// What it is called in the log's `message` and in the operator's commands.
    pub fn message(self) -> &'static str {
        self.row().1
    }

    /// Whether an item of the table is wrong. A repeat fails again, and other items are not affected.
    pub fn is_corruption(self) -> bool {
        matches!(self, Self::CorruptRecord | Self::CorruptCounter | Self::CorruptItem | Self::CorruptKey)
    }

    fn row(self) -> (&'static str, &'static str) {
        match self {
            Self::Throttled => ("throttled", "DynamoDB throttled the call"),
            Self::Conflict => ("conflict", "other requests were changing the same items"),
            Self::NoConnection => ("no_connection", "no connection to DynamoDB"),
            Self::Dns => ("dns", "the name of DynamoDB's endpoint did not resolve"),
            Self::NoCredentials => ("no_credentials", "there are no AWS credentials"),
            Self::ConnectionLost => ("connection_lost", "the connection to DynamoDB was lost"),
            Self::TimedOut => ("timed_out", "DynamoDB did not respond in time"),
            Self::EarlierAttemptRunning => ("earlier_attempt_running", "an earlier attempt has not ended"),
            Self::ServiceFailed => ("service_failed", "DynamoDB failed"),
            Self::Refused => ("refused", "DynamoDB refused the call"),
            Self::UnreadableAnswer => ("unreadable_answer", "the response was not DynamoDB's, or not whole"),
            Self::UnknownCancellation => {
                ("unknown_cancellation", "DynamoDB cancelled the transaction for reasons that are not known")
            }
            Self::TokenTaken => ("token_taken", "the client token was used before, and not by this write"),
            Self::CorruptRecord => ("corrupt_record", "the customer's record is corrupt"),
            Self::CorruptCounter => ("corrupt_counter", "the number's counter is corrupt"),
            Self::CorruptItem => ("corrupt_item", "the customer's record or the number's counter is corrupt"),
            Self::CorruptKey => ("corrupt_key", "the API key's item is corrupt"),
            Self::OutOfTime => ("out_of_time", "no time was left for an attempt"),
            Self::NotBuilt => ("not_built", "the call could not be built"),
            Self::NoRandomness => ("no_randomness", "the system has no random numbers"),
            Self::Panicked => ("panicked", "the function panicked"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_cause_has_a_name_and_words_of_its_own() {
        let names: BTreeSet<_> = Cause::ALL.iter().map(|cause| cause.as_str()).collect();
        let words: BTreeSet<_> = Cause::ALL.iter().map(|cause| cause.message()).collect();
        assert_eq!((names.len(), words.len()), (Cause::ALL.len(), Cause::ALL.len()));
        assert!(names.iter().all(|name| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')));
    }
}
