//! The context of one request's calls: its time, its deadline, and what it cost.

use std::time::Duration;

use tokio::time::Instant;

use super::{Cause, FailureDetail, StoreError};
use crate::time::UnixMillis;

/// How long a request retries contention and throttling. A request that retries occupies its execution environment, so a
/// storm of requests would take environments from every other caller. The caller gets `try_again` instead, waits without
/// cost, and repeats the request.
pub(super) const CONTENTION: Duration = Duration::from_millis(3000);

/// What all calls of one request share.
#[derive(Debug, Clone, Copy)]
pub struct CallContext {
    /// When the request arrived. A new channel has this time.
    pub now: UnixMillis,
    /// The time by which the request must have its response.
    pub deadline: Deadline,
    /// What the request has cost so far.
    pub stats: CallStats,
}

impl CallContext {
    /// The context of a request that arrived at `now`, before its first call.
    pub fn new(now: UnixMillis, deadline: Deadline) -> Self {
        Self { now, deadline, stats: CallStats::default() }
    }

    /// Counts a conflict: another request changed an item between this request's read and its write.
    ///
    /// # Errors
    /// [`StoreError::TryAgain`], if the time for contention is up. Otherwise the request reads again.
    pub(super) fn count_conflict(&mut self) -> Result<(), StoreError> {
        self.stats.conflicts += 1;
        if Instant::now() < self.deadline.contention_end {
            Ok(())
        } else {
            Err(StoreError::TryAgain(FailureDetail::new(Cause::Conflict)))
        }
    }

    /// The context of a call that a command makes now and that may take `time`.
    pub fn within(time: Duration) -> Self {
        Self::new(UnixMillis::now(), Deadline::new(time))
    }
}

/// The time by which a request must have its response.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    /// When all attempts and pauses must have ended.
    pub(super) end: Instant,
    /// After this time, contention and throttling are retried only while a write is in doubt.
    pub(super) contention_end: Instant,
}

impl Deadline {
    /// All attempts and pauses end within `time` from now.
    pub fn new(time: Duration) -> Self {
        let now = Instant::now();
        Self { end: now + time, contention_end: now + time.min(CONTENTION) }
    }

    pub(super) fn time_left(self) -> Duration {
        self.end.saturating_duration_since(Instant::now())
    }
}

/// What a request cost at the database, for its log line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CallStats {
    /// Attempts to call DynamoDB, including those that could not be sent.
    pub round_trips: u32,
    /// Attempts that repeated an earlier attempt.
    pub retries: u32,
    /// Calls that DynamoDB refused because of another request's transaction.
    pub conflicts: u32,
    /// Calls that DynamoDB throttled.
    pub throttles: u32,
    /// Whether the API key was in the cache. `None` if no key was looked up.
    pub key_cache_hit: Option<bool>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn conflicts_are_counted_and_let_the_request_read_again_for_three_seconds() {
        let mut context = CallContext::within(Duration::from_secs(15));
        for _ in 0..2 {
            assert!(context.count_conflict().is_ok());
        }
        tokio::time::advance(CONTENTION).await;
        assert!(matches!(context.count_conflict(), Err(StoreError::TryAgain(_))));
        assert_eq!(context.stats.conflicts, 3);
    }
}
