//! The records and numbers of one history.

use std::collections::BTreeSet;

use super::contract::{Entry, KEYS, Observed, Operation, SOURCES, Table};
use crate::deployment::{Contents, Deployment};
use crate::request::{Action, Outcome, Request};

/// Four records and four numbers, in a table that holds more.
pub(super) struct Scene {
    pub(super) ccids: [String; 4],
    pub(super) phones: [String; 4],
    /// Each customer's numbers before the history.
    pub(super) initial: Contents,
}

impl Scene {
    /// Creates one record close to its limit, one number close to its limit, and two empty records. The fourth record does
    /// not exist.
    pub(super) async fn create(deployment: &Deployment, history: u64) -> Self {
        let phone = |n: u64| format!("{:010}", 2_000_000_000 + history * 1_000 + n);
        let ccid = |n: u64| format!("H{history}-{n}");
        let others: Vec<_> = (100..148).map(phone).collect();
        deployment.customer(&ccid(0), &others.iter().map(String::as_str).collect::<Vec<_>>()).await;
        for n in 1..3 {
            deployment.customer(&ccid(n), &[]).await;
        }
        for n in 100..148 {
            deployment.customer(&ccid(n), &[&phone(0)]).await;
        }
        let numbers = [0, 1, 2, 3];
        let mut scene = Self { ccids: numbers.map(ccid), phones: numbers.map(phone), initial: Contents::new() };
        scene.initial = scene.contents(deployment).await;
        scene
    }

    pub(super) fn random_request(&self, random: &mut fastrand::Rng) -> Request {
        let ccid = &self.ccids[if random.u32(..30) == 0 { 3 } else { random.usize(..3) }];
        let phone = &self.phones[random.usize(..4)];
        let mut request = match random.u32(..10) {
            0..5 => Request::add(ccid, phone),
            5..8 => Request::remove(ccid, phone),
            _ => Request::read(ccid),
        };
        if request.action == Action::Add && random.bool() {
            request = request.idempotency_key(KEYS[random.usize(..2)]);
            request.source = SOURCES[random.usize(..2)];
        }
        request
    }

    /// The current numbers of this history's customers.
    pub(super) async fn contents(&self, deployment: &Deployment) -> Contents {
        let mut contents = deployment.contents().await;
        contents.retain(|ccid, _| ccid.starts_with(self.ccids[0].trim_end_matches('0')));
        contents
    }

    /// The index of a number. `None` if no request uses it.
    fn index_of(&self, e164: &str) -> Option<usize> {
        self.phones.iter().position(|phone| e164.strip_prefix("+1") == Some(phone))
    }

    /// The table before the history.
    pub(super) fn table(&self) -> Table {
        let mut table = Table { entries: [[Entry::Absent; 4]; 4], other_phones: [None; 4], other_records: [0; 4] };
        for (ccid, phones) in &self.initial {
            let record = self.ccids.iter().position(|name| name == ccid);
            let others = record.map(|record| table.other_phones[record].insert(0));
            let mut count = 0;
            for e164 in phones {
                match (record, self.index_of(e164)) {
                    (Some(record), Some(phone)) => table.entries[record][phone] = Entry::Added(None),
                    (None, Some(phone)) => table.other_records[phone] += 1,
                    (_, None) => count += 1,
                }
            }
            if let Some(others) = others {
                *others = count;
            }
        }
        table
    }

    pub(super) fn operation(&self, request: &Request) -> Operation {
        Operation {
            action: request.action,
            record: self.ccids.iter().position(|ccid| *ccid == request.ccid).unwrap(),
            phone: self.phones.iter().position(|phone| *phone == request.phone).unwrap_or_default(),
            fingerprint: request.idempotency_key.map(|key| (index(KEYS, key), index(SOURCES, request.source))),
        }
    }

    /// `None` if a record has changed in a number that no request uses.
    pub(super) fn observed(&self, request: &Request, outcome: &Outcome) -> Option<Observed> {
        Some(match outcome {
            Outcome::Done => Observed::Done,
            Outcome::Replayed => Observed::Replayed,
            Outcome::Refused(code) => Observed::Refused(code.clone()),
            Outcome::TryAgain | Outcome::Unknown => Observed::Unknown,
            Outcome::Record(phones) => {
                let others = |phones: &BTreeSet<String>| -> BTreeSet<String> {
                    phones.iter().filter(|e164| self.index_of(e164).is_none()).cloned().collect()
                };
                if others(phones) != others(&self.initial[&request.ccid]) {
                    return None;
                }
                Observed::Record(std::array::from_fn(|index| phones.contains(&format!("+1{}", self.phones[index]))))
            }
        })
    }
}

fn index(values: [&str; 2], value: &str) -> u8 {
    values.iter().zip(0..).find(|(known, _)| **known == value).unwrap().1
}
