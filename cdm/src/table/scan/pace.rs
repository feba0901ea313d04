//! Limits reads to a number of read units per second.

use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard};
use tokio::time::Instant;

/// The largest cost of a page: 1 MB, eventually consistent.
const WHOLE_PAGE: f64 = 128.0;

/// A limit on reads, or none.
#[derive(Debug, Default)]
pub struct Pace {
    limit: Option<Limit>,
}

#[derive(Debug)]
struct Limit {
    units_per_second: u32,
    /// When the next read may start.
    next: Mutex<Instant>,
}

/// Permission for one read. If there is a limit, reads take turns.
#[must_use]
pub(crate) struct Turn<'a>(Option<(u32, MutexGuard<'a, Instant>)>);

impl Pace {
    /// Allows at most this number of read units per second, averaged over a few seconds.
    pub fn limited(units_per_second: u32) -> Self {
        Self { limit: Some(Limit { units_per_second: units_per_second.max(1), next: Mutex::new(Instant::now()) }) }
    }

    pub(crate) fn is_limited(&self) -> bool {
        self.limit.is_some()
    }

    /// How many items to read per call. Fewer under a low limit, so that no single read uses up many seconds'
    /// units.
    pub(crate) fn page(&self, most: i32) -> i32 {
        let fitting = |limit: &Limit| i32::try_from(limit.units_per_second.saturating_mul(8)).unwrap_or(i32::MAX);
        self.limit.as_ref().map_or(most, |limit| fitting(limit).min(most))
    }

    /// Waits until a read may start.
    pub(crate) async fn turn(&self) -> Turn<'_> {
        let Some(limit) = &self.limit else { return Turn(None) };
        let next = limit.next.lock().await;
        tokio::time::sleep_until(*next).await;
        Turn(Some((limit.units_per_second, next)))
    }
}

impl Turn<'_> {
    /// Accounts for the units of the read. If they are unknown, the cost of a whole page counts.
    pub(crate) fn took(self, units: Option<f64>) {
        if let Some((units_per_second, mut next)) = self.0 {
            let units = units.unwrap_or(WHOLE_PAGE).max(0.0);
            *next = Instant::now() + Duration::from_secs_f64(units / f64::from(units_per_second));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn reads_take_the_time_that_their_units_need() {
        let pace = Pace::limited(10);
        let began = Instant::now();
        for units in [Some(5.0), Some(20.0), None] {
            pace.turn().await.took(units);
        }
        pace.turn().await.took(Some(0.0));
        // The clock is virtual, so the pauses are exact: 0.5, 2 and 12.8 seconds.
        assert_eq!(began.elapsed().as_millis(), 15_300);
        assert_eq!((pace.page(500), Pace::limited(1000).page(500)), (80, 500));
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_limit_nothing_waits() {
        let (pace, began) = (Pace::default(), Instant::now());
        let (first, second) = (pace.turn().await, pace.turn().await);
        first.took(Some(1e9));
        second.took(None);
        assert_eq!((began.elapsed().as_millis(), pace.page(500)), (0, 500));
    }
}
