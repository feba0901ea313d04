//! Describes a failed call to DynamoDB in one line for the operator: what happened, and what to do. It never shows
//! the SDK's own text, which may contain a request.

use std::error::Error as StdError;
use std::fmt::Debug;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use cdm_lambda::store::throttling;
use cdm_lambda::store::{Cause, FailureDetail, StoreError};

use crate::aws::network_failure::{NetworkFailure, find};
use crate::ui::{Failure, plain};

/// Describes a failed call. `what` says what could not be done.
pub(crate) fn call<E, R>(what: &str, error: &SdkError<E, R>, table: &str) -> Failure
where
    E: ProvideErrorMetadata + StdError + 'static,
    R: Debug + 'static,
{
    let why = match error {
        SdkError::ServiceError(_) => match error.code() {
            Some(code) => of_code(code, table).unwrap_or_else(|| format!("DynamoDB returned {}", plain(code))),
            None => "the response did not come from DynamoDB: check AWS_ENDPOINT_URL_DYNAMODB".to_owned(),
        },
        SdkError::ConstructionFailure(_) | SdkError::DispatchFailure(_) if is_of_credentials(error) => {
            match NetworkFailure::within(error) {
                Some(failure) => format!("the credentials cannot be renewed: {failure}"),
                None => "the credentials have expired and cannot be renewed: log in again".to_owned(),
            }
        }
        SdkError::ConstructionFailure(_) => "the call could not be made".to_owned(),
        SdkError::TimeoutError(_) => "DynamoDB did not respond in time: run the command again".to_owned(),
        SdkError::DispatchFailure(_) => NetworkFailure::within(error).map_or(UNREACHABLE.to_owned(), unreachable),
        _ => "DynamoDB's response could not be read: run the command again".to_owned(),
    };
    Failure(format!("{what}: {why}"))
}

/// Describes why DynamoDB cannot be reached.
pub(crate) fn unreachable(failure: &NetworkFailure) -> String {
    if failure.is_no_response() {
        return format!(
            "DynamoDB cannot be reached: {failure}: check the network, the region and AWS_ENDPOINT_URL_DYNAMODB"
        );
    }
    format!("DynamoDB cannot be reached: {failure}")
}

/// Whether the credentials failed.
pub(crate) fn is_of_credentials(error: &(dyn StdError + 'static)) -> bool {
    find::<CredentialsError>(error).is_some()
}

const UNREACHABLE: &str = "DynamoDB cannot be reached: check the network, the region and AWS_ENDPOINT_URL_DYNAMODB";

const BUSY: &str = "DynamoDB throttled the call: run the command again in a while";

/// What a DynamoDB code means to an operator.
fn of_code(code: &str, table: &str) -> Option<String> {
    Some(match code {
        "ResourceNotFoundException" => {
            format!(
                "the table {table} does not exist here: check --table and the region, or create it with `cdm table create`"
            )
        }
        "AccessDeniedException" => {
            "these credentials do not have permission: attach the policy of the stack's output OperatorPolicyArn"
                .to_owned()
        }
        "ExpiredTokenException" => "the credentials have expired: log in again".to_owned(),
        "UnrecognizedClientException"
        | "InvalidSignatureException"
        | "IncompleteSignatureException"
        | "MissingAuthenticationTokenException" => {
            "AWS does not accept the credentials: log in again, and check AWS_PROFILE".to_owned()
        }
        _ if throttling::is_throttled_call(code) => BUSY.to_owned(),
        _ => return None,
    })
}

/// Describes why an operation of the function's store failed.
pub(crate) fn refusal(error: StoreError, table: &str) -> Failure {
    let why = match error {
        StoreError::CustomerNotFound => {
            "the client has no customer with this ccid: check both, or create it with `cdm customer create`".to_owned()
        }
        StoreError::PhoneNotFound => {
            "the customer does not have this phone number: `cdm customer show` lists its numbers".to_owned()
        }
        StoreError::PhoneAlreadyAdded => "the phone number is already on this customer's record".to_owned(),
        StoreError::CustomerPhoneLimitReached => {
            "the customer already has 50 phone numbers: remove one with `cdm phone remove`".to_owned()
        }
        StoreError::PhoneCustomerLimitReached => {
            "the phone number is already on 50 customers: `cdm phone who` lists them".to_owned()
        }
        StoreError::TryAgain(detail) => {
            let why = describe_detail(&detail, table);
            format!("nothing was written: {why}")
        }
        StoreError::Internal(detail) => describe_detail(&detail, table),
        // Only API requests have an idempotency key.
        StoreError::IdempotencyKeyReused => "the operation was refused".to_owned(),
    };
    Failure(why)
}

fn describe_detail(detail: &FailureDetail, table: &str) -> String {
    if let Some(why) = detail.aws_code.as_deref().and_then(|code| of_code(code, table)) {
        return why;
    }
    let what = detail.cause.message();
    match detail.cause {
        Cause::NoConnection | Cause::Dns => UNREACHABLE.to_owned(),
        Cause::NoCredentials => format!("{what}: log in, or set AWS_PROFILE"),
        Cause::Throttled => BUSY.to_owned(),
        cause if cause.is_corruption() => format!("{what}: run `cdm check`"),
        _ => format!("{what}: run the command again"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(error: StoreError) -> String {
        refusal(error, "phones").0
    }

    /// A throttled transaction has the code of every cancelled transaction.
    #[test]
    fn only_a_throttled_transaction_is_reported_as_throttled() {
        let cancelled = |cause| {
            let code = Some("TransactionCanceledException".to_owned());
            text(StoreError::TryAgain(FailureDetail { aws_code: code, ..FailureDetail::new(cause) }))
        };
        assert_eq!(cancelled(Cause::Throttled), format!("nothing was written: {BUSY}"));
        assert!(!cancelled(Cause::Conflict).contains("throttle"));
    }

    #[test]
    fn each_cause_says_what_to_do() {
        for cause in Cause::ALL {
            let text = text(StoreError::Internal(FailureDetail::new(cause)));
            assert!(["run ", "check ", "log in"].iter().any(|advice| text.contains(advice)), "{text}");
        }
    }
}
