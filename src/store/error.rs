//! How an operation of the store fails.

/// Why the store did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreError {
    /// The client has no customer with this ccid.
    CustomerNotFound,
    /// The record, or the client, does not have the number.
    PhoneNotFound,
    /// The number is already on the record.
    PhoneAlreadyAdded,
    /// The record has as many numbers as it may have.
    CustomerPhoneLimitReached,
    /// The number is on as many records as it may be on.
    PhoneCustomerLimitReached,
    /// The idempotency key was used for this record and number with other values.
    IdempotencyKeyReused,
    /// Nothing was written, for certain, and a repeat is likely to succeed.
    TryAgain(FailureDetail),
    /// The outcome is unknown, or a repeat alone does not help.
    Internal(FailureDetail),
}

impl StoreError {
    /// The details, if the failure is not the caller's.
    pub fn into_detail(self) -> Option<FailureDetail> {
        match self {
            Self::TryAgain(detail) | Self::Internal(detail) => Some(detail),
            _ => None,
        }
    }
}

/// The details of a failure, for operators. They contain no value of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailureDetail {
    /// What went wrong.
    pub cause: Cause,
    /// DynamoDB's error code, if it sent one.
    pub aws_code: Option<String>,
    /// DynamoDB's id of the failed request, for a support case.
    pub aws_request_id: Option<String>,
    /// DynamoDB's reason for throttling, such as `TableWriteMaxOnDemandThroughputExceeded`.
    pub throttling_reason: Option<String>,
}

impl FailureDetail {
    /// A failure without an error response of DynamoDB.
    pub fn new(cause: Cause) -> Self {
        Self { cause, aws_code: None, aws_request_id: None, throttling_reason: None }
    }
}

/// What went wrong. It is decided once, where the failure happens. The log line, the metrics and the operator's commands
/// all use this decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// DynamoDB throttled the call.
    Throttled,
    /// Another transaction was changing the same item.
    Conflict,
    /// No connection could be made, so nothing was sent.
    NoConnection,
    /// The name of the endpoint did not resolve, so nothing was sent.
    Dns,
    /// No AWS credentials were found, so nothing was sent.
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
    /// The response did not come from DynamoDB, or only a part of it arrived.
    UnreadableResponse,
    /// DynamoDB cancelled the transaction for undocumented reasons.
    UnknownCancellation,
    /// The client token belongs to another transaction.
    TokenTaken,
    /// The customer's record is corrupt.
    CorruptRecord,
    /// The phone number's item is corrupt.
    CorruptCounter,
    /// The record or the counter does not fit the update, and DynamoDB does not say which.
    CorruptItem,
    /// The API key's item is corrupt.
    CorruptKey,
    /// The invocation had no time left for an attempt.
    OutOfTime,
    /// The call could not be built.
    NotBuilt,
    /// The operating system did not supply random numbers.
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
        Self::UnreadableResponse,
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

    /// The value of the log field `cause`. Saved queries and alarms use it, so it must not change.
    pub fn as_str(self) -> &'static str {
        self.row().0
    }

    /// The `message` of the log line, which the operator's commands show too.
    pub fn message(self) -> &'static str {
        self.row().1
    }

    /// Whether an item of the table is corrupt. A repeat fails again, and other items are not affected.
    pub fn is_corruption(self) -> bool {
        matches!(self, Self::CorruptRecord | Self::CorruptCounter | Self::CorruptItem | Self::CorruptKey)
    }

    fn row(self) -> (&'static str, &'static str) {
        match self {
            Self::Throttled => ("throttled", "DynamoDB throttled the call"),
            Self::Conflict => ("conflict", "other requests were changing the same items"),
            Self::NoConnection => ("no_connection", "no connection to DynamoDB"),
            Self::Dns => ("dns", "the name of DynamoDB's endpoint did not resolve"),
            Self::NoCredentials => ("no_credentials", "no AWS credentials were found"),
            Self::ConnectionLost => ("connection_lost", "the connection to DynamoDB was lost"),
            Self::TimedOut => ("timed_out", "DynamoDB did not respond in time"),
            Self::EarlierAttemptRunning => ("earlier_attempt_running", "an earlier attempt is still running"),
            Self::ServiceFailed => ("service_failed", "DynamoDB failed"),
            Self::Refused => ("refused", "DynamoDB refused the call"),
            Self::UnreadableResponse => {
                ("unreadable_answer", "the response did not come from DynamoDB, or is incomplete")
            }
            Self::UnknownCancellation => {
                ("unknown_cancellation", "DynamoDB cancelled the transaction for an unknown reason")
            }
            Self::TokenTaken => ("token_taken", "another write used the client token before"),
            Self::CorruptRecord => ("corrupt_record", "the customer's record is corrupt"),
            Self::CorruptCounter => ("corrupt_counter", "the number's counter is corrupt"),
            Self::CorruptItem => ("corrupt_item", "the customer's record or the number's counter is corrupt"),
            Self::CorruptKey => ("corrupt_key", "the API key's item is corrupt"),
            Self::OutOfTime => ("out_of_time", "no time was left for an attempt"),
            Self::NotBuilt => ("not_built", "the call could not be built"),
            Self::NoRandomness => ("no_randomness", "the operating system did not supply random numbers"),
            Self::Panicked => ("panicked", "the function panicked"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_cause_has_its_own_name_and_message() {
        let names: BTreeSet<_> = Cause::ALL.iter().map(|cause| cause.as_str()).collect();
        let messages: BTreeSet<_> = Cause::ALL.iter().map(|cause| cause.message()).collect();
        assert_eq!((names.len(), messages.len()), (Cause::ALL.len(), Cause::ALL.len()));
        assert!(names.iter().all(|name| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')));
    }
}
