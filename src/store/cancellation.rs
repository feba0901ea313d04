//! Reads why DynamoDB cancelled a transaction: one pure, total function per operation.
//!
//! DynamoDB prepares the items of a transaction one by one, so the reasons do not describe one moment. Therefore a reason
//! counts only if every reason that ranks before it is known.

use super::items::{self, Item};
use super::throttling;
use crate::domain::{IdempotencyFingerprint, Limits};

/// The reason of one item. DynamoDB sends one reason per item, in the order of the transaction.
#[derive(Debug, Clone, Copy)]
pub struct Reason<'a> {
    /// DynamoDB's code. An item that passed has the code `None`, as text.
    pub code: &'a str,
    /// The item before the transaction, if its condition failed and the item exists.
    pub item: Option<&'a Item>,
}

/// Why DynamoDB cancelled a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancellation {
    /// The customer record does not exist.
    NoRecord,
    /// The record already has the number. The request that added it had this fingerprint, if it had an idempotency key.
    HasPhone(Option<IdempotencyFingerprint>),
    /// The record does not have the number that is to be removed.
    NoPhone,
    /// The record has as many numbers as it may have.
    RecordFull,
    /// The number is on as many records as it may be on.
    PhoneFull,
    /// The record exists, and was to be created.
    HasRecord,
    /// An item is no longer as it was read.
    Changed,
    /// Another transaction was changing an item. The same transaction may pass later.
    Conflict,
    /// DynamoDB throttled the transaction. The same transaction may pass later.
    Throttled,
    /// DynamoDB refused the counter, but its old value does not show why. It may have changed between two reads of
    /// DynamoDB; if this happens twice, the counter is corrupt.
    CounterUnclear,
    /// The record is corrupt.
    CorruptRecord,
    /// The reasons are not documented.
    Unreadable,
}

const PASSED: &str = "None";
const CONDITION: &str = "ConditionalCheckFailed";
const INVALID: &str = "ValidationError";

/// Conflict or throttling, if the code means one of them.
fn contention(code: &str) -> Option<Cancellation> {
    if code == "TransactionConflict" {
        Some(Cancellation::Conflict)
    } else {
        throttling::is_throttled_reason(code).then_some(Cancellation::Throttled)
    }
}

/// Reads the cancellation of an add of `e164`. The first reason is the record's, the second is the counter's.
pub fn read_add(reasons: &[Reason<'_>], e164: &str, limits: Limits) -> Cancellation {
    let record_failed = |item: &Item, channels: &Item| {
        if let Some(entry) = channels.get(e164) {
            return Cancellation::HasPhone(entry.as_m().ok().and_then(items::fingerprint));
        }
        match items::whole_number(item.get(items::PHONE_COUNT)) {
            Some(count) if count >= u64::from(limits.phones_per_customer) => Cancellation::RecordFull,
            _ => Cancellation::CorruptRecord,
        }
    };
    let counter_failed = |item: Option<&Item>| {
        let count = item.and_then(|item| items::whole_number(item.get(items::CCID_COUNT)));
        match count {
            Some(count) if count >= u64::from(limits.customers_per_phone) => Cancellation::PhoneFull,
            _ => Cancellation::CounterUnclear,
        }
    };
    read(reasons, record_failed, counter_failed)
}

/// Reads the cancellation of a removal of `e164`. The first reason is the record's, the second is the counter's.
pub fn read_remove(reasons: &[Reason<'_>], e164: &str) -> Cancellation {
    let record_failed = |_: &Item, channels: &Item| match channels.get(e164) {
        // The condition requires only this channel, so it cannot have failed.
        Some(_) => Cancellation::CorruptRecord,
        None => Cancellation::NoPhone,
    };
    // The record has the number, so its counter must be above zero.
    read(reasons, record_failed, |_| Cancellation::CounterUnclear)
}

/// Reads the cancellation of a record's creation, which is the only item of its transaction.
pub fn read_create(reasons: &[Reason<'_>]) -> Cancellation {
    match first_refusal(reasons, 1) {
        Ok((_, Refusal::Condition(_))) => Cancellation::HasRecord,
        Ok((_, Refusal::Invalid)) => Cancellation::CorruptRecord,
        Err(cancellation) => cancellation,
    }
}

/// Reads the cancellation of a change of consent, whose only item is the number's.
pub fn read_update_consent(reasons: &[Reason<'_>]) -> Cancellation {
    match first_refusal(reasons, 1) {
        Ok((_, Refusal::Condition(_))) => Cancellation::Changed,
        Ok((_, Refusal::Invalid)) => Cancellation::CounterUnclear,
        Err(cancellation) => cancellation,
    }
}

/// Reads the cancellation of a record's deletion. The first reason is the record's; a counter's follows for each of its
/// numbers.
pub fn read_delete(reasons: &[Reason<'_>], numbers: usize) -> Cancellation {
    match first_refusal(reasons, 1 + numbers) {
        Ok((0, Refusal::Condition(_))) => Cancellation::Changed,
        Ok((0, Refusal::Invalid)) => Cancellation::CorruptRecord,
        // The record is as it was read, so each counter must have the customer.
        Ok(_) => Cancellation::CounterUnclear,
        Err(cancellation) => cancellation,
    }
}

/// Reads a cancellation for which only contention is a valid reason: a conflict or a throttle. Every other reason is
/// unreadable.
pub fn read_contention(reasons: &[Reason<'_>]) -> Cancellation {
    first_refusal(reasons, reasons.len()).err().unwrap_or(Cancellation::Unreadable)
}

/// Reads a transaction over a record and a counter. `record_failed` takes the old record and its channels.
fn read<'a>(
    reasons: &[Reason<'a>],
    record_failed: impl FnOnce(&'a Item, &'a Item) -> Cancellation,
    counter_failed: impl FnOnce(Option<&'a Item>) -> Cancellation,
) -> Cancellation {
    match first_refusal(reasons, 2) {
        Ok((0, Refusal::Condition(None))) => Cancellation::NoRecord,
        Ok((0, Refusal::Condition(Some(item)))) => {
            match item.get(items::NOTIFICATION_CHANNELS).and_then(|channels| channels.as_m().ok()) {
                Some(channels) => record_failed(item, channels),
                None => Cancellation::CorruptRecord,
            }
        }
        // The expression does not fit the record: the map is missing, or the count is not a number.
        Ok((0, Refusal::Invalid)) => Cancellation::CorruptRecord,
        Ok((_, Refusal::Condition(item))) => counter_failed(item),
        Ok((_, Refusal::Invalid)) => Cancellation::CounterUnclear,
        Err(cancellation) => cancellation,
    }
}

/// Why DynamoDB refused one item.
enum Refusal<'a> {
    /// Its condition failed. The old item is absent if there was none.
    Condition(Option<&'a Item>),
    /// The expression does not fit the item.
    Invalid,
}

/// The first item that did not pass, of `items` items: its place and why. If it is contended, its reason is unknown, and no
/// later reason can decide.
fn first_refusal<'a>(reasons: &[Reason<'a>], items: usize) -> Result<(usize, Refusal<'a>), Cancellation> {
    if reasons.len() != items {
        return Err(Cancellation::Unreadable);
    }
    let refused = reasons.iter().enumerate().find(|(_, reason)| reason.code != PASSED);
    let (place, reason) = refused.ok_or(Cancellation::Unreadable)?;
    match reason.code {
        CONDITION => Ok((place, Refusal::Condition(reason.item))),
        INVALID => Ok((place, Refusal::Invalid)),
        code => Err(contention(code).unwrap_or(Cancellation::Unreadable)),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use aws_sdk_dynamodb::primitives::Blob;
    use aws_sdk_dynamodb::types::AttributeValue;
    use proptest::prelude::*;

    use super::*;

    const E164: &str = "+16105551212";
    const CODES: [&str; 9] = [
        "None",
        "ConditionalCheckFailed",
        "TransactionConflict",
        "ThrottlingError",
        "ProvisionedThroughputExceeded",
        "ValidationError",
        "ItemCollectionSizeLimitExceeded",
        "",
        "SomethingNew",
    ];

    fn number(count: &str) -> AttributeValue {
        AttributeValue::N(count.to_owned())
    }

    fn item(attributes: &[(&str, AttributeValue)]) -> Item {
        attributes.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
    }

    /// Old items, and the cancellation that each means if its condition failed: as the record of an add, as the record of
    /// a removal, and as the counter of an add.
    fn old_items() -> Vec<(Option<Item>, Cancellation, Cancellation, Cancellation)> {
        use Cancellation::{CorruptRecord, CounterUnclear, HasPhone, NoPhone, NoRecord, PhoneFull, RecordFull};
        let channels = |entries: &[(&str, AttributeValue)]| AttributeValue::M(item(entries));
        let fingerprint = [1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2];
        let with_fingerprint = AttributeValue::M(item(&[("i", AttributeValue::B(Blob::new(fingerprint)))]));
        let has = HasPhone(Some(IdempotencyFingerprint { key: [1; 8], request: [2; 8] }));
        let plain = AttributeValue::M(HashMap::new());
        let record = |count: &str, entries: &[(&str, AttributeValue)]| {
            Some(item(&[("phone_count", number(count)), ("notification_channels", channels(entries))]))
        };
        vec![
            (None, NoRecord, NoRecord, CounterUnclear),
            (Some(Item::new()), CorruptRecord, CorruptRecord, CounterUnclear),
            (record("1", &[(E164, with_fingerprint.clone())]), has, CorruptRecord, CounterUnclear),
            (record("50", &[(E164, with_fingerprint)]), has, CorruptRecord, CounterUnclear),
            (record("1", &[(E164, plain.clone())]), HasPhone(None), CorruptRecord, CounterUnclear),
            (record("1", &[(E164, AttributeValue::Bool(true))]), HasPhone(None), CorruptRecord, CounterUnclear),
            (record("50", &[]), RecordFull, NoPhone, CounterUnclear),
            (record("51", &[("+1610", plain)]), RecordFull, NoPhone, CounterUnclear),
            (record("49", &[]), CorruptRecord, NoPhone, CounterUnclear),
            (record("many", &[]), CorruptRecord, NoPhone, CounterUnclear),
            (Some(item(&[("notification_channels", channels(&[]))])), CorruptRecord, NoPhone, CounterUnclear),
            (Some(item(&[("phone_count", number("50"))])), CorruptRecord, CorruptRecord, CounterUnclear),
            (Some(item(&[("notification_channels", number("1"))])), CorruptRecord, CorruptRecord, CounterUnclear),
            (Some(item(&[("ccid_count", number("50"))])), CorruptRecord, CorruptRecord, PhoneFull),
            (Some(item(&[("ccid_count", number("49"))])), CorruptRecord, CorruptRecord, CounterUnclear),
            (
                Some(item(&[("ccid_count", AttributeValue::S("50".to_owned()))])),
                CorruptRecord,
                CorruptRecord,
                CounterUnclear,
            ),
        ]
    }

    /// Every pair of codes with every pair of old items: 9 × 9 × 16 × 16, for both operations.
    #[test]
    fn every_combination_of_reasons_is_read_by_rank() {
        let old_items = old_items();
        for first in CODES {
            for second in CODES {
                for (record, add, remove, _) in &old_items {
                    for (counter, _, _, counter_failed) in &old_items {
                        let reasons = [
                            Reason { code: first, item: record.as_ref() },
                            Reason { code: second, item: counter.as_ref() },
                        ];
                        let contention = |code: &str| match code {
                            "TransactionConflict" => Some(Cancellation::Conflict),
                            _ => CODES[3..5].contains(&code).then_some(Cancellation::Throttled),
                        };
                        let expected = |record_failed: Cancellation, counter_failed: Cancellation| {
                            if first == "ConditionalCheckFailed" {
                                record_failed
                            } else if let Some(contended) = contention(first) {
                                contended
                            } else if let (Some(contended), "None") = (contention(second), first) {
                                contended
                            } else if first == "None" && second == "ConditionalCheckFailed" {
                                counter_failed
                            } else if first == "ValidationError" {
                                Cancellation::CorruptRecord
                            } else if first == "None" && second == "ValidationError" {
                                Cancellation::CounterUnclear
                            } else {
                                Cancellation::Unreadable
                            }
                        };
                        assert_eq!(
                            read_add(&reasons, E164, Limits::CONTRACT),
                            expected(*add, *counter_failed),
                            "{first} {second} {record:?}"
                        );
                        let expected = expected(*remove, Cancellation::CounterUnclear);
                        assert_eq!(read_remove(&reasons, E164), expected, "{first} {second} {record:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn anything_but_two_reasons_is_unreadable() {
        let reason = Reason { code: "ConditionalCheckFailed", item: None };
        for reasons in [&[][..], &[reason], &[reason; 3]] {
            assert_eq!(read_add(reasons, E164, Limits::CONTRACT), Cancellation::Unreadable);
            assert_eq!(read_remove(reasons, E164), Cancellation::Unreadable);
        }
    }

    proptest! {
        #[test]
        fn no_code_panics(first in ".{0,30}", second in ".{0,30}") {
            let reasons = [Reason { code: &first, item: None }, Reason { code: &second, item: None }];
            read_add(&reasons, E164, Limits::CONTRACT);
            read_remove(&reasons, E164);
        }
    }
}
