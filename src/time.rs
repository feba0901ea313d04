//! Times, as the table stores them and as callers read them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;

/// The last millisecond of the year 9999, because RFC 3339 has four digits for the year.
const LAST: u64 = 253_402_300_799_999;

/// A wall-clock time in milliseconds since 1970-01-01T00:00:00Z, no later than the year 9999.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnixMillis(u64);

impl UnixMillis {
    /// The time of the machine's clock, limited to the years 1970 to 9999.
    pub fn now() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(u64::try_from(since_epoch.as_millis()).map_or(LAST, |millis| millis.min(LAST)))
    }

    /// Returns `None` after the year 9999.
    pub fn new(millis: u64) -> Option<Self> {
        (millis <= LAST).then_some(Self(millis))
    }

    /// Milliseconds since 1970.
    pub fn millis(self) -> u64 {
        self.0
    }

    /// The time since `earlier`, or `None` if this is before `earlier`.
    pub fn since(self, earlier: Self) -> Option<Duration> {
        self.0.checked_sub(earlier.0).map(Duration::from_millis)
    }

    /// RFC 3339 in UTC, always with three decimals: `2026-11-23T15:30:00.042Z`.
    pub fn to_rfc3339(self) -> String {
        // In range by construction, so the fallback is never used.
        let seconds = i64::try_from(self.0 / 1000).unwrap_or_default();
        let utc = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let (year, month, day) = utc.to_calendar_date();
        let (hour, minute, second) = utc.to_hms();
        let (month, millis) = (u8::from(month), self.0 % 1000);
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
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
