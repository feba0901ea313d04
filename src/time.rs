//! Moments, as the table stores them and as callers read them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_dynamodb::primitives::{DateTime, DateTimeFormat};

/// The last millisecond of the year 9999: RFC 3339 has four digits for a year.
const LAST: u64 = 253_402_300_799_999;

/// A moment of the wall clock, in milliseconds since 1970-01-01T00:00:00Z, no later than the year 9999.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnixMillis(u64);

impl UnixMillis {
    /// What the machine's clock says. A clock outside the years 1970 to 9999 is held at that end.
    pub fn now() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(u64::try_from(since_epoch.as_millis()).map_or(LAST, |millis| millis.min(LAST)))
    }

    /// `None` past the year 9999.
    pub fn new(millis: u64) -> Option<Self> {
        (millis <= LAST).then_some(Self(millis))
    }

    /// Milliseconds since 1970.
    pub fn millis(self) -> u64 {
        self.0
    }

    /// How long after `earlier` this is; `None` where it is before it.
    pub fn since(self, earlier: Self) -> Option<Duration> {
        self.0.checked_sub(earlier.0).map(Duration::from_millis)
    }

    /// RFC 3339 in UTC, always with three decimals: `2026-11-23T15:30:00.042Z`.
    pub fn to_rfc3339(self) -> String {
        let (seconds, millis) = (self.0 / 1000, self.0 % 1000);
        let whole = i64::try_from(seconds)
            .ok()
            // Formatted without its decimals: the SDK leaves out those that are zero.
            .and_then(|seconds| DateTime::from_secs(seconds).fmt(DateTimeFormat::DateTime).ok())
            .unwrap_or_default();
        format!("{}.{millis:03}Z", whole.trim_end_matches('Z'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc3339_always_has_three_decimals() {
        let text = |millis| UnixMillis::new(millis).map(UnixMillis::to_rfc3339);
        assert_eq!(text(0).as_deref(), Some("1970-01-01T00:00:00.000Z"));
        assert_eq!(text(1_732_000_000_042).as_deref(), Some("2024-11-19T07:06:40.042Z"));
        assert_eq!(text(LAST).as_deref(), Some("9999-12-31T23:59:59.999Z"));
        assert_eq!(text(LAST + 1), None);
    }
}
