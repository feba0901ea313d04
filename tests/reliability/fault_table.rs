//! What can go wrong between the function and DynamoDB, by name, and what must follow from it.

/// Whether and when DynamoDB gets the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Applied {
    Never,
    AtOnce,
    /// After the client has given up on it, and after some other requests.
    Late,
}

/// What the client gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// DynamoDB's own answer.
    Answer,
    /// The connection reset.
    Reset,
    /// Nothing, until it hangs up.
    Silence,
    /// A part of DynamoDB's answer, then the end of the connection.
    Half,
    /// Status 200 with something else in it.
    Garbage,
    /// Status 200 with nothing in it at all.
    Empty,
    /// A failure of DynamoDB's own, with this status and code.
    Failure(u16, &'static str),
    /// A failure of something before DynamoDB, with this status.
    Page(u16),
    /// A cancellation with these reasons, the second with an old item at the limit where its condition failed.
    Cancelled([&'static str; 2]),
}

/// One thing that can go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fault(pub(crate) Applied, pub(crate) Ending);

/// No fault.
pub(crate) const PASS: Fault = Fault(Applied::AtOnce, Ending::Answer);

/// What must follow from a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The attempt certainly wrote nothing: retried, and `try_again` in the end.
    Refused,
    /// Nobody can tell: retried, and `internal_error` in the end.
    Unknown,
    /// Retrying will not help, and nothing was written: `internal_error` at once.
    Hopeless,
}

pub(crate) const CONFLICT: &str = "TransactionConflict";
const THROTTLING: &str = "ThrottlingError";
const THROUGHPUT: &str = "ProvisionedThroughputExceeded";
pub(crate) const CONDITION: &str = "ConditionalCheckFailed";
pub(crate) const PASSED: &str = "None";

/// Every fault of a write, by name.
pub(crate) const FAULTS: &[(&str, Fault, Fate)] = {
    use Applied::{AtOnce, Late, Never};
    use Ending::{Cancelled, Empty, Failure, Garbage, Half, Page, Reset, Silence};
    use Fate::{Hopeless, Refused, Unknown};
    &[
        ("reset before", Fault(Never, Reset), Unknown),
        ("reset after", Fault(AtOnce, Reset), Unknown),
        ("lost request", Fault(Never, Silence), Unknown),
        ("lost answer", Fault(AtOnce, Silence), Unknown),
        ("late request", Fault(Late, Silence), Unknown),
        ("half answer", Fault(AtOnce, Half), Unknown),
        ("garbage before", Fault(Never, Garbage), Unknown),
        ("garbage after", Fault(AtOnce, Garbage), Unknown),
        ("empty 200 before", Fault(Never, Empty), Unknown),
        ("500 before", Fault(Never, Failure(500, "InternalServerError")), Unknown),
        ("500 after", Fault(AtOnce, Failure(500, "InternalServerError")), Unknown),
        ("503 before", Fault(Never, Failure(503, "ServiceUnavailable")), Unknown),
        ("503 after", Fault(AtOnce, Failure(503, "ServiceUnavailable")), Unknown),
        ("502 page after", Fault(AtOnce, Page(502)), Unknown),
        ("400 page", Fault(Never, Page(400)), Unknown),
        ("in progress", Fault(Never, Failure(400, "TransactionInProgressException")), Unknown),
        ("access denied", Fault(Never, Failure(400, "AccessDeniedException")), Hopeless),
        ("validation", Fault(Never, Failure(400, "ValidationException")), Hopeless),
        ("throttled", Fault(Never, Failure(400, "ThrottlingException")), Refused),
        ("throughput", Fault(Never, Failure(400, "ProvisionedThroughputExceededException")), Refused),
        ("request limit", Fault(Never, Failure(400, "RequestLimitExceeded")), Refused),
        ("conflict on both", Fault(Never, Cancelled([CONFLICT, CONFLICT])), Refused),
        ("conflict on the record", Fault(Never, Cancelled([CONFLICT, PASSED])), Refused),
        ("conflict on the counter", Fault(Never, Cancelled([PASSED, CONFLICT])), Refused),
        ("conflict, counter full", Fault(Never, Cancelled([CONFLICT, CONDITION])), Refused),
        ("record throttled", Fault(Never, Cancelled([THROTTLING, PASSED])), Refused),
        ("record throttled, counter full", Fault(Never, Cancelled([THROTTLING, CONDITION])), Refused),
        ("counter throttled", Fault(Never, Cancelled([PASSED, THROTTLING])), Refused),
        ("throughput of the record", Fault(Never, Cancelled([THROUGHPUT, CONFLICT])), Refused),
        ("throughput of the counter", Fault(Never, Cancelled([PASSED, THROUGHPUT])), Refused),
    ]
};
