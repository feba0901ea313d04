//! Attempts of one call, within the time that the invocation has.
//!
//! The SDK's own retries are off: they hide the fate of the attempts before the last (a timeout, then a throttle, reads
//! as a throttle, though the first attempt may have been committed). Here each attempt's fate is kept.

use std::time::Duration;

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::RequestId;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use tokio::time::{Instant, sleep, timeout};

use crate::dynamodb::CONNECT;
use crate::error::{Error, Trouble};

/// An attempt that DynamoDB has not answered by then is given up: it answers in milliseconds, and a lost packet must
/// not cost the whole invocation.
const ATTEMPT: Duration = Duration::from_millis(1500);

/// With less time than this, an attempt is not begun: it could only turn a certain refusal into an unknown outcome.
const SHORTEST_ATTEMPT: Duration = Duration::from_millis(100);

/// Full jitter: the pause before retry n is a random part of `FIRST_PAUSE` × 2ⁿ, at most `LONGEST_PAUSE`. The first is
/// about as long as a transaction holds its items; the longest spreads a thousand requests for one record so far that
/// some get through even where each of two that meet is refused (`tests/reliability/storm.rs` has the figures).
const FIRST_PAUSE: Duration = Duration::from_millis(25);
const LONGEST_PAUSE: Duration = Duration::from_millis(4000);

/// Until when a request must be answered.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    deadline: Instant,
}

impl Budget {
    /// All attempts and pauses end within `time` from now.
    pub fn of(time: Duration) -> Self {
        Self { deadline: Instant::now() + time }
    }

    fn left(self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
}

/// What a request cost at the database, for its log line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Calls sent to DynamoDB.
    pub round_trips: u32,
    /// Those of them that repeated another.
    pub retries: u32,
    /// Attempts that another request's transaction or a throttle refused.
    pub conflicts: u32,
    /// Whether the API key was known without asking; `None` where none was looked for.
    pub key_was_remembered: Option<bool>,
}

/// What a call can leave behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    /// Nothing, so that a lost answer is only an answer lost.
    Read,
    /// A write.
    Write,
}

/// How one attempt ended.
#[derive(Debug)]
pub(super) enum Attempt<T> {
    /// With an answer, good or bad.
    Settled(Result<T, Error>),
    /// Refused for now, because of other requests: for certain, it wrote nothing.
    Contended(Trouble),
    /// Refused for what may be a change between two looks: for certain, it wrote nothing. The second time it is damage.
    Unclear(Trouble),
    /// It never reached DynamoDB: for certain, it wrote nothing.
    Unsent(Trouble),
    /// Nobody knows whether it wrote.
    Unknown(Trouble),
}

impl<T> Attempt<T> {
    /// The same end, with the answer made into another.
    pub(super) fn map<U>(self, answer: impl FnOnce(Result<T, Error>) -> Result<U, Error>) -> Attempt<U> {
        match self {
            Self::Settled(settled) => Attempt::Settled(answer(settled)),
            Self::Contended(trouble) => Attempt::Contended(trouble),
            Self::Unclear(trouble) => Attempt::Unclear(trouble),
            Self::Unsent(trouble) => Attempt::Unsent(trouble),
            Self::Unknown(trouble) => Attempt::Unknown(trouble),
        }
    }
}

/// How a call ended.
#[derive(Debug)]
pub(super) struct Ended<T> {
    pub answer: Result<T, Error>,
    /// Whether nobody knows what became of an attempt before the last: it may even be on its way still.
    pub in_doubt: bool,
}

impl Budget {
    /// Runs `attempt` until it is settled or the time is up. Every attempt must send exactly the same call.
    ///
    /// At the end it is [`Error::TryAgain`] only if every attempt was a definite refusal; once one attempt's fate was
    /// unknown, only a settled answer clears it, and otherwise it is [`Error::Internal`].
    pub(super) async fn settle<T, F>(self, call: Call, tally: &mut Tally, attempt: impl Fn() -> F) -> Ended<T>
    where
        F: Future<Output = Attempt<T>>,
    {
        let mut unknown = None;
        let mut was_unclear = false;
        let mut refused = Trouble::new("no time was left for an attempt");
        let mut shortest = SHORTEST_ATTEMPT;
        for retry in 0_u32.. {
            let left = self.left();
            if left < shortest {
                break;
            }
            tally.round_trips += 1;
            tally.retries += u32::from(retry > 0);
            let ended = timeout(left.min(ATTEMPT), attempt())
                .await
                .unwrap_or_else(|_| Attempt::Unknown(Trouble::new("DynamoDB did not answer in time")));
            match ended {
                Attempt::Settled(answer) => return Ended { answer, in_doubt: unknown.is_some() },
                Attempt::Contended(trouble) => {
                    tally.conflicts += 1;
                    refused = trouble;
                }
                Attempt::Unclear(trouble) if was_unclear => {
                    return Ended { answer: Err(Error::Internal(trouble)), in_doubt: unknown.is_some() };
                }
                Attempt::Unclear(trouble) => {
                    was_unclear = true;
                    refused = trouble;
                }
                Attempt::Unsent(trouble) => {
                    refused = trouble;
                    // Cut short while it still waits for a connection, the next would look as if it had been sent.
                    shortest = CONNECT + SHORTEST_ATTEMPT;
                }
                Attempt::Unknown(trouble) if call == Call::Read => refused = trouble,
                Attempt::Unknown(trouble) => unknown = Some(trouble),
            }
            let pause = pause_before(retry);
            if self.left() < pause + shortest {
                break;
            }
            sleep(pause).await;
        }
        let in_doubt = unknown.is_some();
        Ended { answer: Err(unknown.map_or(Error::TryAgain(refused), Error::Internal)), in_doubt }
    }
}

fn pause_before(retry: u32) -> Duration {
    let ceiling = FIRST_PAUSE.saturating_mul(1 << retry.min(10)).min(LONGEST_PAUSE);
    ceiling.mul_f64(fastrand::f64())
}

/// Reads the failure of one call. Cancelled transactions are the caller's to read, before it comes here.
pub(super) fn failed<T, E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> Attempt<T> {
    let trouble = |what| Trouble {
        what,
        aws_code: error.code().and_then(plain),
        aws_request_id: error.request_id().and_then(plain),
        is_damage: false,
    };
    match error {
        SdkError::ServiceError(context) => match (error.code(), context.raw().status().as_u16()) {
            (
                Some(
                    "ThrottlingException"
                    | "Throttling"
                    | "ProvisionedThroughputExceededException"
                    | "RequestLimitExceeded"
                    | "TransactionConflictException",
                ),
                _,
            ) => Attempt::Contended(trouble("DynamoDB throttled the call")),
            // An earlier attempt of ours is still at work.
            (Some("TransactionInProgressException"), _) => {
                Attempt::Unknown(trouble("an earlier attempt has not ended"))
            }
            (_, 500..) => Attempt::Unknown(trouble("DynamoDB failed")),
            (Some(_), _) => Attempt::Settled(Err(Error::Internal(trouble("DynamoDB refused the call")))),
            (None, _) => Attempt::Unknown(trouble("an answer that is not DynamoDB's")),
        },
        SdkError::DispatchFailure(failure) => {
            if failure.as_connector_error().is_some_and(|error| never_connected(error)) {
                Attempt::Unsent(trouble("no connection to DynamoDB"))
            } else {
                Attempt::Unknown(trouble("the connection to DynamoDB was lost"))
            }
        }
        SdkError::ConstructionFailure(_) => {
            Attempt::Settled(Err(Error::Internal(trouble("the call could not be made"))))
        }
        // A timeout, half an answer, garbage, or what a newer SDK may add.
        _ => Attempt::Unknown(trouble("no readable answer from DynamoDB")),
    }
}

/// Whether the failure was in making the connection, so that nothing was sent.
fn never_connected(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<hyper_util::client::legacy::Error>() {
            return error.is_connect();
        }
        cause = error.source();
    }
    false
}

/// A code or id from outside, fit for a log line: whatever answers on the wire, nothing else gets in.
fn plain(text: &str) -> Option<String> {
    let fit = text.len() <= 64 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte));
    fit.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_any_part_of_a_ceiling_that_doubles() {
        fastrand::seed(1);
        for (retry, ceiling) in [(0, 25), (1, 50), (3, 200), (7, 3200), (8, 4000), (10, 4000), (u32::MAX, 4000)] {
            let ceiling = Duration::from_millis(ceiling);
            let pauses: Vec<_> = (0..1000).map(|_| pause_before(retry)).collect();
            assert!(pauses.iter().all(|pause| *pause <= ceiling), "{retry}");
            assert!(pauses.iter().any(|pause| *pause > ceiling.mul_f64(0.95)), "{retry}");
            assert!(pauses.iter().any(|pause| *pause < ceiling.mul_f64(0.05)), "{retry}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn no_pause_goes_past_the_time_that_there_is() {
        let time = Duration::from_secs(10);
        for seed in 0..20 {
            fastrand::seed(seed);
            let began = Instant::now();
            let refused = || async {
                // As a call does: virtual time would stand still where pauses are none.
                sleep(Duration::from_millis(1)).await;
                Attempt::<()>::Contended(Trouble::new("a conflict"))
            };
            let ended = Budget::of(time).settle(Call::Write, &mut Tally::default(), refused).await;
            assert!(matches!(ended.answer, Err(Error::TryAgain(_))));
            assert!(began.elapsed() <= time, "{:?}", began.elapsed());
        }
    }

    #[test]
    fn what_comes_from_outside_is_fit_for_a_log_line_or_left_out() {
        assert_eq!(plain("ThrottlingException").as_deref(), Some("ThrottlingException"));
        assert_eq!(plain("com.amazonaws:A-1_b").as_deref(), Some("com.amazonaws:A-1_b"));
        assert_eq!(plain(&"a".repeat(64)).map(|text| text.len()), Some(64));
        for unfit in ["a b", "a\nb", "\"", "+16105551212", "é", &"a".repeat(65)] {
            assert_eq!(plain(unfit), None, "{unfit:?}");
        }
    }
}
