//! Attempts of one call, within the time of the request.
//!
//! The SDK's own retries are off, because they hide the outcome of earlier attempts. A timeout and then a throttle look
//! like a throttle, although the first attempt may have written. Here the outcome of each attempt counts.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::client::CONNECT_TIMEOUT;
use super::{CallContext, Cause, FailureDetail, StoreError};
use crate::sources::Sources;

/// How long one attempt may take. DynamoDB responds in milliseconds, and a lost packet must not use up the whole time.
const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(1500);

/// With less time left than this, no attempt begins. It could only turn a certain refusal into an unknown outcome.
const SHORTEST_ATTEMPT: Duration = Duration::from_millis(100);

/// Full jitter: each pause is a random part of a ceiling. The ceiling is `FIRST_PAUSE` before the first retry and doubles
/// with each retry, up to `LONGEST_PAUSE`. The first pause is about as long as a transaction holds its items.
/// docs/reliability.md has the measurements behind these values.
const FIRST_PAUSE: Duration = Duration::from_millis(25);
const LONGEST_PAUSE: Duration = Duration::from_millis(1000);

/// What a call can leave behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CallKind {
    /// Nothing. If its response is lost, only the response is lost.
    Read,
    /// A write.
    Write,
    /// A call that clears a write in doubt. Until it succeeds, no refusal is certain, so it retries contention until the
    /// deadline.
    Settlement,
}

/// How one attempt ended.
#[derive(Debug)]
pub(super) enum Attempt<T> {
    /// It has a result.
    Settled(Result<T, StoreError>),
    /// DynamoDB refused it because of other requests or of their rate. Nothing was written.
    Contended(FailureDetail),
    /// DynamoDB refused the counter, but its old value does not show why. Nothing was written. Retry once; if it happens
    /// again, the item is corrupt.
    Unclear(FailureDetail),
    /// It did not reach DynamoDB. Nothing was written.
    Unsent(FailureDetail),
    /// It may have written.
    Unknown(FailureDetail),
}

impl<T> Attempt<T> {
    /// Converts the result of a settled attempt.
    pub(super) fn map<U>(self, convert: impl FnOnce(Result<T, StoreError>) -> Result<U, StoreError>) -> Attempt<U> {
        match self {
            Self::Settled(result) => Attempt::Settled(convert(result)),
            Self::Contended(detail) => Attempt::Contended(detail),
            Self::Unclear(detail) => Attempt::Unclear(detail),
            Self::Unsent(detail) => Attempt::Unsent(detail),
            Self::Unknown(detail) => Attempt::Unknown(detail),
        }
    }
}

/// How a call ended, after all its attempts.
#[derive(Debug)]
pub(super) struct RetryOutcome<T> {
    pub result: Result<T, StoreError>,
    /// Whether the outcome of at least one attempt is unknown. That attempt may still reach DynamoDB.
    pub in_doubt: bool,
}

/// Repeats `attempt` until it is settled or the time is up. The argument of `attempt` says whether an earlier attempt is
/// in doubt. From then on every attempt must send exactly the same call.
///
/// If the time is up, the result is [`StoreError::TryAgain`] only if every attempt was certainly refused. If the outcome
/// of one attempt is unknown, only a settled attempt clears it; otherwise the result is [`StoreError::Internal`].
pub(super) async fn retry<T, F>(
    kind: CallKind,
    sources: &dyn Sources,
    context: &mut CallContext,
    mut attempt: impl FnMut(bool) -> F,
) -> RetryOutcome<T>
where
    F: Future<Output = Attempt<T>>,
{
    let CallContext { deadline, stats, .. } = context;
    let mut unknown = None;
    let mut was_unclear = false;
    let mut refused = FailureDetail::new(Cause::OutOfTime);
    let mut shortest = SHORTEST_ATTEMPT;
    for retries in 0_u32.. {
        let time_left = deadline.time_left();
        if time_left < shortest {
            break;
        }
        stats.round_trips += 1;
        stats.retries += u32::from(retries > 0);
        let ended = timeout(time_left.min(ATTEMPT_TIMEOUT), attempt(unknown.is_some()))
            .await
            .unwrap_or_else(|_| Attempt::Unknown(FailureDetail::new(Cause::TimedOut)));
        let mut retry_until = deadline.end;
        match ended {
            Attempt::Settled(result) => return RetryOutcome { result, in_doubt: unknown.is_some() },
            Attempt::Contended(detail) => {
                let count = if detail.cause == Cause::Throttled { &mut stats.throttles } else { &mut stats.conflicts };
                *count += 1;
                refused = detail;
                // This attempt had a connection, which the next attempt finds open.
                shortest = SHORTEST_ATTEMPT;
                if unknown.is_none() && kind != CallKind::Settlement {
                    retry_until = deadline.contention_end;
                }
            }
            Attempt::Unclear(detail) if was_unclear => {
                return RetryOutcome { result: Err(StoreError::Internal(detail)), in_doubt: unknown.is_some() };
            }
            Attempt::Unclear(detail) => {
                was_unclear = true;
                refused = detail;
            }
            Attempt::Unsent(detail) => {
                refused = detail;
                // An attempt that is cut short while it waits for a connection looks as if it had been sent. So leave the
                // next attempt enough time for a connection.
                shortest = CONNECT_TIMEOUT + SHORTEST_ATTEMPT;
            }
            Attempt::Unknown(detail) if kind == CallKind::Read => refused = detail,
            Attempt::Unknown(detail) => unknown = Some(detail),
        }
        let pause = pause_after(retries, sources.fraction());
        if retry_until.saturating_duration_since(Instant::now()) < pause + shortest {
            break;
        }
        sleep(pause).await;
    }
    let in_doubt = unknown.is_some();
    RetryOutcome { result: Err(unknown.map_or(StoreError::TryAgain(refused), StoreError::Internal)), in_doubt }
}

fn pause_after(retries: u32, fraction: f64) -> Duration {
    let ceiling = FIRST_PAUSE.saturating_mul(1 << retries.min(10)).min(LONGEST_PAUSE);
    ceiling.mul_f64(fraction)
}

#[cfg(test)]
mod tests {
    use super::super::context::CONTENTION;
    use super::*;
    use crate::sources::Machine;

    #[test]
    fn a_pause_is_a_random_part_of_a_ceiling_that_doubles() {
        fastrand::seed(1);
        for (retries, ceiling) in [(0, 25), (1, 50), (3, 200), (5, 800), (6, 1000), (10, 1000), (u32::MAX, 1000)] {
            let ceiling = Duration::from_millis(ceiling);
            let pauses: Vec<_> = (0..1000).map(|_| pause_after(retries, Machine.fraction())).collect();
            assert!(pauses.iter().all(|pause| *pause <= ceiling), "{retries}");
            assert!(pauses.iter().any(|pause| *pause > ceiling.mul_f64(0.95)), "{retries}");
            assert!(pauses.iter().any(|pause| *pause < ceiling.mul_f64(0.05)), "{retries}");
        }
    }

    /// Takes some time, as a call does. Otherwise virtual time would not advance when a pause is zero.
    async fn after_a_moment(attempt: Attempt<()>) -> Attempt<()> {
        sleep(Duration::from_millis(1)).await;
        attempt
    }

    #[tokio::test(start_paused = true)]
    async fn contention_alone_is_retried_for_three_seconds() {
        for seed in 0..20 {
            for cause in [Cause::Conflict, Cause::Throttled] {
                fastrand::seed(seed);
                let (began, mut context) = (Instant::now(), CallContext::within(Duration::from_secs(14)));
                let refused = |_| after_a_moment(Attempt::Contended(FailureDetail::new(cause)));
                let ended = retry(CallKind::Write, &Machine, &mut context, refused).await;
                let stats = context.stats;
                assert_eq!(ended.result, Err(StoreError::TryAgain(FailureDetail::new(cause))));
                // A pause that would end later does not begin.
                let took = began.elapsed();
                assert!(took <= CONTENTION && took + LONGEST_PAUSE + SHORTEST_ATTEMPT > CONTENTION, "{took:?}");
                let counted = [stats.conflicts, stats.throttles];
                let expected = if cause == Cause::Conflict { [stats.round_trips, 0] } else { [0, stats.round_trips] };
                assert_eq!(counted, expected);
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_connection_does_not_extend_the_retries_of_contention_after_it() {
        for seed in 0..20 {
            fastrand::seed(seed);
            let began = Instant::now();
            let mut first = true;
            let refused = |_| {
                let (conflict, unsent) = (FailureDetail::new(Cause::Conflict), FailureDetail::new(Cause::Dns));
                let is_first = std::mem::take(&mut first);
                after_a_moment(if is_first { Attempt::Unsent(unsent) } else { Attempt::Contended(conflict) })
            };
            retry(CallKind::Write, &Machine, &mut CallContext::within(Duration::from_secs(14)), refused).await;
            let took = began.elapsed();
            assert!(took <= CONTENTION && took + LONGEST_PAUSE + SHORTEST_ATTEMPT > CONTENTION, "{took:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_in_doubt_and_its_settlement_are_retried_until_the_deadline() {
        let time = Duration::from_secs(10);
        for seed in 0..20 {
            for kind in [CallKind::Write, CallKind::Settlement] {
                fastrand::seed(seed);
                let began = Instant::now();
                let mut first = true;
                let refused = |_| {
                    let is_unknown = std::mem::take(&mut first) && kind == CallKind::Write;
                    let conflict = FailureDetail::new(Cause::Conflict);
                    after_a_moment(if is_unknown { Attempt::Unknown(conflict) } else { Attempt::Contended(conflict) })
                };
                let ended = retry(kind, &Machine, &mut CallContext::within(time), refused).await;
                assert_eq!(ended.in_doubt, kind == CallKind::Write);
                let took = began.elapsed();
                assert!(took <= time && took + LONGEST_PAUSE + SHORTEST_ATTEMPT > time, "{took:?}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_that_hangs_ends_at_its_timeout_or_at_the_deadline() {
        for milliseconds in [900, 10_000] {
            let time = Duration::from_millis(milliseconds);
            let (began, mut context) = (Instant::now(), CallContext::within(time));
            let hanging = |_| std::future::pending::<Attempt<()>>();
            let ended = retry(CallKind::Write, &Machine, &mut context, hanging).await;
            assert_eq!(ended.result, Err(StoreError::Internal(FailureDetail::new(Cause::TimedOut))));
            let took = began.elapsed();
            assert!(took <= time && took + LONGEST_PAUSE + SHORTEST_ATTEMPT > time, "{took:?}");
            let attempts = time.as_millis().div_ceil((ATTEMPT_TIMEOUT + LONGEST_PAUSE).as_millis());
            assert!(u128::from(context.stats.round_trips) >= attempts, "{:?}", context.stats);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn each_attempt_learns_whether_an_earlier_one_is_in_doubt() {
        let detail = || FailureDetail::new(Cause::Conflict);
        let mut ends = vec![
            Attempt::Settled(Ok(())),
            Attempt::Contended(detail()),
            Attempt::Unknown(detail()),
            Attempt::Unsent(detail()),
            Attempt::Contended(detail()),
        ];
        let mut learned = Vec::new();
        let attempt = |in_doubt| {
            learned.push(in_doubt);
            after_a_moment(ends.pop().unwrap())
        };
        let ended = retry(CallKind::Write, &Machine, &mut CallContext::within(Duration::from_secs(14)), attempt).await;
        assert_eq!((ended.result, ended.in_doubt), (Ok(()), true));
        assert_eq!(learned, [false, false, false, true, true]);
    }
}
