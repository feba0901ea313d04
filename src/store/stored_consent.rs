//! The consent in a number's item: one time for each value.
//!
//! An update expression has no "if", and a condition would fail the add. With a time for each value, an add states its
//! consent without knowing the earlier one: it sets its own time if that is absent, and removes the times that its value
//! replaces. No add removes `stop_at`, so a stop stays. If the number is stopped, an add still sets its time, but no response
//! shows it. The change that lifts the stop removes that time, unless it sets the same value.

use aws_sdk_dynamodb::types::AttributeValue;

use super::items::{self, Item};
use crate::domain::{Consent, ConsentType};
use crate::time::UnixMillis;

/// When the number was stopped. A stop takes precedence over every other value.
pub const STOP_AT: &str = "stop_at";
/// When consent in writing was stated.
pub const WRITTEN_AT: &str = "written_at";
/// When consent in another form was stated.
pub const EXPRESS_AT: &str = "express_at";
/// When a consent was first stated for the number.
pub const FIRST_AT: &str = "first_at";

/// The attributes of an item that has a consent.
pub const ATTRIBUTES: [&str; 4] = [STOP_AT, WRITTEN_AT, EXPRESS_AT, FIRST_AT];

/// The attribute that holds the time of a value.
pub fn attribute(consent_type: ConsentType) -> &'static str {
    match consent_type {
        ConsentType::Stop => STOP_AT,
        ConsentType::Written => WRITTEN_AT,
        ConsentType::Express => EXPRESS_AT,
    }
}

/// What an add that states this consent does to the number's item, before it counts the customer. The time is `:now`.
pub fn add_expression(consent_type: ConsentType) -> &'static str {
    match consent_type {
        ConsentType::Stop => {
            "SET stop_at = if_not_exists(stop_at, :now), first_at = if_not_exists(first_at, :now) \
             REMOVE written_at, express_at ADD ccid_count :one, ccids :ccid_set"
        }
        ConsentType::Written => {
            "SET written_at = if_not_exists(written_at, :now), first_at = if_not_exists(first_at, :now) \
             REMOVE express_at ADD ccid_count :one, ccids :ccid_set"
        }
        ConsentType::Express => {
            "SET express_at = if_not_exists(express_at, :now), first_at = if_not_exists(first_at, :now) \
             REMOVE written_at ADD ccid_count :one, ccids :ccid_set"
        }
    }
}

/// The consent attributes of an item, as they were read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StoredConsent {
    /// [`STOP_AT`].
    pub stop_at: Option<UnixMillis>,
    /// [`WRITTEN_AT`].
    pub written_at: Option<UnixMillis>,
    /// [`EXPRESS_AT`].
    pub express_at: Option<UnixMillis>,
    /// [`FIRST_AT`].
    pub first_at: Option<UnixMillis>,
}

impl StoredConsent {
    /// `None` if an attribute is not a time. Then the item is corrupt.
    pub fn from_item(item: &Item) -> Option<Self> {
        let time = |name| match item.get(name) {
            None => Some(None),
            value => items::unix_millis(value).map(Some),
        };
        Some(Self {
            stop_at: time(STOP_AT)?,
            written_at: time(WRITTEN_AT)?,
            express_at: time(EXPRESS_AT)?,
            first_at: time(FIRST_AT)?,
        })
    }

    /// The attributes of a number whose consent was stated once.
    pub fn new(consent_type: ConsentType, at: UnixMillis) -> Self {
        let only = |of| (consent_type == of).then_some(at);
        Self {
            stop_at: only(ConsentType::Stop),
            written_at: only(ConsentType::Written),
            express_at: only(ConsentType::Express),
            first_at: Some(at),
        }
    }

    /// Writes the attributes into an item. An absent time removes its attribute.
    pub fn write_to(self, item: &mut Item) {
        let times = [self.stop_at, self.written_at, self.express_at, self.first_at];
        for (name, time) in ATTRIBUTES.into_iter().zip(times) {
            match time {
                Some(time) => drop(item.insert(name.to_owned(), items::from_unix_millis(time))),
                None => drop(item.remove(name)),
            }
        }
    }

    /// The consent, if one was stated.
    pub fn consent(self) -> Option<Consent> {
        let (consent_type, at) = match (self.stop_at, self.written_at, self.express_at) {
            (Some(at), _, _) => (ConsentType::Stop, at),
            (None, Some(at), _) => (ConsentType::Written, at),
            (None, None, Some(at)) => (ConsentType::Express, at),
            (None, None, None) => return None,
        };
        let created_at = self.first_at.unwrap_or(at);
        // The times are those at which requests arrived. The later of two requests can be written first.
        Some(Consent { consent_type, created_at, updated_at: at.max(created_at) })
    }

    /// The consent after a change to `consent_type` at `now`. `None` if the consent already has this value.
    ///
    /// Its time is later than every time that was read, whatever the clocks of two environments show. So a stop that a change
    /// sets never has the time of an earlier stop, and a late attempt to lift the earlier one cannot match it. A stop that an
    /// add states has the time at which the add arrived. That equals the time of an earlier stop only if the add arrived in
    /// the millisecond that this stop has.
    pub fn changed_to(self, consent_type: ConsentType, now: UnixMillis) -> Option<Consent> {
        let before = self.consent();
        if before.is_some_and(|before| before.consent_type == consent_type) {
            return None;
        }
        let times = [self.stop_at, self.written_at, self.express_at, self.first_at];
        let latest = times.into_iter().flatten().max();
        let updated_at = latest.map_or(now, |latest| now.max(latest.plus_one()));
        Some(Consent { consent_type, created_at: before.map_or(updated_at, |before| before.created_at), updated_at })
    }

    /// The condition that the item still has this consent, and the values in it.
    pub fn unchanged_condition(self) -> (String, Vec<(String, AttributeValue)>) {
        let mut values = Vec::new();
        let mut parts = Vec::new();
        for (name, time) in [(STOP_AT, self.stop_at), (WRITTEN_AT, self.written_at), (EXPRESS_AT, self.express_at)] {
            match time {
                Some(time) => {
                    parts.push(format!("{name} = :seen_{name}"));
                    values.push((format!(":seen_{name}"), items::from_unix_millis(time)));
                }
                None => parts.push(format!("attribute_not_exists({name})")),
            }
        }
        (parts.join(" AND "), values)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn times() -> impl Strategy<Value = StoredConsent> {
        let time = || proptest::option::of((0_u64..50).prop_filter_map("a time", UnixMillis::new));
        (time(), time(), time(), time()).prop_map(|(stop_at, written_at, express_at, first_at)| StoredConsent {
            stop_at,
            written_at,
            express_at,
            first_at,
        })
    }

    fn any_type() -> impl Strategy<Value = ConsentType> {
        prop_oneof![Just(ConsentType::Stop), Just(ConsentType::Written), Just(ConsentType::Express)]
    }

    #[test]
    fn an_attribute_that_is_not_a_time_is_corrupt() {
        for name in ATTRIBUTES {
            for bad in
                [AttributeValue::S("1".to_owned()), AttributeValue::N("-1".to_owned()), AttributeValue::Bool(true)]
            {
                assert_eq!(StoredConsent::from_item(&Item::from([(name.to_owned(), bad)])), None, "{name}");
            }
        }
        assert_eq!(StoredConsent::from_item(&Item::new()), Some(StoredConsent::default()));
    }

    proptest! {
        #[test]
        fn attributes_read_back(stored in times()) {
            let mut item = Item::new();
            stored.write_to(&mut item);
            prop_assert_eq!(StoredConsent::from_item(&item), Some(stored));
        }

        #[test]
        fn a_stop_takes_precedence(stored in times()) {
            let read = stored.consent().map(|consent| consent.consent_type);
            prop_assert_eq!(read == Some(ConsentType::Stop), stored.stop_at.is_some());
        }

        #[test]
        fn a_change_is_later_than_everything_before_it(stored in times(), to in any_type(), now in 0_u64..50) {
            let now = UnixMillis::new(now).unwrap();
            let before = stored.consent();
            match stored.changed_to(to, now) {
                None => prop_assert_eq!(before.map(|before| before.consent_type), Some(to)),
                Some(after) => {
                    prop_assert_eq!(after.consent_type, to);
                    prop_assert!(after.updated_at >= now && after.updated_at >= after.created_at);
                    for time in [stored.stop_at, stored.written_at, stored.express_at] {
                        prop_assert!(time.is_none_or(|time| time < after.updated_at));
                    }
                    if let Some(before) = before {
                        prop_assert!(after.created_at == before.created_at && after.updated_at > before.updated_at);
                    }
                }
            }
        }
    }
}
