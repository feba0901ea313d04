//! The contract as a sequential model: a table, and the response to each operation on it.

use crate::request::Action;

const LIMIT: usize = 50;

/// The part of the table that a history can change, and counts of the rest. It is small because the checker copies it in
/// every step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Table {
    /// For each record, each number.
    pub(super) entries: [[Entry; 4]; 4],
    /// For each record, how many numbers it has that no request uses. `None` if the record does not exist.
    pub(super) other_phones: [Option<u8>; 4],
    /// For each number, how many records have it that no request uses.
    pub(super) other_records: [u8; 4],
}

/// Whether a number is on a record, and the fingerprint of the add if the add had an idempotency key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Entry {
    Absent,
    Added(Option<Fingerprint>),
}

/// An idempotency key and a `client_source`, as indexes of [`KEYS`] and [`SOURCES`].
pub(super) type Fingerprint = (u8, u8);
pub(super) const KEYS: [&str; 2] = ["one", "two"];
pub(super) const SOURCES: [&str; 2] = ["web", "shop"];

/// A request, with indexes of the scene's records and numbers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Operation {
    pub(super) action: Action,
    pub(super) record: usize,
    pub(super) phone: usize,
    pub(super) fingerprint: Option<Fingerprint>,
}

/// An outcome, with a record as indexes of the scene's numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Observed {
    Done,
    Replayed,
    Record([bool; 4]),
    Refused(String),
    Unknown,
}

impl Table {
    /// Applies an operation and returns the response that the contract requires.
    pub(super) fn apply(&mut self, operation: Operation) -> Observed {
        let refused = |code: &str| Observed::Refused(code.to_owned());
        let on_records =
            |entries: &[[Entry; 4]; 4]| entries.iter().filter(|row| row[operation.phone] != Entry::Absent).count();
        let customers = usize::from(self.other_records[operation.phone]) + on_records(&self.entries);
        let Some(others) = self.other_phones[operation.record] else {
            return refused("customer_not_found");
        };
        let record = &mut self.entries[operation.record];
        let phones = usize::from(others) + record.iter().filter(|entry| **entry != Entry::Absent).count();
        let entry = &mut record[operation.phone];
        let fingerprint = operation.fingerprint;
        match (operation.action, *entry) {
            (Action::Read, _) => Observed::Record(record.map(|entry| entry != Entry::Absent)),
            (Action::Remove, Entry::Absent) => refused("phone_not_found"),
            (Action::Remove, _) => {
                *entry = Entry::Absent;
                Observed::Done
            }
            (Action::Add, Entry::Added(Some(earlier))) if Some(earlier) == fingerprint => Observed::Replayed,
            (Action::Add, Entry::Added(Some((key, _)))) if fingerprint.is_some_and(|own| own.0 == key) => {
                refused("idempotency_key_reused")
            }
            (Action::Add, Entry::Added(_)) => refused("phone_already_added"),
            (Action::Add, Entry::Absent) if phones >= LIMIT => refused("customer_phone_limit_reached"),
            (Action::Add, Entry::Absent) if customers >= LIMIT => refused("phone_customer_limit_reached"),
            (Action::Add, Entry::Absent) => {
                *entry = Entry::Added(fingerprint);
                Observed::Done
            }
        }
    }
}
