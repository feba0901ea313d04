//! Why DynamoDB cancelled a transaction: one pure, total function of the reasons it gave.
//!
//! DynamoDB prepares the items of a transaction one by one, so the reasons are not a snapshot of one moment. The answer
//! that ranks first is therefore taken only from an item whose fate is known.

use super::items::{self, Item};
use crate::domain::{CUSTOMERS_PER_PHONE, IdempotencyMark, PHONES_PER_CUSTOMER};

/// One item's reason. DynamoDB gives one for each item of the transaction, in order.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reason<'a> {
    /// DynamoDB's code; `None` (the word) for an item that passed.
    pub code: &'a str,
    /// The item as it stood, where its condition failed and there was one.
    pub item: Option<&'a Item>,
}

/// What a cancelled transaction says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// There is no such record.
    NoRecord,
    /// The record has the number already, by a request of this mark (if it had a key).
    HasPhone(Option<IdempotencyMark>),
    /// The record does not have the number (of a removal).
    NoPhone,
    /// The record has as many numbers as it may.
    RecordFull,
    /// The number is on as many records as it may be.
    PhoneFull,
    /// Contention or throttling: nothing is decided, the same transaction may pass later.
    Again,
    /// The record passed and the counter did not, for a reason that its item does not show. Once it may be a change
    /// between two looks; twice it is damage.
    CounterUnclear,
    /// The record contradicts itself.
    DamagedRecord,
    /// Not a pair of reasons that DynamoDB is documented to give.
    Unreadable,
}

const PASSED: &str = "None";
const CONDITION: &str = "ConditionalCheckFailed";
const INVALID: &str = "ValidationError";

fn is_contention(code: &str) -> bool {
    matches!(code, "TransactionConflict" | "ThrottlingError" | "ProvisionedThroughputExceeded")
}

/// Reads the cancellation of an add of `e164`: the record's reason first, the counter's second.
pub(super) fn read_add(reasons: &[Reason<'_>], e164: &str) -> Verdict {
    let record_failed = |item: &Item, channels: &Item| {
        if let Some(entry) = channels.get(e164) {
            return Verdict::HasPhone(entry.as_m().ok().and_then(items::mark));
        }
        match items::whole_number(item.get(items::PHONE_COUNT)) {
            Some(count) if count >= u64::from(PHONES_PER_CUSTOMER) => Verdict::RecordFull,
            _ => Verdict::DamagedRecord,
        }
    };
    let counter_failed = |item: Option<&Item>| {
        let count = item.and_then(|item| items::whole_number(item.get(items::CCID_COUNT)));
        match count {
            Some(count) if count >= u64::from(CUSTOMERS_PER_PHONE) => Verdict::PhoneFull,
            _ => Verdict::CounterUnclear,
        }
    };
    read(reasons, record_failed, counter_failed)
}

/// Reads the cancellation of a removal of `e164`: the record's reason first, the counter's second.
pub(super) fn read_remove(reasons: &[Reason<'_>], e164: &str) -> Verdict {
    let record_failed = |_: &Item, channels: &Item| match channels.get(e164) {
        // The condition asked for nothing but the channel.
        Some(_) => Verdict::DamagedRecord,
        None => Verdict::NoPhone,
    };
    // The record has the number, so its counter must stand above zero.
    read(reasons, record_failed, |_| Verdict::CounterUnclear)
}

/// The ranking that every transaction over a record and a counter shares. `record_failed` gets the record as it stood,
/// and its channels.
fn read<'a>(
    reasons: &[Reason<'a>],
    record_failed: impl FnOnce(&'a Item, &'a Item) -> Verdict,
    counter_failed: impl FnOnce(Option<&'a Item>) -> Verdict,
) -> Verdict {
    let [record, counter] = reasons else {
        return Verdict::Unreadable;
    };
    match (record.code, counter.code) {
        // The record's answers rank before the counter's, whatever the counter says.
        (CONDITION, _) => {
            let Some(item) = record.item else {
                return Verdict::NoRecord;
            };
            match item.get(items::NOTIFICATION_CHANNELS).and_then(|channels| channels.as_m().ok()) {
                Some(channels) => record_failed(item, channels),
                None => Verdict::DamagedRecord,
            }
        }
        // The counter may have failed, but an answer that ranks before it is still unknown.
        (code, _) if is_contention(code) => Verdict::Again,
        (PASSED, code) if is_contention(code) => Verdict::Again,
        (PASSED, CONDITION) => counter_failed(counter.item),
        // An expression that does not fit the record: a map that is missing, a count that is no number.
        (INVALID, _) => Verdict::DamagedRecord,
        (PASSED, INVALID) => Verdict::CounterUnclear,
        _ => Verdict::Unreadable,
    }
}
