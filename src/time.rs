//! Times, as the table stores them and as callers read them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

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

    /// One millisecond later, at most the last one of the year 9999.
    pub fn plus_one(self) -> Self {
        Self(LAST.min(self.0 + 1))
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
        let (seconds, millis) = (self.0 / 1000, self.0 % 1000);
        let (year, month, day) = civil_date(seconds / 86_400);
        let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
    }
}

/// Year, month and day of a day since 1970-01-01. A date crate would be the function's only use of it.
///
/// Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`. Years begin in March, so that
/// a leap day is the last day of a year.
fn civil_date(days_since_1970: u64) -> (u64, u64, u64) {
    const DAYS_IN_400_YEARS: u64 = 146_097;
    // From 0000-03-01 to 1970-01-01.
    let days = days_since_1970 + 719_468;
    let (era, day_of_era) = (days / DAYS_IN_400_YEARS, days % DAYS_IN_400_YEARS);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodb::primitives::{DateTime, DateTimeFormat};

    use super::*;

    #[test]
    fn rfc3339_always_has_three_decimals() {
        let text = |millis| UnixMillis::new(millis).map(UnixMillis::to_rfc3339);
        assert_eq!(text(0).as_deref(), Some("1970-01-01T00:00:00.000Z"));
        assert_eq!(text(1_732_000_000_042).as_deref(), Some("2024-11-19T07:06:40.042Z"));
        assert_eq!(text(LAST).as_deref(), Some("9999-12-31T23:59:59.999Z"));
        assert_eq!(text(LAST + 1), None);
    }

    /// Every day from 1970 to 9999, against the SDK's own formatting.
    #[test]
    fn every_day_is_formatted_as_the_sdk_does() {
        for day in 0..=LAST / 86_400_000 {
            let millis = day * 86_400_000 + 45_296_000;
            let expected = DateTime::from_millis(i64::try_from(millis).unwrap()).fmt(DateTimeFormat::DateTime).unwrap();
            let formatted = UnixMillis(millis).to_rfc3339();
            assert_eq!(formatted.replace(".000Z", "Z"), expected);
        }
    }
}
