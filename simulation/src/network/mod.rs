//! The network between the function and DynamoDB: the connector under the SDK's client, and its faults.

mod endpoint;
mod transaction;

use std::cell::OnceCell;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_sdk_dynamodb::config::SharedCredentialsProvider;
use aws_sdk_dynamodb::config::http::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::dns::{DnsFuture, ResolveDns, ResolveDnsError, SharedDnsResolver};
use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use cdm_lambda::config::Endpoint;
use cdm_lambda::store::client::DynamoDb;
use serde_json::json;
use tokio::sync::oneshot;
use tokio::time::sleep;

use crate::plan::Fault;
use crate::plan::draw::{Draw, Purpose};
use crate::service::message::{Call, Reason, Reply};
use crate::service::origin::Origin;
use crate::world::Simulation;

/// Who calls: an environment, or an operator.
#[derive(Debug, Default)]
pub struct Caller {
    state: Mutex<CallerState>,
}

#[derive(Debug, Clone, Copy, Default)]
struct CallerState {
    request: u32,
    attempt: u32,
    /// How many random numbers this try has drawn.
    drawn: u64,
    has_expired_credentials: bool,
    is_reliable: bool,
    /// Calls of the invocation, and whether one of them went wrong in another way than by contention.
    calls: u32,
    faulty: bool,
}

impl Caller {
    fn state(&self) -> std::sync::MutexGuard<'_, CallerState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next calls are of this try.
    pub fn begin(&self, request: u32, attempt: u32) {
        let mut state = self.state();
        (state.request, state.attempt, state.drawn, state.calls, state.faulty) = (request, attempt, 0, 0, false);
    }

    /// The key of the next random number: the request, the try, and how many numbers this try has drawn before.
    pub fn next_draw(&self) -> [u64; 3] {
        let mut state = self.state();
        state.drawn += 1;
        [state.request.into(), state.attempt.into(), state.drawn - 1]
    }

    /// No call goes wrong from now on. An operator would check the outcome and repeat the call.
    pub fn make_reliable(&self) {
        self.state().is_reliable = true;
    }

    /// Calls of this try so far, and whether one met a fault.
    pub fn calls(&self) -> (u32, bool) {
        let state = self.state();
        (state.calls, state.faulty)
    }

    /// The credentials expire, so that DynamoDB refuses every call from now on.
    pub fn expire_credentials(&self) {
        self.state().has_expired_credentials = true;
    }

    /// The request and the try.
    pub fn current(&self) -> (u32, u32) {
        let state = self.state();
        (state.request, state.attempt)
    }
}

/// The connector of one caller.
#[derive(Debug)]
pub struct SimulatedNetwork {
    /// The run.
    pub sim: Arc<Simulation>,
    /// Who calls.
    pub caller: Arc<Caller>,
}

impl HttpConnector for SimulatedNetwork {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (sim, caller) = (Arc::clone(&self.sim), Arc::clone(&self.caller));
        HttpConnectorFuture::new(async move {
            let target = request.headers().get("x-amz-target").unwrap_or_default();
            let call = Call::parse(target, request.body().bytes().unwrap_or_default());
            let call = call.unwrap_or_else(|unknown| unreachable!("{unknown}"));
            let (origin, fault) = begin(&sim, &caller, &call);
            sim.trace(format_args!("{origin}"), format_args!("-> {call}"));
            let outcome = send(&sim, &caller, origin, fault, call, request).await;
            match &outcome {
                Ok(response) => {
                    sim.trace(format_args!("{origin}"), format_args!("<- {}", response.status().as_u16()));
                }
                Err(_) => {
                    sim.trace(format_args!("{origin}"), format_args!("<- no response"));
                }
            }
            outcome
        })
    }
}

fn begin(sim: &Simulation, caller: &Caller, content: &Call) -> (Origin, Option<Fault>) {
    let mut state = caller.state();
    let call = sim.next_call(state.request);
    let fault = sim.fault(state.request, call).filter(|fault| !state.is_reliable && can_meet(content, *fault));
    state.calls += 1;
    state.faulty |=
        fault.is_some_and(|fault| !matches!(fault, Fault::Conflict | Fault::Throttled(_) | Fault::ItemThrottled(_)));
    let stuck = if let Some(Fault::Stuck(millis)) = fault { millis } else { 0 };
    (Origin { request: state.request, attempt: state.attempt, call, stuck }, fault)
}

/// Only a transaction meets another one, or is refused for one of its items.
fn can_meet(call: &Call, fault: Fault) -> bool {
    let is_of_a_transaction = matches!(fault, Fault::Conflict | Fault::ItemThrottled(_) | Fault::Stuck(_));
    !is_of_a_transaction || matches!(call, Call::Transaction(..))
}

const CALL_CODES: [&str; 3] = ["ThrottlingException", "ProvisionedThroughputExceededException", "RequestLimitExceeded"];
const ITEM_CODES: [&str; 2] = ["ThrottlingError", "ProvisionedThroughputExceeded"];

/// The code of a server error.
fn failure_code(status: u16) -> &'static str {
    if status == 503 { "ServiceUnavailable" } else { "InternalServerError" }
}

/// The reply that the caller gets in place of the service's, if the fault has one.
fn instead(fault: Fault, call: &Call) -> Option<Reply> {
    let page = |status| Reply { status, body: "<html>".to_owned(), summary: format!("{status} page") };
    let reasons = json!([{ "reason": "TableWriteMaxOnDemandThroughputExceeded", "resource": "arn:aws:simulated" }]);
    let cancelled = |index: usize, reason: Reason| {
        let Call::Transaction(_, actions) = call else { return None };
        let mut reasons = vec![Reason::PASSED; actions.len()];
        *reasons.get_mut(index.min(actions.len().saturating_sub(1)))? = reason;
        Some(Reply::cancelled(&reasons))
    };
    Some(match fault {
        Fault::PageBefore(status) => page(status),
        Fault::EmptyBefore => Reply { status: 200, body: String::new(), summary: "200 empty".to_owned() },
        Fault::FailureBefore(status) => Reply::error(status, failure_code(status), json!({})),
        Fault::AccessDenied => Reply::error(400, "AccessDeniedException", json!({})),
        Fault::Throttled(index) => {
            let code = CALL_CODES.get(usize::from(index)).copied().unwrap_or("ThrottlingException");
            // AWS spells the member in two ways.
            let member = if code == "ThrottlingException" { "throttlingReasons" } else { "ThrottlingReasons" };
            Reply::error(400, code, json!({ member: reasons }))
        }
        Fault::ItemThrottled(index) => {
            let code = ITEM_CODES.get(usize::from(index / 2)).copied().unwrap_or("ThrottlingError");
            return cancelled(usize::from(index % 2), Reason { code, item: None });
        }
        Fault::Conflict => return cancelled(0, Reason::CONFLICT),
        _ => return None,
    })
}

async fn send(
    sim: &Arc<Simulation>,
    caller: &Caller,
    origin: Origin,
    fault: Option<Fault>,
    call: Call,
    request: HttpRequest,
) -> Result<HttpResponse, ConnectorError> {
    if let Some(fault) = fault {
        sim.totals(|totals| totals.fault(fault));
        sim.trace(format_args!("{origin}"), format_args!("!! {fault:?}"));
    }
    match fault {
        Some(Fault::Dns) => return failing(Resolution::Fails).call(request).await,
        Some(Fault::DnsHangs) => return failing(Resolution::Hangs).call(request).await,
        Some(Fault::Unreachable) => return failing(Resolution::Empty).call(request).await,
        Some(Fault::LostRequest) => std::future::pending().await,
        _ => {}
    }
    let key = [u64::from(origin.request), u64::from(origin.call)];
    let mut draw = Draw::new(sim.plan.seed, Purpose::Latency, &key);
    let (there, back) = (draw.range(1, 4), draw.range(1, 4));
    let reset = || Err(ConnectorError::io("connection reset".into()));
    if fault == Some(Fault::ResetBefore) {
        sleep(Duration::from_millis(there)).await;
        return reset();
    }
    let instead = if caller.state().has_expired_credentials {
        Some(Reply::error(400, "ExpiredTokenException", json!({})))
    } else {
        fault.and_then(|fault| instead(fault, &call))
    };
    if let Some(reply) = instead {
        sleep(Duration::from_millis(there + back)).await;
        sim.trace(format_args!("{origin}"), format_args!("== {}", reply.summary));
        return Ok(response(&reply, origin));
    }
    let late = if let Some(Fault::Late(millis) | Fault::ResetAndLate(millis)) = fault { millis } else { 0 };
    let slow = if let Some(Fault::SlowResponse(millis)) = fault { millis } else { 0 };
    // The call goes on if its sender gives up.
    let (to_sender, from_service) = oneshot::channel();
    let carrier = Arc::clone(sim);
    tokio::spawn(async move {
        let carry = async {
            sleep(Duration::from_millis(there + late)).await;
            let reply = endpoint::handle(&carrier, origin, call).await;
            let target = request.headers().get("x-amz-target").unwrap_or_default();
            carrier.exchanged(target, request.body().bytes().unwrap_or_default(), &reply);
            carrier.trace(format_args!("{origin}"), format_args!("== {}", reply.summary));
            sleep(Duration::from_millis(back + slow)).await;
            // The sender may be gone.
            let _ = to_sender.send(reply);
        };
        carrier.catch_panic(format!("the service, called by {origin},"), carry).await;
    });
    if let Some(Fault::ResetAndLate(_)) = fault {
        sleep(Duration::from_millis(there)).await;
        return reset();
    }
    let Ok(mut reply) = from_service.await else { return reset() };
    match fault {
        Some(Fault::LostResponse) => return std::future::pending().await,
        Some(Fault::ResetAfter) => return reset(),
        Some(Fault::PageAfter(status)) => (reply.status, reply.body) = (status, "<html>".to_owned()),
        Some(Fault::HalfResponse) => reply.body.truncate(reply.body.len() / 2),
        Some(Fault::FailureAfter(status)) => reply = Reply::error(status, failure_code(status), json!({})),
        _ => {}
    }
    Ok(response(&reply, origin))
}

fn response(reply: &Reply, origin: Origin) -> HttpResponse {
    let status = reply.status.try_into().unwrap_or_else(|_| unreachable!("a valid status"));
    let mut response = HttpResponse::new(status, SdkBody::from(reply.body.as_str()));
    response.headers_mut().insert("x-amzn-requestid", format!("AWS-{origin}"));
    response
}

/// What a name server says.
#[derive(Debug, Clone, Copy)]
enum Resolution {
    Fails,
    Hangs,
    /// No address. The connection fails without a socket.
    Empty,
}

impl ResolveDns for Resolution {
    fn resolve_dns<'a>(&'a self, _: &'a str) -> DnsFuture<'a> {
        let resolution = *self;
        DnsFuture::new(async move {
            match resolution {
                Self::Fails => Err(ResolveDnsError::new("simulated")),
                Self::Hangs => std::future::pending().await,
                Self::Empty => Ok(Vec::<IpAddr>::new()),
            }
        })
    }
}

/// The function's own connector, which cannot connect. Each thread has its own, so that runs on different threads share
/// nothing.
fn failing(resolution: Resolution) -> SharedHttpConnector {
    thread_local! {
        static FAILING: [OnceCell<SharedHttpConnector>; 3] = const { [const { OnceCell::new() }; 3] };
    }
    FAILING.with(|[fails, hangs, empty]| {
        let slot = match resolution {
            Resolution::Fails => fails,
            Resolution::Hangs => hangs,
            Resolution::Empty => empty,
        };
        slot.get_or_init(|| dynamodb(SharedDnsResolver::new(resolution)).connector).clone()
    })
}

/// Builds what each thread has once. Building a client draws random numbers, so without this the first run of a thread
/// would draw others than a later one.
pub fn prepare() {
    shipped_client();
    for resolution in [Resolution::Fails, Resolution::Hangs, Resolution::Empty] {
        failing(resolution);
    }
}

/// The function's own client. Every caller replaces the connector by its own [`SimulatedNetwork`].
pub fn shipped_client() -> aws_sdk_dynamodb::Client {
    thread_local! {
        static CLIENT: OnceCell<aws_sdk_dynamodb::Client> = const { OnceCell::new() };
    }
    CLIENT.with(|client| client.get_or_init(|| dynamodb(SharedDnsResolver::new(Resolution::Fails)).client).clone())
}

fn dynamodb(resolver: SharedDnsResolver) -> DynamoDb {
    let endpoint = Endpoint {
        region: "us-east-1".to_owned(),
        url: Some("http://dynamodb.simulated".to_owned()),
        ca_bundle: None,
        use_fips: false,
        use_dual_stack: false,
    };
    let credentials = Credentials::new("simulated", "simulated", None, None, "simulation");
    let credentials = SharedCredentialsProvider::new(credentials);
    let mut building = Box::pin(DynamoDb::with_resolver(&endpoint, credentials, resolver));
    // It waits for nothing, because the endpoint has a URL.
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match building.as_mut().poll(&mut context) {
        std::task::Poll::Ready(Ok(dynamodb)) => dynamodb,
        _ => unreachable!("the client is built at once"),
    }
}
