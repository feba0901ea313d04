//! The handler: a gateway event in, an answer out, one log line a request.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use lambda_http::Context;
use lambda_http::lambda_runtime::{Diagnostic, LambdaEvent};
use serde_json::value::RawValue;

use crate::auth::{self, ApiKey, KeyCache};
use crate::domain::ClientId;
use crate::error::{Cause, Error, FailureDetail};
use crate::http::event::{Event, NotAnHttpEvent};
use crate::http::request;
use crate::http::response::Response;
use crate::http::route::{Operation, Route};
use crate::store::{Added, CallStats, Deadline, Store, plain};
use crate::telemetry;
use crate::time::UnixMillis;

/// Kept free before the invocation's deadline, to answer in: an answer that comes too late is a lost one.
const MARGIN: Duration = Duration::from_millis(500);

/// A request that takes longer counts as slow. A warm add takes a few milliseconds.
const SLOW: Duration = Duration::from_millis(1000);

/// One execution environment's function.
#[derive(Debug)]
pub struct Handler {
    store: Store,
    keys: KeyCache,
    /// Until the first request has come.
    is_cold: AtomicBool,
}

impl From<NotAnHttpEvent> for Diagnostic {
    fn from(_: NotAnHttpEvent) -> Self {
        Self {
            error_type: "NotAnHttpEvent".to_owned(),
            error_message: "The event is no HTTP request of API Gateway.".to_owned(),
        }
    }
}

/// What a request's log line tells beside its answer.
#[derive(Default)]
struct Record {
    operation: Option<Operation>,
    client_id: Option<ClientId>,
    /// SHA-256 of the key that was presented, if it has a key's shape.
    key_sha256_hex: Option<String>,
    /// Whether an earlier request with the same idempotency key had done it.
    replayed: bool,
    stats: CallStats,
}

/// By what a request is found again.
struct Ids<'a> {
    request_id: &'a str,
    lambda_request_id: &'a str,
    /// X-Ray's, where the request is traced.
    trace_id: Option<String>,
    function_name: &'a str,
}

impl Handler {
    /// Remembers a good API key for `key_cache`.
    pub fn new(store: Store, key_cache: Duration) -> Self {
        Self { store, keys: KeyCache::new(key_cache), is_cold: AtomicBool::new(true) }
    }

    /// Answers one invocation.
    ///
    /// # Errors
    /// [`NotAnHttpEvent`] where there is nobody to answer. Every HTTP event is answered, whatever happens.
    pub async fn handle(&self, invocation: LambdaEvent<Box<RawValue>>) -> Result<Response, NotAnHttpEvent> {
        let started = Instant::now();
        let LambdaEvent { payload, context } = invocation;
        let event = Event::read(payload.get())?;
        drop(payload);
        let request_id = event.request_id.as_deref().unwrap_or(&context.request_id);

        let mut record = Record::default();
        let (answer, detail) = match guarded(self.answer(&event, &context, &mut record)).await {
            Ok(answer) => (answer, None),
            Err(error) => (Response::error(&error, request_id), error.into_detail()),
        };
        let ids = Ids {
            request_id,
            lambda_request_id: &context.request_id,
            trace_id: context.xray_trace_id.as_deref().and_then(trace_id),
            function_name: &context.env_config.function_name,
        };
        self.log(&record, &answer, detail.as_ref(), ids, started.elapsed());
        Ok(answer)
    }

    /// Route, method, API key, request, write: the first that fails answers.
    async fn answer(&self, event: &Event, context: &Context, record: &mut Record) -> Result<Response, Error> {
        let now = UnixMillis::now();
        let deadline = Deadline::new(time_left(context, now));
        let route = Route::find(event)?;
        record.operation = Some(route.operation);
        let key = event.headers.api_key.as_deref().and_then(ApiKey::parse);
        record.key_sha256_hex = key.map(|key| key.sha256_hex());
        let client_id = self
            .keys
            .authorize(
                &self.store,
                record.key_sha256_hex.clone(),
                route.client_id.as_deref(),
                now,
                deadline,
                &mut record.stats,
            )
            .await?;
        record.client_id = Some(client_id.clone());
        let stats = &mut record.stats;
        let phone_number = route.phone_number.as_deref().unwrap_or_default();
        match route.operation {
            Operation::AddPhone => {
                let add = request::add_phone(client_id, &route, event, now)?;
                let added = self.store.add_phone(&add, deadline, stats).await?;
                record.replayed = added == Added::Before;
                let answer = Response::added(phone_number, add.ccid.as_str(), add.client_id.as_str());
                Ok(if record.replayed { answer.replayed() } else { answer })
            }
            Operation::RemovePhone => {
                let remove = request::remove_phone(client_id, &route, event)?;
                self.store.remove_phone(&remove, deadline, stats).await?;
                Ok(Response::removed(phone_number, remove.ccid.as_str(), remove.client_id.as_str()))
            }
            Operation::GetCustomer => {
                let ccid = request::customer(&route)?;
                let customer = self.store.customer(&client_id, &ccid, deadline, stats).await?;
                Ok(Response::customer(&client_id, &ccid, &customer))
            }
        }
    }

    /// The request's one line. Its capitalised fields are metrics: see [`crate::telemetry`].
    fn log(&self, record: &Record, answer: &Response, detail: Option<&FailureDetail>, ids: Ids<'_>, took: Duration) {
        let operation = record.operation.map_or("none", Operation::as_str);
        let status = answer.status_code;
        let code = answer.code.unwrap_or("ok");
        let client_id = record.client_id.as_ref().map(ClientId::as_str);
        let key_fingerprint = record.key_sha256_hex.as_deref().and_then(auth::fingerprint);
        let Ids { request_id, lambda_request_id, trace_id, function_name } = ids;
        let duration_ms = milliseconds(took);
        // What is counted by operation is told only where there was one, and conflicts only where there was a write.
        let per_operation = |count: u32| record.operation.map(|_| count);
        let (round_trips, retries) = (per_operation(record.stats.round_trips), per_operation(record.stats.retries));
        let throttles = per_operation(record.stats.throttles);
        let conflicts = record.operation.filter(|operation| operation.writes()).map(|_| record.stats.conflicts);
        let key_cache_hit = record.stats.key_was_remembered.map(u32::from);
        let cold_start = u32::from(self.is_cold.swap(false, Ordering::Relaxed));
        macro_rules! line {
            ($level:ident, $($more:tt)*) => {
                tracing::$level!(
                    target: telemetry::REQUEST,
                    operation, status, code, replayed = record.replayed, client_id, key_fingerprint, request_id,
                    lambda_request_id, trace_id, duration_ms,
                    FunctionName = function_name, Requests = 1_u32, RoundTrips = round_trips, Retries = retries,
                    Conflicts = conflicts, Throttles = throttles, Errors5xx = u32::from(status >= 500),
                    SlowRequests = u32::from(is_slow(took)), ColdStarts = cold_start, KeyCacheHits = key_cache_hit,
                    $($more)*
                )
            };
        }
        match detail {
            None => line!(info, "request answered"),
            Some(FailureDetail { cause, aws_code, aws_request_id, throttling_reason }) => {
                let (aws_code, aws_request_id) = (aws_code.as_deref(), aws_request_id.as_deref());
                let throttling_reason = throttling_reason.as_deref();
                let (cause, message) = (cause.as_str(), cause.message());
                line!(error, cause, aws_code, aws_request_id, throttling_reason, "{message}");
            }
        }
    }
}

fn is_slow(took: Duration) -> bool {
    took > SLOW
}

/// The trace's id in X-Ray's header, `Root=1-…;Parent=…;Sampled=1`.
fn trace_id(header: &str) -> Option<String> {
    header.split(';').find_map(|part| part.trim().strip_prefix("Root=")).and_then(plain)
}

/// To the microsecond: more is noise.
fn milliseconds(took: Duration) -> f64 {
    (took.as_secs_f64() * 1e6).round() / 1000.0
}

/// How long the request may take.
fn time_left(context: &Context, now: UnixMillis) -> Duration {
    Duration::from_millis(context.deadline.saturating_sub(now.millis())).saturating_sub(MARGIN)
}

/// No panic is known to be reachable from a request. If one is, its caller gets an answer and the process lives on.
async fn guarded(answer: impl Future<Output = Result<Response, Error>>) -> Result<Response, Error> {
    AssertUnwindSafe(answer)
        .catch_unwind()
        .await
        .unwrap_or_else(|_| Err(Error::Internal(FailureDetail::new(Cause::Panicked))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_answered() {
        let panicking = async {
            assert!(std::hint::black_box(false), "a value of the request");
            Err(Error::RouteNotFound)
        };
        assert_eq!(guarded(panicking).await, Err(Error::Internal(FailureDetail::new(Cause::Panicked))));
    }

    #[test]
    fn a_request_of_more_than_a_second_is_slow() {
        assert_eq!([1000, 1001].map(|millis| is_slow(Duration::from_millis(millis))), [false, true]);
    }

    #[test]
    fn a_trace_is_named_by_its_root() {
        let root = "1-5759e988-bd862e3fe1be46a994272793";
        for header in [format!("Root={root}"), format!("Self=1-2-3;Root={root};Parent=53995c3f42cd8ad8;Sampled=1")] {
            assert_eq!(trace_id(&header).as_deref(), Some(root));
        }
        for header in ["", "Parent=53995c3f42cd8ad8", "Root=a line\nof its own"] {
            assert_eq!(trace_id(header), None);
        }
    }

    #[test]
    fn a_duration_is_told_in_milliseconds_to_the_microsecond() {
        assert_eq!(milliseconds(Duration::from_nanos(1_234_567_891)).to_string(), "1234.568");
    }

    #[test]
    fn the_margin_is_kept_and_time_never_runs_below_zero() {
        let now = UnixMillis::now();
        let mut context = Context::default();
        for (ahead, left) in [(10_000, 9_500), (500, 0), (100, 0)] {
            context.deadline = now.millis() + ahead;
            assert_eq!(time_left(&context, now), Duration::from_millis(left));
        }
        context.deadline = 0;
        assert_eq!(time_left(&context, now), Duration::ZERO);
    }
}
