//! The one log line of a request. Its capitalised fields are metrics: see [`super::json`].

use std::time::Duration;

use super::json::REQUEST;
use crate::auth;
use crate::domain::ClientId;
use crate::http::response::Response;
use crate::operations::Operation;
use crate::store::{CallStats, FailureDetail, plain};

/// A request that takes longer counts as slow. A warm add takes a few milliseconds.
const SLOW: Duration = Duration::from_millis(1000);

/// What becomes known of a request while it is handled.
#[derive(Debug, Default)]
pub struct RequestLog {
    /// The operation, if the route matched one.
    pub operation: Option<Operation>,
    /// The client, if the API key is valid.
    pub client_id: Option<ClientId>,
    /// The SHA-256 of the API key that the request presented, if it has the shape of a key.
    pub key_sha256_hex: Option<String>,
    is_cold_start: bool,
}

/// The ids by which an operator finds a request.
#[derive(Debug, Clone, Copy)]
pub struct RequestIds<'a> {
    /// The gateway's id.
    pub request_id: &'a str,
    /// Lambda's id.
    pub lambda_request_id: &'a str,
    /// X-Ray's header, if the request is traced.
    pub xray_header: Option<&'a str>,
    /// The name of the function.
    pub function_name: &'a str,
}

impl RequestLog {
    /// `is_cold_start` is true for the first request of an execution environment.
    pub fn new(is_cold_start: bool) -> Self {
        Self { is_cold_start, ..Self::default() }
    }

    /// Writes the line.
    pub fn write(
        &self,
        response: &Response,
        failure: Option<&FailureDetail>,
        calls: &CallStats,
        ids: RequestIds<'_>,
        took: Duration,
    ) {
        let operation = self.operation.map_or("none", |operation| operation.name);
        let status = response.status_code;
        let code = response.code.unwrap_or("ok");
        let replayed = response.headers.iter().any(|(name, _)| *name == "idempotency-replayed");
        let client_id = self.client_id.as_ref().map(ClientId::as_str);
        let key_fingerprint = self.key_sha256_hex.as_deref().and_then(auth::fingerprint);
        let RequestIds { request_id, lambda_request_id, xray_header, function_name } = ids;
        let trace_id = xray_header.and_then(trace_id);
        let duration_ms = milliseconds(took);
        // Metrics by operation exist only for a request that has one, and conflicts only for a write.
        let per_operation = |count: u32| self.operation.map(|_| count);
        let (round_trips, retries) = (per_operation(calls.round_trips), per_operation(calls.retries));
        let throttles = per_operation(calls.throttles);
        let conflicts = self.operation.filter(|operation| operation.writes).map(|_| calls.conflicts);
        let key_cache_hit = calls.key_cache_hit.map(u32::from);
        macro_rules! line {
            ($level:ident, $($more:tt)*) => {
                tracing::$level!(
                    target: REQUEST,
                    operation, status, code, replayed, client_id, key_fingerprint, request_id,
                    lambda_request_id, trace_id, duration_ms,
                    FunctionName = function_name, Requests = 1_u32, RoundTrips = round_trips, Retries = retries,
                    Conflicts = conflicts, Throttles = throttles, Errors5xx = u32::from(status >= 500),
                    SlowRequests = u32::from(is_slow(took)), ColdStarts = u32::from(self.is_cold_start),
                    KeyCacheHits = key_cache_hit,
                    $($more)*
                )
            };
        }
        match failure {
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

/// Rounds to microseconds.
fn milliseconds(took: Duration) -> f64 {
    (took.as_secs_f64() * 1e6).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_of_more_than_a_second_is_slow() {
        assert_eq!([1000, 1001].map(|millis| is_slow(Duration::from_millis(millis))), [false, true]);
    }

    #[test]
    fn the_trace_id_is_the_root() {
        let root = "1-5759e988-bd862e3fe1be46a994272793";
        for header in [format!("Root={root}"), format!("Self=1-2-3;Root={root};Parent=53995c3f42cd8ad8;Sampled=1")] {
            assert_eq!(trace_id(&header).as_deref(), Some(root));
        }
        for header in ["", "Parent=53995c3f42cd8ad8", "Root=two\nlines"] {
            assert_eq!(trace_id(header), None);
        }
    }

    #[test]
    fn a_duration_is_logged_in_milliseconds_with_three_decimals() {
        assert_eq!(milliseconds(Duration::from_nanos(1_234_567_891)).to_string(), "1234.568");
    }
}
