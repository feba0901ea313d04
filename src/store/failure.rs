//! Reads the failure of one call to DynamoDB: its cause, and whether the call may have written.

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::RequestId;
use aws_sdk_dynamodb::operation::batch_get_item::BatchGetItemError;
use aws_sdk_dynamodb::operation::get_item::GetItemError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::ThrottlingReason;
use aws_smithy_runtime_api::client::dns::ResolveDnsError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

use super::retry::Attempt;
use super::{Cause, FailureDetail, StoreError, throttling};

/// An error that may contain DynamoDB's reasons for throttling.
pub(super) trait Throttling {
    /// Empty if the error is not a throttle, or if DynamoDB sent no reason.
    fn throttling_reasons(&self) -> &[ThrottlingReason];
}

macro_rules! throttling {
    ($($error:ty),+) => {$(
        impl Throttling for $error {
            fn throttling_reasons(&self) -> &[ThrottlingReason] {
                match self {
                    Self::ProvisionedThroughputExceededException(error) => error.throttling_reasons(),
                    Self::RequestLimitExceeded(error) => error.throttling_reasons(),
                    Self::ThrottlingException(error) => error.throttling_reasons(),
                    _ => &[],
                }
            }
        }
    )+};
}

throttling!(BatchGetItemError, GetItemError, TransactWriteItemsError);

/// The details of a failed call with this cause.
pub(super) fn detail<E: ProvideErrorMetadata + Throttling>(
    cause: Cause,
    error: &SdkError<E, HttpResponse>,
) -> FailureDetail {
    FailureDetail {
        cause,
        aws_code: error.code().and_then(plain),
        aws_request_id: error.request_id().and_then(plain),
        // The reason only. The resource is an ARN.
        throttling_reason: error
            .as_service_error()
            .and_then(|error| error.throttling_reasons().first()?.reason())
            .and_then(plain),
    }
}

/// Reads the failure of one call. The caller has already handled a cancelled transaction.
pub(super) fn failed<T, E: ProvideErrorMetadata + Throttling>(error: &SdkError<E, HttpResponse>) -> Attempt<T> {
    let detail = |cause| detail(cause, error);
    match error {
        SdkError::ServiceError(context) => match (error.code(), context.raw().status().as_u16()) {
            (Some(code), _) if throttling::is_throttled_call(code) => Attempt::Contended(detail(Cause::Throttled)),
            (Some("TransactionConflictException"), _) => Attempt::Contended(detail(Cause::Conflict)),
            // DynamoDB is still executing an earlier attempt under the same token.
            (Some("TransactionInProgressException"), _) => Attempt::Unknown(detail(Cause::EarlierAttemptRunning)),
            (_, 500..) => Attempt::Unknown(detail(Cause::ServiceFailed)),
            (Some(_), _) => Attempt::Settled(Err(StoreError::Internal(detail(Cause::Refused)))),
            (None, _) => Attempt::Unknown(detail(Cause::UnreadableResponse)),
        },
        SdkError::DispatchFailure(failure) => {
            let Some(failure) = failure.as_connector_error() else {
                return Attempt::Unknown(detail(Cause::ConnectionLost));
            };
            if cause_of::<CredentialsError>(failure).is_some() {
                // The next attempt would not find credentials either.
                Attempt::Settled(Err(StoreError::Internal(detail(Cause::NoCredentials))))
            } else if !never_connected(failure) {
                Attempt::Unknown(detail(Cause::ConnectionLost))
            } else if cause_of::<ResolveDnsError>(failure).is_some() {
                Attempt::Unsent(detail(Cause::Dns))
            } else {
                Attempt::Unsent(detail(Cause::NoConnection))
            }
        }
        SdkError::ConstructionFailure(_) => Attempt::Settled(Err(StoreError::Internal(detail(Cause::NotBuilt)))),
        // A timeout, half a response, garbage, or a variant of a newer SDK.
        _ => Attempt::Unknown(detail(Cause::UnreadableResponse)),
    }
}

/// Whether the connection failed before anything was sent.
fn never_connected(error: &(dyn std::error::Error + 'static)) -> bool {
    cause_of::<hyper_util::client::legacy::Error>(error).is_some_and(hyper_util::client::legacy::Error::is_connect)
}

/// The first error of this type in an error's chain of sources.
fn cause_of<'a, T: std::error::Error + 'static>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a T> {
    std::iter::successors(Some(error), |error| error.source()).find_map(|error| error.downcast_ref())
}

/// A code or id from outside, if it is safe in a log line. Anything else is dropped, because any server could have sent
/// it.
pub(crate) fn plain(text: &str) -> Option<String> {
    let is_safe = text.len() <= 64 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte));
    is_safe.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_outside_is_dropped_unless_it_is_safe_in_a_log_line() {
        assert_eq!(plain("ThrottlingException").as_deref(), Some("ThrottlingException"));
        assert_eq!(plain("com.amazonaws:A-1_b").as_deref(), Some("com.amazonaws:A-1_b"));
        assert_eq!(plain(&"a".repeat(64)).map(|text| text.len()), Some(64));
        for unsafe_text in ["a b", "a\nb", "\"", "+16105551212", "é", &"a".repeat(65)] {
            assert_eq!(plain(unsafe_text), None, "{unsafe_text:?}");
        }
    }
}
