//! Attempts of one call, within the time that the invocation has.
//!
//! The SDK's own retries are off: they hide the fate of the attempts before the last (a timeout, then a throttle, reads
//! as a throttle, though the first attempt may have been committed). Here each attempt's fate is kept.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use crate::error::{Cause, Error, FailureDetail};
use crate::store::client::CONNECT;

/// An attempt that DynamoDB has not answered by then is given up: it answers in milliseconds, and a lost packet must
/// not cost the whole invocation.
const ATTEMPT: Duration = Duration::from_millis(1500);

/// With less time than this, an attempt is not begun: it could only turn a certain refusal into an unknown outcome.
const SHORTEST_ATTEMPT: Duration = Duration::from_millis(100);

/// For how long a request retries what DynamoDB refuses for contention or for its rate. A request that retries holds its
/// execution environment, so a storm would take environments from every other caller. The caller gets `try_again`, waits
/// without costing anything, and repeats the request.
pub(crate) const CONTENTION: Duration = Duration::from_millis(3000);

/// Full jitter: the pause before retry n is a random part of `FIRST_PAUSE` × 2ⁿ, at most `LONGEST_PAUSE`. The first is
/// about as long as a transaction holds its items. `tests/reliability/storm.rs` compares other values.
const FIRST_PAUSE: Duration = Duration::from_millis(25);
const LONGEST_PAUSE: Duration = Duration::from_millis(1000);

/// Until when a request must be answered.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    deadline: Instant,
    /// Until when contention alone is retried.
    contention: Instant,
}

impl Deadline {
    /// All attempts and pauses end within `time` from now.
    pub fn new(time: Duration) -> Self {
        let now = Instant::now();
        Self { deadline: now + time, contention: now + time.min(CONTENTION) }
    }

    fn left(self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
}

/// What a request cost at the database, for its log line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CallStats {
    /// Calls sent to DynamoDB.
    pub round_trips: u32,
    /// Those of them that repeated another.
    pub retries: u32,
    /// Attempts that DynamoDB refused because of another request's transaction.
    pub conflicts: u32,
    /// Attempts that DynamoDB refused for their rate.
    pub throttles: u32,
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
    /// What settles a write in doubt. Until it does, no refusal is certain, so contention has no limit of its own.
    Settlement,
}

/// How one attempt ended.
#[derive(Debug)]
pub(super) enum Attempt<T> {
    /// With an answer, good or bad.
    Settled(Result<T, Error>),
    /// Refused for now, because of other requests or of the rate: for certain, it wrote nothing.
    Contended(FailureDetail),
    /// Refused for what may be a change between two looks: for certain, it wrote nothing. The second time it is damage.
    Unclear(FailureDetail),
    /// It never reached DynamoDB: for certain, it wrote nothing.
    Unsent(FailureDetail),
    /// Nobody knows whether it wrote.
    Unknown(FailureDetail),
}

impl<T> Attempt<T> {
    /// The same end, with the answer made into another.
    pub(super) fn map<U>(self, answer: impl FnOnce(Result<T, Error>) -> Result<U, Error>) -> Attempt<U> {
        match self {
            Self::Settled(settled) => Attempt::Settled(answer(settled)),
            Self::Contended(detail) => Attempt::Contended(detail),
            Self::Unclear(detail) => Attempt::Unclear(detail),
            Self::Unsent(detail) => Attempt::Unsent(detail),
            Self::Unknown(detail) => Attempt::Unknown(detail),
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

impl Deadline {
    /// Runs `attempt` until it is settled or the time is up. Its argument says whether an attempt before it is in doubt;
    /// from then on every attempt must send exactly the same call.
    ///
    /// At the end it is [`Error::TryAgain`] only if every attempt was a definite refusal; once one attempt's fate was
    /// unknown, only a settled answer clears it, and otherwise it is [`Error::Internal`].
    pub(super) async fn settle<T, F>(
        self,
        call: Call,
        stats: &mut CallStats,
        mut attempt: impl FnMut(bool) -> F,
    ) -> Ended<T>
    where
        F: Future<Output = Attempt<T>>,
    {
        let mut unknown = None;
        let mut was_unclear = false;
        let mut refused = FailureDetail::new(Cause::OutOfTime);
        let mut shortest = SHORTEST_ATTEMPT;
        for retry in 0_u32.. {
            let left = self.left();
            if left < shortest {
                break;
            }
            stats.round_trips += 1;
            stats.retries += u32::from(retry > 0);
            let ended = timeout(left.min(ATTEMPT), attempt(unknown.is_some()))
                .await
                .unwrap_or_else(|_| Attempt::Unknown(FailureDetail::new(Cause::TimedOut)));
            let mut until = self.deadline;
            match ended {
                Attempt::Settled(answer) => return Ended { answer, in_doubt: unknown.is_some() },
                Attempt::Contended(detail) => {
                    let counted =
                        if detail.cause == Cause::Throttled { &mut stats.throttles } else { &mut stats.conflicts };
                    *counted += 1;
                    refused = detail;
                    // It had a connection, which the next attempt finds open.
                    shortest = SHORTEST_ATTEMPT;
                    if unknown.is_none() && call != Call::Settlement {
                        until = self.contention;
                    }
                }
                Attempt::Unclear(detail) if was_unclear => {
                    return Ended { answer: Err(Error::Internal(detail)), in_doubt: unknown.is_some() };
                }
                Attempt::Unclear(detail) => {
                    was_unclear = true;
                    refused = detail;
                }
                Attempt::Unsent(detail) => {
                    refused = detail;
                    // Cut short while it still waits for a connection, the next would look as if it had been sent.
                    shortest = CONNECT + SHORTEST_ATTEMPT;
                }
                Attempt::Unknown(detail) if call == Call::Read => refused = detail,
                Attempt::Unknown(detail) => unknown = Some(detail),
            }
            let pause = pause_before(retry);
            if until.saturating_duration_since(Instant::now()) < pause + shortest {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_any_part_of_a_ceiling_that_doubles() {
        fastrand::seed(1);
        for (retry, ceiling) in [(0, 25), (1, 50), (3, 200), (5, 800), (6, 1000), (10, 1000), (u32::MAX, 1000)] {
            let ceiling = Duration::from_millis(ceiling);
            let pauses: Vec<_> = (0..1000).map(|_| pause_before(retry)).collect();
            assert!(pauses.iter().all(|pause| *pause <= ceiling), "{retry}");
            assert!(pauses.iter().any(|pause| *pause > ceiling.mul_f64(0.95)), "{retry}");
            assert!(pauses.iter().any(|pause| *pause < ceiling.mul_f64(0.05)), "{retry}");
        }
    }

    /// As a call does: virtual time would stand still where pauses are none.
    async fn after_a_moment(attempt: Attempt<()>) -> Attempt<()> {
        sleep(Duration::from_millis(1)).await;
        attempt
    }

    #[tokio::test(start_paused = true)]
    async fn contention_alone_is_retried_for_three_seconds() {
        for seed in 0..20 {
            for cause in [Cause::Conflict, Cause::Throttled] {
                fastrand::seed(seed);
                let (began, mut stats) = (Instant::now(), CallStats::default());
                let refused = |_| after_a_moment(Attempt::Contended(FailureDetail::new(cause)));
                let ended = Deadline::new(Duration::from_secs(14)).settle(Call::Write, &mut stats, refused).await;
                assert_eq!(ended.answer, Err(Error::TryAgain(FailureDetail::new(cause))));
                // A pause that would end later is not begun.
                let took = began.elapsed();
                assert!(took <= CONTENTION && took + LONGEST_PAUSE + SHORTEST_ATTEMPT > CONTENTION, "{took:?}");
                let counted = [stats.conflicts, stats.throttles];
                let expected = if cause == Cause::Conflict { [stats.round_trips, 0] } else { [0, stats.round_trips] };
                assert_eq!(counted, expected);
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_could_not_be_made_takes_no_time_from_contention_after_it() {
        for seed in 0..20 {
            fastrand::seed(seed);
            let began = Instant::now();
            let mut first = true;
            let refused = |_| {
                let (conflict, unsent) = (FailureDetail::new(Cause::Conflict), FailureDetail::new(Cause::Dns));
                let is_first = std::mem::take(&mut first);
                after_a_moment(if is_first { Attempt::Unsent(unsent) } else { Attempt::Contended(conflict) })
            };
            Deadline::new(Duration::from_secs(14)).settle(Call::Write, &mut CallStats::default(), refused).await;
            let took = began.elapsed();
            assert!(took <= CONTENTION && took + LONGEST_PAUSE + SHORTEST_ATTEMPT > CONTENTION, "{took:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_in_doubt_and_its_settlement_have_the_whole_time_and_no_more() {
        let time = Duration::from_secs(10);
        for seed in 0..20 {
            for call in [Call::Write, Call::Settlement] {
                fastrand::seed(seed);
                let began = Instant::now();
                let mut first = true;
                let refused = |_| {
                    let is_unknown = std::mem::take(&mut first) && call == Call::Write;
                    let conflict = FailureDetail::new(Cause::Conflict);
                    after_a_moment(if is_unknown { Attempt::Unknown(conflict) } else { Attempt::Contended(conflict) })
                };
                let ended = Deadline::new(time).settle(call, &mut CallStats::default(), refused).await;
                assert_eq!(ended.in_doubt, call == Call::Write);
                let took = began.elapsed();
                assert!(took <= time && took + LONGEST_PAUSE + SHORTEST_ATTEMPT > time, "{took:?}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn each_attempt_hears_whether_one_before_it_is_in_doubt() {
        let detail = || FailureDetail::new(Cause::Conflict);
        let mut ends = vec![
            Attempt::Settled(Ok(())),
            Attempt::Contended(detail()),
            Attempt::Unknown(detail()),
            Attempt::Unsent(detail()),
            Attempt::Contended(detail()),
        ];
        let mut heard = Vec::new();
        let attempt = |in_doubt| {
            heard.push(in_doubt);
            after_a_moment(ends.pop().unwrap())
        };
        let ended =
            Deadline::new(Duration::from_secs(14)).settle(Call::Write, &mut CallStats::default(), attempt).await;
        assert_eq!((ended.answer, ended.in_doubt), (Ok(()), true));
        assert_eq!(heard, [false, false, false, true, true]);
    }
}
