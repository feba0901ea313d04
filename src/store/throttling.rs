//! The codes with which DynamoDB throttles. This is the only list of them.

/// Whether this error code of a call means that DynamoDB throttled it. A throttled call wrote nothing.
pub fn is_throttled_call(code: &str) -> bool {
    matches!(
        code,
        "ThrottlingException" | "Throttling" | "ProvisionedThroughputExceededException" | "RequestLimitExceeded"
    )
}

/// Whether this reason of a cancelled transaction means that DynamoDB throttled it.
pub fn is_throttled_reason(code: &str) -> bool {
    matches!(code, "ThrottlingError" | "ProvisionedThroughputExceeded")
}
