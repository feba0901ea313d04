//! The plan of a run, as data: what is asked, what goes wrong, and what operators do. A seed makes a plan; a plan makes a
//! run. A failing plan is shrunk by leaving parts of it out.

pub mod draw;
pub mod gateway_event;
pub mod generate;
pub mod names;

use cdm_lambda::domain::Limits;
use serde::{Deserialize, Serialize};

/// The plan of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The seed. Latencies, pauses and tokens are drawn from it while the plan runs.
    pub seed: u64,
    /// How many numbers a customer may have, and how many customers a number.
    pub limits: (u32, u32),
    /// The limits that the function gets, if they differ from `limits`. Then the run must fail. This is a break that needs
    /// no build.
    #[serde(default)]
    pub given_limits: Option<(u32, u32)>,
    /// How DynamoDB behaves where AWS does not document it.
    pub behavior: ServiceBehavior,
    /// The setting of the first deployment.
    pub key_cache_seconds: u64,
    /// How many environments may take requests at once. One that ends is not counted, although it finishes its request.
    pub environments: u32,
    /// How many times a client makes its request at most. A client that is not served then is a violation, unless this is
    /// a storm.
    pub tries: u32,
    /// A storm: more callers than can be served in time.
    pub is_storm: bool,
    /// The requests, by time.
    pub requests: Vec<Request>,
    /// What goes wrong with calls to DynamoDB.
    pub call_faults: Vec<CallFault>,
    /// What goes wrong with invocations.
    pub invocation_faults: Vec<InvocationFault>,
    /// What else happens, by time.
    pub events: Vec<Event>,
}

/// What a client wants. It repeats the request until it is answered, as the contract says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Its number.
    pub id: u32,
    /// When, in milliseconds from the start.
    pub at: u64,
    /// The operation.
    pub operation: Operation,
    /// The client's index.
    pub client: u16,
    /// The customer's index. The last one does not exist at the start.
    pub customer: u16,
    /// The phone number's index.
    pub phone: u16,
    /// The index of the `Idempotency-Key`.
    pub idempotency: Option<u16>,
    /// The index of the `client_source`.
    pub source: u16,
    /// The consent that an add states, or that an update sets.
    #[serde(default)]
    pub consent: Option<Consent>,
    /// The API key.
    pub key: ApiKey,
    /// How long the client waits for a response, in milliseconds.
    pub timeout_millis: u64,
}

/// An operation of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "named as in the API")]
pub enum Operation {
    Add,
    Remove,
    Read,
    Create,
    Delete,
    ReadPhone,
    UpdateConsent,
}

/// A consent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[expect(missing_docs, reason = "named as in the API")]
pub enum Consent {
    Written,
    Express,
    Stop,
}

/// An API key of a client, or a key that was never issued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ApiKey {
    /// A key of this client. The key with index 0 is never revoked.
    Of {
        /// The client's index.
        client: u16,
        /// The key's index.
        index: u16,
    },
    /// A key that was never issued.
    Unknown,
}

/// What goes wrong with one call to DynamoDB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallFault {
    /// The request.
    pub request: u32,
    /// The number of the call, over all tries of the request.
    pub call: u32,
    /// The fault.
    pub fault: Fault,
}

/// What goes wrong between the function and DynamoDB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fault {
    /// The name of the endpoint does not resolve.
    Dns,
    /// The name server does not respond.
    DnsHangs,
    /// The endpoint refuses connections.
    Unreachable,
    /// The call never arrives, and no response comes.
    LostRequest,
    /// The call is carried out, and no response comes.
    LostResponse,
    /// The connection ends before the call arrives.
    ResetBefore,
    /// The connection ends after the call is carried out.
    ResetAfter,
    /// The call arrives this many milliseconds late.
    Late(u64),
    /// The connection ends at once, and the call arrives this many milliseconds late.
    ResetAndLate(u64),
    /// The response arrives this many milliseconds late.
    SlowResponse(u64),
    /// The transaction holds its items this many milliseconds longer.
    Stuck(u64),
    /// Another server responds, with this status and a page, and the call does not arrive.
    PageBefore(u16),
    /// The same, after the call is carried out.
    PageAfter(u16),
    /// A part of the response arrives.
    HalfResponse,
    /// 200 with nothing in it, and the call does not arrive.
    EmptyBefore,
    /// DynamoDB fails with this status before it carries out the call.
    FailureBefore(u16),
    /// DynamoDB fails with this status after it carried out the call.
    FailureAfter(u16),
    /// DynamoDB throttles the call, with the code that has this index.
    Throttled(u16),
    /// DynamoDB throttles an item of the transaction: the first if the number is even, otherwise the second, if there is
    /// one. Half of the number is the index of the code.
    ItemThrottled(u16),
    /// DynamoDB refuses the transaction for a conflict with a transaction that no other caller sees.
    Conflict,
    /// DynamoDB refuses the call, and would refuse it again.
    AccessDenied,
}

/// What goes wrong with one invocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct InvocationFault {
    /// The request.
    pub request: u32,
    /// The try: 0 is the first.
    pub attempt: u32,
    /// Milliseconds: for a gateway, after it took the request, otherwise after the environment began to handle it.
    pub after: u64,
    /// The fault.
    pub fault: Accident,
}

/// What goes wrong with an invocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Accident {
    /// The environment is killed.
    Killed,
    /// The environment stands still for this many milliseconds.
    Frozen(u64),
    /// The gateway gives up, and the invocation goes on.
    GatewayGivesUp,
}

/// Something that happens at a time, whatever is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When, in milliseconds from the start.
    pub at: u64,
    /// What happens.
    pub kind: EventKind,
}

/// What happens in an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventKind {
    /// The clock of an environment jumps, and jumps back after some time.
    ClockJumps {
        /// The environment's index among those that are alive.
        environment: u32,
        /// By how many milliseconds.
        by: i64,
        /// Milliseconds until it jumps back.
        lasts: u64,
    },
    /// An environment's credentials expire. The platform ends the environment some time later.
    CredentialsExpire {
        /// The environment's index among those that are alive.
        environment: u32,
        /// Milliseconds until the environment ends.
        lasts: u64,
    },
    /// Every call to DynamoDB goes wrong for so many milliseconds.
    Outage {
        /// Milliseconds until it is over.
        lasts: u64,
    },
    /// The platform ends the idle environments.
    Recycle,
    /// A deployment with another setting replaces the environments.
    Deploy {
        /// `KEY_CACHE_SECONDS`.
        key_cache_seconds: u64,
    },
    /// An operator issues a key.
    IssueKey {
        /// The client's index.
        client: u16,
        /// The key's index.
        index: u16,
        /// Milliseconds until it expires, if it does.
        expires_in: Option<u64>,
    },
    /// An operator revokes a key.
    RevokeKey {
        /// The client's index.
        client: u16,
        /// The key's index.
        index: u16,
    },
    /// An operator imports a number, past the API.
    Import {
        /// The client's index.
        client: u16,
        /// The customer's index.
        customer: u16,
        /// The phone number's index.
        phone: u16,
    },
    /// A mistake takes `created_at` out of an API key's item.
    Corrupt {
        /// The client's index.
        client: u16,
        /// The key's index.
        index: u16,
    },
    /// An operator checks the table and repairs it.
    Check,
    /// The table is copied, as a backup does.
    Backup,
    /// The last copy is restored as a new table, and a deployment switches to it.
    Restore,
}

/// The published limits.
pub const CONTRACT: (u32, u32) = (Limits::CONTRACT.phones_per_customer, Limits::CONTRACT.customers_per_phone);

/// How DynamoDB behaves where AWS does not document it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceBehavior {
    /// If two transactions meet, both are refused. Otherwise only the later one is.
    pub refuses_both: bool,
    /// A cancelled transaction keeps its token, so that a repeat is cancelled again.
    pub remembers_cancelled: bool,
    /// The shortest and the longest time for which a transaction holds its items after the last one passed, in
    /// milliseconds. The other items are held since they passed.
    pub holds: (u64, u64),
}
