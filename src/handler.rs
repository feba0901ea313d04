//! The handler: an event in, a response out, one log line per request.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use lambda_http::Context;
use lambda_http::lambda_runtime::{Diagnostic, LambdaEvent};
use serde_json::value::RawValue;
use tokio::time::Instant;

use crate::auth::{ApiKey, KeyCache};
use crate::error::Error;
use crate::http::event::{Event, NotAnHttpEvent};
use crate::http::response::Response;
use crate::http::route;
use crate::operations::{self, Call};
use crate::store::{CallContext, Cause, Deadline, FailureDetail, Store, StoreError};
use crate::telemetry::{RequestIds, RequestLog};
use crate::time::UnixMillis;

/// The time that a request leaves unused before the invocation's deadline, so that its response arrives in time.
const MARGIN: Duration = Duration::from_millis(500);

/// The function of one execution environment.
#[derive(Debug)]
pub struct Handler {
    store: Store,
    key_cache: KeyCache,
    /// True until the first request.
    is_cold: AtomicBool,
}

impl From<NotAnHttpEvent> for Diagnostic {
    fn from(_: NotAnHttpEvent) -> Self {
        Self {
            error_type: "NotAnHttpEvent".to_owned(),
            error_message: "The event is not an HTTP request of API Gateway.".to_owned(),
        }
    }
}

impl Handler {
    /// `key_cache` is how long a valid API key is cached.
    pub fn new(store: Store, key_cache: Duration) -> Self {
        Self { store, key_cache: KeyCache::new(key_cache), is_cold: AtomicBool::new(true) }
    }

    /// Responds to one invocation.
    ///
    /// # Errors
    /// [`NotAnHttpEvent`], if no caller waits for a response. Every HTTP event gets a response, whatever happens.
    pub async fn handle(&self, invocation: LambdaEvent<Box<RawValue>>) -> Result<Response, NotAnHttpEvent> {
        let started = Instant::now();
        let LambdaEvent { payload, context: invocation } = invocation;
        let event = Event::parse(payload.get())?;
        drop(payload);
        let request_id = event.request_id.as_deref().unwrap_or(&invocation.request_id);

        let now = self.store.sources().now();
        let mut context = CallContext::new(now, Deadline::new(time_left(&invocation, now)));
        let mut log = RequestLog::new(self.is_cold.swap(false, Ordering::Relaxed));
        let (response, failure) = match catch_panic(self.respond(&event, &mut context, &mut log)).await {
            Ok(response) => (response, None),
            Err(error) => (error.response(request_id, self.store.limits(), self.store.sources()), error.into_detail()),
        };
        let ids = RequestIds {
            request_id,
            lambda_request_id: &invocation.request_id,
            xray_header: invocation.xray_trace_id.as_deref(),
            function_name: &invocation.env_config.function_name,
        };
        log.write(&response, failure.as_ref(), &context.stats, ids, started.elapsed());
        Ok(response)
    }

    /// Route, method, API key, request, write. The first step that fails decides the response.
    async fn respond(&self, event: &Event, context: &mut CallContext, log: &mut RequestLog) -> Result<Response, Error> {
        let (operation, parameters) = route::find(event, &operations::ALL, |operation| operation.route)?;
        log.operation = Some(operation);
        log.key_sha256_hex = event.headers.api_key.as_deref().and_then(ApiKey::parse).map(|key| key.sha256_hex());
        let key_hash = log.key_sha256_hex.clone();
        let client_id = self.key_cache.authorize(&self.store, key_hash, parameters.get("client_id"), context).await?;
        let client_id = &*log.client_id.insert(client_id);
        (operation.run)(Call { store: &self.store, client_id, event, parameters: &parameters, context }).await
    }
}

/// The time that the request may take.
fn time_left(invocation: &Context, now: UnixMillis) -> Duration {
    Duration::from_millis(invocation.deadline.saturating_sub(now.millis())).saturating_sub(MARGIN)
}

/// Turns a panic into a response. No request is known to cause a panic. If one does, its caller still gets a response and
/// the process keeps running.
async fn catch_panic(respond: impl Future<Output = Result<Response, Error>>) -> Result<Response, Error> {
    AssertUnwindSafe(respond)
        .catch_unwind()
        .await
        .unwrap_or_else(|_| Err(StoreError::Internal(FailureDetail::new(Cause::Panicked)).into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::RequestError;

    #[tokio::test]
    async fn a_panic_becomes_an_internal_error() {
        let panicking = async {
            assert!(std::hint::black_box(false), "a value of the request");
            Err(RequestError::RouteNotFound.into())
        };
        let expected = StoreError::Internal(FailureDetail::new(Cause::Panicked));
        assert_eq!(catch_panic(panicking).await, Err(Error::Store(expected)));
    }

    #[test]
    fn the_margin_is_subtracted_and_the_time_left_is_never_negative() {
        let now = UnixMillis::now();
        let mut invocation = Context::default();
        for (ahead, left) in [(10_000, 9_500), (500, 0), (100, 0)] {
            invocation.deadline = now.millis() + ahead;
            assert_eq!(time_left(&invocation, now), Duration::from_millis(left));
        }
        invocation.deadline = 0;
        assert_eq!(time_left(&invocation, now), Duration::ZERO);
    }
}
