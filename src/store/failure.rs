//! What one failed call to DynamoDB means: which cause, and whether it may have written.

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::RequestId;
use aws_sdk_dynamodb::operation::get_item::GetItemError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::ThrottlingReason;
use aws_smithy_runtime_api::client::dns::ResolveDnsError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

use crate::error::{Cause, Error, FailureDetail};
use crate::store::retry::Attempt;

/// An error of an operation that may say why DynamoDB throttled it.
pub(super) trait Throttling {
    /// Empty where it is another error, or where DynamoDB gave no reason.
    fn throttling_reasons(&self) -> &[ThrottlingReason];
}

impl Throttling for GetItemError {
    fn throttling_reasons(&self) -> &[ThrottlingReason] {
        match self {
            Self::ProvisionedThroughputExceededException(error) => error.throttling_reasons(),
            Self::RequestLimitExceeded(error) => error.throttling_reasons(),
            Self::ThrottlingException(error) => error.throttling_reasons(),
            _ => &[],
        }
    }
}

impl Throttling for TransactWriteItemsError {
    fn throttling_reasons(&self) -> &[ThrottlingReason] {
        match self {
            Self::ProvisionedThroughputExceededException(error) => error.throttling_reasons(),
            Self::RequestLimitExceeded(error) => error.throttling_reasons(),
            Self::ThrottlingException(error) => error.throttling_reasons(),
            _ => &[],
        }
    }
}

/// What DynamoDB said of a failed call, of which this is the cause.
pub(super) fn detail<E: ProvideErrorMetadata + Throttling>(
    cause: Cause,
    error: &SdkError<E, HttpResponse>,
) -> FailureDetail {
    FailureDetail {
        cause,
        aws_code: error.code().and_then(plain),
        aws_request_id: error.request_id().and_then(plain),
        // The reason, and not the resource: that is an ARN.
        throttling_reason: error
            .as_service_error()
            .and_then(|error| error.throttling_reasons().first()?.reason())
            .and_then(plain),
    }
}

/// Reads the failure of one call. Cancelled transactions are the caller's to read, before it comes here.
pub(super) fn failed<T, E: ProvideErrorMetadata + Throttling>(error: &SdkError<E, HttpResponse>) -> Attempt<T> {
    let detail = |cause| detail(cause, error);
    match error {
        SdkError::ServiceError(context) => match (error.code(), context.raw().status().as_u16()) {
            (
                Some(
                    "ThrottlingException"
                    | "Throttling"
                    | "ProvisionedThroughputExceededException"
                    | "RequestLimitExceeded",
                ),
                _,
            ) => Attempt::Contended(detail(Cause::Throttled)),
            (Some("TransactionConflictException"), _) => Attempt::Contended(detail(Cause::Conflict)),
            // An earlier attempt of ours is still at work.
            (Some("TransactionInProgressException"), _) => Attempt::Unknown(detail(Cause::EarlierAttemptRunning)),
            (_, 500..) => Attempt::Unknown(detail(Cause::ServiceFailed)),
            (Some(_), _) => Attempt::Settled(Err(Error::Internal(detail(Cause::Refused)))),
            (None, _) => Attempt::Unknown(detail(Cause::UnreadableAnswer)),
        },
        SdkError::DispatchFailure(failure) => {
            let Some(failure) = failure.as_connector_error() else {
                return Attempt::Unknown(detail(Cause::ConnectionLost));
            };
            if cause_of::<CredentialsError>(failure).is_some() {
                // Another attempt of this environment would find none either.
                Attempt::Settled(Err(Error::Internal(detail(Cause::NoCredentials))))
            } else if !never_connected(failure) {
                Attempt::Unknown(detail(Cause::ConnectionLost))
            } else if cause_of::<ResolveDnsError>(failure).is_some() {
                Attempt::Unsent(detail(Cause::Dns))
            } else {
                Attempt::Unsent(detail(Cause::NoConnection))
            }
        }
        SdkError::ConstructionFailure(_) => Attempt::Settled(Err(Error::Internal(detail(Cause::NotBuilt)))),
        // A timeout, half an answer, garbage, or what a newer SDK may add.
        _ => Attempt::Unknown(detail(Cause::UnreadableAnswer)),
    }
}

/// Whether the failure was in making the connection, so that nothing was sent.
fn never_connected(error: &(dyn std::error::Error + 'static)) -> bool {
    cause_of::<hyper_util::client::legacy::Error>(error).is_some_and(hyper_util::client::legacy::Error::is_connect)
}

/// The first error of this type among an error and its causes.
fn cause_of<'a, T: std::error::Error + 'static>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a T> {
    std::iter::successors(Some(error), |error| error.source()).find_map(|error| error.downcast_ref())
}

/// A code or id from outside, fit for a log line: whatever answers on the wire, nothing else gets in.
pub(crate) fn plain(text: &str) -> Option<String> {
    let fit = text.len() <= 64 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte));
    fit.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_from_outside_is_fit_for_a_log_line_or_left_out() {
        assert_eq!(plain("ThrottlingException").as_deref(), Some("ThrottlingException"));
        assert_eq!(plain("com.amazonaws:A-1_b").as_deref(), Some("com.amazonaws:A-1_b"));
        assert_eq!(plain(&"a".repeat(64)).map(|text| text.len()), Some(64));
        for unfit in ["a b", "a\nb", "\"", "+16105551212", "é", &"a".repeat(65)] {
            assert_eq!(plain(unfit), None, "{unfit:?}");
        }
    }
}
