//! The faults between the function and DynamoDB, each with its name and its required consequence.

/// Whether and when DynamoDB receives the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Applied {
    Never,
    Immediately,
    /// After other requests have ended. If the client waits longer than that, it receives the ending late.
    Late,
}

/// What the client receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// DynamoDB's own response.
    Response,
    /// A connection reset.
    Reset,
    /// Nothing, until the client closes the connection.
    Silence,
    /// A part of DynamoDB's response, then the end of the connection.
    Partial,
    /// Status 200 with a body that is not DynamoDB's.
    Garbage,
    /// Status 200 with an empty body.
    Empty,
    /// An error of DynamoDB, with this status and code.
    Error(u16, &'static str),
    /// An HTML page with this status, as a load balancer or proxy sends it.
    Page(u16),
    /// A cancelled transaction with these two reasons. A failed condition comes with an old item that is at the limit.
    Cancelled([&'static str; 2]),
}

/// One fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fault(pub(crate) Applied, pub(crate) Ending);

/// No fault.
pub(crate) const PASS: Fault = Fault(Applied::Immediately, Ending::Response);

/// What must follow from a fault of one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Consequence {
    /// The attempt certainly wrote nothing. Retry; respond `try_again` if the fault persists.
    NotWritten,
    /// The attempt may have written. Retry; respond `internal_error` if the fault persists.
    Unknown,
    /// The attempt wrote nothing and a retry cannot help. Respond `internal_error` without a retry.
    Permanent,
}

pub(crate) const CONFLICT: &str = "TransactionConflict";
const THROTTLING: &str = "ThrottlingError";
const THROUGHPUT: &str = "ProvisionedThroughputExceeded";
pub(crate) const CONDITION: &str = "ConditionalCheckFailed";
pub(crate) const PASSED: &str = "None";

/// Every fault of a write, by name.
pub(crate) const FAULTS: &[(&str, Fault, Consequence)] = {
    use Applied::{Immediately, Late, Never};
    use Consequence::{NotWritten, Permanent, Unknown};
    use Ending::{Cancelled, Empty, Error, Garbage, Page, Partial, Reset, Silence};
    &[
        ("reset before", Fault(Never, Reset), Unknown),
        ("reset after", Fault(Immediately, Reset), Unknown),
        ("lost request", Fault(Never, Silence), Unknown),
        ("lost response", Fault(Immediately, Silence), Unknown),
        ("late request", Fault(Late, Silence), Unknown),
        ("partial response", Fault(Immediately, Partial), Unknown),
        ("garbage before", Fault(Never, Garbage), Unknown),
        ("garbage after", Fault(Immediately, Garbage), Unknown),
        ("empty 200 before", Fault(Never, Empty), Unknown),
        ("500 before", Fault(Never, Error(500, "InternalServerError")), Unknown),
        ("500 after", Fault(Immediately, Error(500, "InternalServerError")), Unknown),
        ("503 before", Fault(Never, Error(503, "ServiceUnavailable")), Unknown),
        ("503 after", Fault(Immediately, Error(503, "ServiceUnavailable")), Unknown),
        ("502 page after", Fault(Immediately, Page(502)), Unknown),
        ("400 page", Fault(Never, Page(400)), Unknown),
        ("in progress", Fault(Never, Error(400, "TransactionInProgressException")), Unknown),
        ("access denied", Fault(Never, Error(400, "AccessDeniedException")), Permanent),
        ("validation", Fault(Never, Error(400, "ValidationException")), Permanent),
        ("throttled", Fault(Never, Error(400, "ThrottlingException")), NotWritten),
        ("throughput", Fault(Never, Error(400, "ProvisionedThroughputExceededException")), NotWritten),
        ("request limit", Fault(Never, Error(400, "RequestLimitExceeded")), NotWritten),
        ("conflict on both", Fault(Never, Cancelled([CONFLICT, CONFLICT])), NotWritten),
        ("conflict on the record", Fault(Never, Cancelled([CONFLICT, PASSED])), NotWritten),
        ("conflict on the counter", Fault(Never, Cancelled([PASSED, CONFLICT])), NotWritten),
        ("conflict, counter full", Fault(Never, Cancelled([CONFLICT, CONDITION])), NotWritten),
        ("record throttled", Fault(Never, Cancelled([THROTTLING, PASSED])), NotWritten),
        ("record throttled, counter full", Fault(Never, Cancelled([THROTTLING, CONDITION])), NotWritten),
        ("counter throttled", Fault(Never, Cancelled([PASSED, THROTTLING])), NotWritten),
        ("throughput of the record", Fault(Never, Cancelled([THROUGHPUT, CONFLICT])), NotWritten),
        ("throughput of the counter", Fault(Never, Cancelled([PASSED, THROUGHPUT])), NotWritten),
    ]
};
