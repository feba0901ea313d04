//! Why DynamoDB cancelled a transaction: one pure, total function of the reasons it gave.
//!
//! DynamoDB prepares the items of a transaction one by one, so the reasons are not a snapshot of one moment. The answer
//! that ranks first is therefore taken only from an item whose fate is known.

use super::items::{self, Item};
use crate::domain::{CUSTOMERS_PER_PHONE, IdempotencyFingerprint, PHONES_PER_CUSTOMER};

/// One item's reason. DynamoDB gives one for each item of the transaction, in order.
#[derive(Debug, Clone, Copy)]
pub struct Reason<'a> {
    /// DynamoDB's code; `None` (the word) for an item that passed.
    pub code: &'a str,
    /// The item as it stood, where its condition failed and there was one.
    pub item: Option<&'a Item>,
}

/// What a cancelled transaction says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancellation {
    /// There is no such record.
    NoRecord,
    /// The record has the number already, by a request of this mark (if it had a key).
    HasPhone(Option<IdempotencyFingerprint>),
    /// The record does not have the number (of a removal).
    NoPhone,
    /// The record has as many numbers as it may.
    RecordFull,
    /// The number is on as many records as it may be.
    PhoneFull,
    /// Another transaction was at work on an item: nothing is decided, the same transaction may pass later.
    Conflict,
    /// DynamoDB refused it for the rate: nothing is decided, the same transaction may pass later.
    Throttled,
    /// The record passed and the counter did not, for a reason that its item does not show. Once it may be a change
    /// between two looks; twice it is damage.
    CounterUnclear,
    /// The record contradicts itself.
    CorruptRecord,
    /// Not a pair of reasons that DynamoDB is documented to give.
    Unreadable,
}

const PASSED: &str = "None";
const CONDITION: &str = "ConditionalCheckFailed";
const INVALID: &str = "ValidationError";

/// What refuses a transaction for now. A throttle is no conflict: other requests are not the reason.
fn contention(code: &str) -> Option<Cancellation> {
    match code {
        "TransactionConflict" => Some(Cancellation::Conflict),
        "ThrottlingError" | "ProvisionedThroughputExceeded" => Some(Cancellation::Throttled),
        _ => None,
    }
}

/// Reads the cancellation of an add of `e164`: the record's reason first, the counter's second.
pub fn read_add(reasons: &[Reason<'_>], e164: &str) -> Cancellation {
    let record_failed = |item: &Item, channels: &Item| {
        if let Some(entry) = channels.get(e164) {
            return Cancellation::HasPhone(entry.as_m().ok().and_then(items::mark));
        }
        match items::whole_number(item.get(items::PHONE_COUNT)) {
            Some(count) if count >= u64::from(PHONES_PER_CUSTOMER) => Cancellation::RecordFull,
            _ => Cancellation::CorruptRecord,
        }
    };
    let counter_failed = |item: Option<&Item>| {
        let count = item.and_then(|item| items::whole_number(item.get(items::CCID_COUNT)));
        match count {
            Some(count) if count >= u64::from(CUSTOMERS_PER_PHONE) => Cancellation::PhoneFull,
            _ => Cancellation::CounterUnclear,
        }
    };
    read(reasons, record_failed, counter_failed)
}

/// Reads the cancellation of a removal of `e164`: the record's reason first, the counter's second.
pub fn read_remove(reasons: &[Reason<'_>], e164: &str) -> Cancellation {
    let record_failed = |_: &Item, channels: &Item| match channels.get(e164) {
        // The condition asked for nothing but the channel.
        Some(_) => Cancellation::CorruptRecord,
        None => Cancellation::NoPhone,
    };
    // The record has the number, so its counter must stand above zero.
    read(reasons, record_failed, |_| Cancellation::CounterUnclear)
}

/// The ranking that every transaction over a record and a counter shares. `record_failed` gets the record as it stood,
/// and its channels.
fn read<'a>(
    reasons: &[Reason<'a>],
    record_failed: impl FnOnce(&'a Item, &'a Item) -> Cancellation,
    counter_failed: impl FnOnce(Option<&'a Item>) -> Cancellation,
) -> Cancellation {
    let [record, counter] = reasons else {
        return Cancellation::Unreadable;
    };
    // The counter may have failed, but while the record is contended an answer that ranks before it is still unknown.
    let contended = contention(record.code);
    let contended = contended.or_else(|| contention(counter.code).filter(|_| record.code == PASSED));
    if let Some(contended) = contended {
        return contended;
    }
    match (record.code, counter.code) {
        // The record's answers rank before the counter's, whatever the counter says.
        (CONDITION, _) => {
            let Some(item) = record.item else {
                return Cancellation::NoRecord;
            };
            match item.get(items::NOTIFICATION_CHANNELS).and_then(|channels| channels.as_m().ok()) {
                Some(channels) => record_failed(item, channels),
                None => Cancellation::CorruptRecord,
            }
        }
        (PASSED, CONDITION) => counter_failed(counter.item),
        // An expression that does not fit the record: a map that is missing, a count that is no number.
        (INVALID, _) => Cancellation::CorruptRecord,
        (PASSED, INVALID) => Cancellation::CounterUnclear,
        _ => Cancellation::Unreadable,
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

    /// Old items, whole and corrupt, and what each says of a failed condition: of an add's record, a removal's record,
    /// an add's counter.
    fn old_items() -> Vec<(Option<Item>, Cancellation, Cancellation, Cancellation)> {
        use Cancellation::{CorruptRecord, CounterUnclear, HasPhone, NoPhone, NoRecord, PhoneFull, RecordFull};
        let channels = |entries: &[(&str, AttributeValue)]| AttributeValue::M(item(entries));
        let mark = [1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2];
        let marked = AttributeValue::M(item(&[("i", AttributeValue::B(Blob::new(mark)))]));
        let has = HasPhone(Some(IdempotencyFingerprint { key: [1; 8], request: [2; 8] }));
        let plain = AttributeValue::M(HashMap::new());
        let record = |count: &str, entries: &[(&str, AttributeValue)]| {
            Some(item(&[("phone_count", number(count)), ("notification_channels", channels(entries))]))
        };
        vec![
            (None, NoRecord, NoRecord, CounterUnclear),
            (Some(Item::new()), CorruptRecord, CorruptRecord, CounterUnclear),
            (record("1", &[(E164, marked.clone())]), has, CorruptRecord, CounterUnclear),
            (record("50", &[(E164, marked)]), has, CorruptRecord, CounterUnclear),
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

    /// Every pair of codes with every pair of old items: 9 × 9 × 16 × 16, for both operations, against the rules as
    /// they are written in the module's own words.
    #[test]
    fn every_combination() {
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
                            read_add(&reasons, E164),
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
    fn other_than_two_reasons_are_unreadable() {
        let reason = Reason { code: "ConditionalCheckFailed", item: None };
        for reasons in [&[][..], &[reason], &[reason; 3]] {
            assert_eq!(read_add(reasons, E164), Cancellation::Unreadable);
            assert_eq!(read_remove(reasons, E164), Cancellation::Unreadable);
        }
    }

    proptest! {
        #[test]
        fn any_code_is_read(first in ".{0,30}", second in ".{0,30}") {
            let reasons = [Reason { code: &first, item: None }, Reason { code: &second, item: None }];
            read_add(&reasons, E164);
            read_remove(&reasons, E164);
        }
    }
}
