//! Every failure of a request, and the one table of status, code and message.

use std::borrow::Cow;

use crate::domain::Limits;
use crate::http::response::{ErrorBody, Response};
use crate::http::{FieldError, RequestError};
use crate::sources::Sources;
use crate::store::{FailureDetail, StoreError};

/// Why a request failed.
#[derive(Debug, PartialEq, Eq)]
pub enum Error {
    /// The route, the method or a field of the request is invalid.
    Request(RequestError),
    /// The request has no API key, or none that is valid for this client. It deliberately says no more.
    Unauthorized,
    /// The store refused the request or failed.
    Store(StoreError),
}

impl From<RequestError> for Error {
    fn from(error: RequestError) -> Self {
        Self::Request(error)
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// The `code` of an error response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorCode {
    /// A field of the request breaks a rule.
    InvalidRequest,
    /// The API key is missing or not valid for this client.
    Unauthorized,
    /// No operation has this path.
    RouteNotFound,
    /// The client has no customer with this ccid.
    CustomerNotFound,
    /// The record, or the client, does not have the number.
    PhoneNotFound,
    /// The path belongs to an operation, but the method does not.
    MethodNotAllowed,
    /// The number is already on the record.
    PhoneAlreadyAdded,
    /// The record has as many numbers as it may have.
    CustomerPhoneLimitReached,
    /// The number is on as many records as it may be on.
    PhoneCustomerLimitReached,
    /// The idempotency key was used for this record and number with other values.
    IdempotencyKeyReused,
    /// Nothing was written, and a retry is likely to succeed.
    TryAgain,
    /// Anything else.
    InternalError,
}

impl ErrorCode {
    /// Every code, ordered by status.
    pub const ALL: [Self; 12] = [
        Self::InvalidRequest,
        Self::Unauthorized,
        Self::RouteNotFound,
        Self::CustomerNotFound,
        Self::PhoneNotFound,
        Self::MethodNotAllowed,
        Self::PhoneAlreadyAdded,
        Self::CustomerPhoneLimitReached,
        Self::PhoneCustomerLimitReached,
        Self::IdempotencyKeyReused,
        Self::TryAgain,
        Self::InternalError,
    ];

    /// The code as the contract spells it.
    pub fn as_str(self) -> &'static str {
        self.row().1
    }

    /// The HTTP status.
    pub fn status(self) -> u16 {
        self.row().0
    }

    /// The message for people.
    pub fn message(self, limits: Limits) -> Cow<'static, str> {
        let message = self.row().2;
        let limit = match self {
            Self::CustomerPhoneLimitReached => limits.phones_per_customer,
            Self::PhoneCustomerLimitReached => limits.customers_per_phone,
            _ => return message.into(),
        };
        message.replace("{limit}", &limit.to_string()).into()
    }

    /// The table.
    fn row(self) -> (u16, &'static str, &'static str) {
        match self {
            Self::InvalidRequest => (400, "invalid_request", "The request is invalid: see errors."),
            Self::Unauthorized => (
                401,
                "unauthorized",
                "Unauthorized: the x-relay-api-key header is missing or not valid for this client.",
            ),
            Self::RouteNotFound => (404, "route_not_found", "No such route. Please verify the path."),
            Self::CustomerNotFound => (404, "customer_not_found", "The client has no customer with this ccid."),
            Self::PhoneNotFound => (404, "phone_not_found", "The customer or client does not have this phone number."),
            Self::MethodNotAllowed => {
                (405, "method_not_allowed", "This route does not support this method: see the Allow header.")
            }
            Self::PhoneAlreadyAdded => {
                (409, "phone_already_added", "The phone number is already on this customer's record.")
            }
            Self::CustomerPhoneLimitReached => {
                (409, "customer_phone_limit_reached", "The customer already has {limit} phone numbers.")
            }
            Self::PhoneCustomerLimitReached => {
                (409, "phone_customer_limit_reached", "The phone number is already on {limit} customers.")
            }
            Self::IdempotencyKeyReused => (
                409,
                "idempotency_key_reused",
                "The Idempotency-Key was used for this customer and phone number with other values.",
            ),
            Self::TryAgain => (500, "try_again", "Nothing was written. Please retry your request."),
            Self::InternalError => (
                500,
                "internal_error",
                "An unexpected error occurred and the outcome is unknown. Please retry your request: \
                 phone_already_added then means that the number was added.",
            ),
        }
    }
}

/// The value of `Retry-After`, in seconds, for a request that wrote nothing. It is drawn at random, so that requests that
/// failed together do not come back together.
fn retry_after(fraction: f64) -> &'static str {
    match fraction {
        ..0.2 => "1",
        0.2..0.4 => "2",
        0.4..0.6 => "3",
        0.6..0.8 => "4",
        _ => "5",
    }
}

impl Error {
    /// The code of the response.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Request(RequestError::RouteNotFound) => ErrorCode::RouteNotFound,
            Self::Request(RequestError::MethodNotAllowed { .. }) => ErrorCode::MethodNotAllowed,
            Self::Request(RequestError::Invalid(_)) => ErrorCode::InvalidRequest,
            Self::Unauthorized => ErrorCode::Unauthorized,
            Self::Store(error) => match error {
                StoreError::CustomerNotFound => ErrorCode::CustomerNotFound,
                StoreError::PhoneNotFound => ErrorCode::PhoneNotFound,
                StoreError::PhoneAlreadyAdded => ErrorCode::PhoneAlreadyAdded,
                StoreError::CustomerPhoneLimitReached => ErrorCode::CustomerPhoneLimitReached,
                StoreError::PhoneCustomerLimitReached => ErrorCode::PhoneCustomerLimitReached,
                StoreError::IdempotencyKeyReused => ErrorCode::IdempotencyKeyReused,
                StoreError::TryAgain(_) => ErrorCode::TryAgain,
                StoreError::Internal(_) => ErrorCode::InternalError,
            },
        }
    }

    /// The response, with the gateway's id of the request.
    pub fn response(&self, request_id: &str, limits: Limits, sources: &dyn Sources) -> Response {
        let code = self.code();
        let errors: &[FieldError] = match self {
            Self::Request(RequestError::Invalid(errors)) => errors,
            _ => &[],
        };
        let body = ErrorBody { message: &code.message(limits), code: code.as_str(), request_id, errors };
        let response = Response::error(code.status(), &body);
        match self {
            Self::Request(RequestError::MethodNotAllowed { allow }) => response.with_header("allow", allow.clone()),
            Self::Store(StoreError::TryAgain(_)) => {
                response.with_header("retry-after", retry_after(sources.fraction()))
            }
            _ => response,
        }
    }

    /// The details for operators, if the failure is not the caller's.
    pub fn into_detail(self) -> Option<FailureDetail> {
        match self {
            Self::Store(error) => error.into_detail(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_has_its_own_name_and_message() {
        for (place, code) in ErrorCode::ALL.into_iter().enumerate() {
            assert!(code.as_str().bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'));
            for other in ErrorCode::ALL.into_iter().skip(place + 1) {
                assert_ne!(code.as_str(), other.as_str());
                assert_ne!(code.message(Limits::CONTRACT), other.message(Limits::CONTRACT));
            }
        }
    }

    #[test]
    fn a_limits_message_names_the_limit() {
        let limits = Limits { phones_per_customer: 3, customers_per_phone: 4 };
        let message = |code: ErrorCode| code.message(limits);
        assert_eq!(message(ErrorCode::CustomerPhoneLimitReached), "The customer already has 3 phone numbers.");
        assert_eq!(message(ErrorCode::PhoneCustomerLimitReached), "The phone number is already on 4 customers.");
    }
}
