//! The checks: each response must be right, each commit must keep the limits, and a refused request must not write anything.
//!
//! The simulator knows the order of commits, so linearizability needs no search. A write takes effect at its commit. Any
//! other response must be the contract's answer at some moment between the request and the response. Together these moments
//! are one order of all operations, which agrees with real time and with every response. A general checker confirms this on
//! short histories: see `tests/`.

pub mod keys;
pub mod model;
mod response;
pub mod table;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use cdm_lambda::http::response::Response;

use crate::plan::names::{self, CLIENTS, counter_pk, record_pk};
use crate::plan::{Operation, Request};
use crate::service::message::ItemKey;
use crate::service::origin::Origin;
use crate::service::table::Tables;
use model::{ModelResponse, Number, Versions, answer, apply};
use response::read;
use table::TableModel;

/// What is known of an invocation when it begins.
#[derive(Debug, Clone)]
pub struct Facts {
    /// Milliseconds since the start of the run.
    pub began_millis: u64,
    /// The environment's wall clock.
    pub wall_millis: u64,
    /// For how long the environment caches a key.
    pub key_cache_millis: u64,
    /// By how many milliseconds the environment's clock went backwards so far.
    pub clock_went_back: Arc<AtomicU64>,
}

/// One try of a request.
#[derive(Debug, Clone)]
pub struct Try {
    /// The request.
    pub request: Request,
    /// The number of the try: 0 is the first.
    pub attempt: u32,
    /// How many calls it made, and for how many milliseconds it held its environment.
    pub spent: (u32, u64),
    /// What is known of its beginning. `None` for an import, which has no API key.
    pub facts: Option<Facts>,
    /// The number of the event with which it began.
    pub began: u64,
    /// The table.
    pub table: usize,
    /// The number of the event with which it ended, and the answer.
    pub ended: Option<(u64, ModelResponse)>,
    /// The events in which it was committed.
    pub commits: Vec<u64>,
    /// The last event in which it read the item of a number.
    pub read: u64,
}

/// A check of a table that repairs it.
#[derive(Debug, Clone, Copy)]
struct Repair {
    table: usize,
    /// The event in which it began.
    began: u64,
    /// How often an item had become corrupt by then.
    corruptions: u64,
    /// How many items were corrupt then.
    corrupt: u64,
}

/// The checks of a run.
#[derive(Debug)]
pub struct Check {
    limits: (u32, u32),
    /// What was wrong.
    pub violations: Vec<String>,
    tables: Vec<TableModel>,
    backup: Option<TableModel>,
    tries: HashMap<(u32, u32), Try>,
    /// The tables that operators check and repair, by the number of the command.
    repairs: HashMap<u32, Repair>,
    /// Refusals that are right if the items are read at different moments, but at no single moment.
    pub item_by_item: u64,
}

impl Check {
    /// Checks with these limits.
    pub fn new(limits: (u32, u32)) -> Self {
        Self {
            limits,
            violations: Vec::new(),
            tables: vec![TableModel::default()],
            backup: None,
            tries: HashMap::new(),
            repairs: HashMap::new(),
            item_by_item: 0,
        }
    }

    /// The model of a table.
    pub fn table(&mut self, index: usize) -> &mut TableModel {
        self.tables.get_mut(index).unwrap_or_else(|| unreachable!("the table exists"))
    }

    /// The table was copied.
    pub fn backed_up(&mut self, index: usize) {
        self.backup = Some(self.table(index).snapshot());
    }

    /// The copy is a new table now. Returns its index.
    pub fn restored(&mut self) -> Option<usize> {
        self.tables.push(self.backup.clone()?);
        Some(self.tables.len() - 1)
    }

    /// Every try, for another checker.
    pub fn tries(&self) -> impl Iterator<Item = &Try> {
        self.tries.values()
    }

    /// A try of a request begins, with the event `began`. An import's has no facts.
    pub fn began(&mut self, request: Request, attempt: u32, began: u64, table: usize, facts: Option<Facts>) {
        let one =
            Try { request, attempt, spent: (0, 0), facts, began, table, ended: None, commits: Vec::new(), read: 0 };
        self.tries.insert((request.id, attempt), one);
    }

    /// A try is over, and has cost so many calls and milliseconds.
    pub fn spent(&mut self, request: u32, attempt: u32, calls: u32, millis: u64) {
        if let Some(begun) = self.tries.get_mut(&(request, attempt)) {
            begun.spent = (calls, millis);
        }
    }

    /// A try will have no response.
    pub fn unknown(&mut self, request: u32, attempt: u32) {
        if let Some(begun) = self.tries.get_mut(&(request, attempt)) {
            begun.ended = Some((u64::MAX, ModelResponse::Unknown));
        }
    }

    /// An operator begins to check and repair a table, in the event `seq`.
    pub fn check_began(&mut self, number: u32, table: usize, seq: u64) {
        let model = self.table(table);
        let corrupt = model.corrupt.len() as u64;
        let repair = Repair { table, began: seq, corruptions: model.corruptions, corrupt };
        self.repairs.insert(number, repair);
    }

    /// The check has ended. It must not have more findings than there were corrupt items, and must have repaired each item
    /// that was corrupt when it began.
    pub fn check_ended(&mut self, number: u32, findings: u64) -> Vec<String> {
        let Some(repair) = self.repairs.get(&number).copied() else { return Vec::new() };
        let model = self.table(repair.table);
        let mut wrong = Vec::new();
        let most = repair.corrupt + model.corruptions - repair.corruptions;
        if findings > most {
            wrong.push(format!("{findings} findings, and at most {most} corrupt items"));
        }
        if model.corrupt.values().any(|since| *since < repair.began) {
            wrong.push("a corrupt item was not repaired".to_owned());
        }
        wrong
    }

    /// A repair changed the table. Each item must still match the model.
    fn repaired(&mut self, table: usize, keys: &[ItemKey], tables: &Tables) -> Vec<String> {
        let limits = self.limits;
        let model = self.table(table);
        let mut wrong = Vec::new();
        for key in keys {
            let item = tables.get(key);
            if key.sk == "KEY" {
                model.corrupt.remove(&key.pk);
            } else if !(0..CLIENTS).any(|client| {
                key.pk.starts_with(&format!("CLIENT#{}#", names::client(client)))
                    && model.agrees(client, key, item, limits)
            }) {
                wrong.push(format!("a repair left {} as the contract does not have it: {item:?}", key.pk));
            }
        }
        wrong
    }

    /// A transaction changed the table.
    pub fn committed(&mut self, seq: u64, origin: Origin, keys: &[ItemKey], tables: &Tables) -> Vec<String> {
        if let Some(repair) = self.repairs.get(&origin.request) {
            return self.repaired(repair.table, keys, tables);
        }
        let Some(begun) = self.tries.get_mut(&(origin.request, origin.attempt)) else {
            return vec!["a commit of a try that never began".to_owned()];
        };
        let mut wrong = Vec::new();
        begun.commits.push(seq);
        if begun.commits.len() > 1 {
            wrong.push("written more than once".to_owned());
        }
        if let Some((_, answer)) = &begun.ended
            && *answer != ModelResponse::Unknown
        {
            wrong.push(format!("written after the answer {answer:?}"));
        }
        let (request, table_index, read) = (begun.request, begun.table, begun.read);
        let limits = self.limits;
        let model = self.table(table_index);
        let customer = (request.client, request.customer);
        let record = model.records.entry(customer).or_insert_with(|| Versions::new(None));
        let number =
            model.numbers.entry((request.client, request.phone)).or_insert_with(|| Versions::new(Number::default()));
        let expected = answer(&request, record.last(), number.last(), limits);
        let is_write = match request.operation {
            Operation::Read | Operation::ReadPhone => false,
            Operation::UpdateConsent => number.last().consent() != request.consent,
            _ => true,
        };
        if !matches!(expected, ModelResponse::Done | ModelResponse::Consent(_)) || !is_write {
            wrong.push(format!("committed, though the contract answers {expected:?}"));
        }
        let (mut record_after, mut number_after) = (record.last().clone(), number.last().clone());
        apply(&request, &mut record_after, &mut number_after, seq);
        if let (Some(stopped), None) = (number.last().stopped, number_after.stopped)
            && read < stopped
        {
            wrong.push("a lift of a stop that it has not read".to_owned());
        }
        let of_record = record.last().clone();
        record.push(seq, record_after);
        number.push(seq, number_after);
        if request.operation == Operation::Delete {
            for phone in of_record.into_iter().flat_map(BTreeMap::into_keys) {
                if let Some(number) = model.numbers.get_mut(&(request.client, phone)) {
                    let mut after = number.last().clone();
                    after.customers.remove(&request.customer);
                    number.push(seq, after);
                }
            }
        }
        for key in keys {
            let item = tables.get(key);
            if !model.agrees(request.client, key, item, limits) {
                wrong.push(format!("{} is not as the contract has it: {item:?}", key.pk));
            }
        }
        wrong
    }

    /// A try reads the item of a number.
    pub fn read(&mut self, origin: Origin, seq: u64) {
        if let Some(begun) = self.tries.get_mut(&(origin.request, origin.attempt)) {
            begun.read = seq;
        }
    }

    /// A try has its response.
    pub fn ended(&mut self, request: u32, attempt: u32, seq: u64, response: &Response) -> Vec<String> {
        let Some(begun) = self.tries.get(&(request, attempt)) else { return Vec::new() };
        let mut wrong = Vec::new();
        let observed = read(&begun.request, response, &mut wrong);
        if let (Some(facts), false) =
            (&begun.facts, matches!(observed, ModelResponse::TryAgain | ModelResponse::Unknown))
        {
            let is_unauthorized = response.code == Some("unauthorized");
            let model = self.tables.get(begun.table);
            wrong.extend(
                model.and_then(|model| model.keys.check(&begun.request, facts, (begun.began, seq), is_unauthorized)),
            );
        }
        wrong.extend(self.answered((request, attempt), seq, &observed));
        wrong
    }

    /// A try has this answer.
    pub fn answered(&mut self, id: (u32, u32), seq: u64, observed: &ModelResponse) -> Vec<String> {
        let Some(begun) = self.tries.get_mut(&id) else { return Vec::new() };
        begun.ended = Some((seq, observed.clone()));
        let begun = begun.clone();
        let commits = begun.commits.len();
        let mut wrong = Vec::new();
        match observed {
            ModelResponse::TryAgain if commits > 0 => wrong.push("try_again, but it was written".to_owned()),
            ModelResponse::Done if commits != 1 => wrong.push(format!("answered 200, and written {commits} times")),
            ModelResponse::Consent(consent) if Some(*consent) != begun.request.consent => {
                wrong.push(format!("answered with the consent {consent:?}"));
            }
            ModelResponse::Consent(_) if commits > 0 => {}
            ModelResponse::Unknown | ModelResponse::TryAgain | ModelResponse::Done => {}
            _ if commits > 0 => wrong.push(format!("written, but answered {observed:?}")),
            ModelResponse::Refused(code) if code == "unauthorized" => {}
            _ => wrong.extend(self.placed(&begun, seq, observed)),
        }
        wrong
    }

    /// Finds a moment at which the contract gives this answer.
    fn placed(&mut self, begun: &Try, seq: u64, observed: &ModelResponse) -> Option<String> {
        let limits = self.limits;
        let request = &begun.request;
        let none = (Versions::new(None), Versions::new(Number::default()));
        let model = self.tables.get(begun.table)?;
        let record = model.records.get(&(request.client, request.customer)).unwrap_or(&none.0);
        let number_of = |phone| model.numbers.get(&(request.client, phone)).unwrap_or(&none.1);
        let number = number_of(request.phone);
        if let (Operation::Read, ModelResponse::Record(phones)) = (request.operation, observed) {
            // The numbers at one moment; each consent at a moment of its own.
            let is_record = record
                .during(begun.began, seq)
                .any(|record| record.as_ref().is_some_and(|record| record.keys().eq(phones.keys())));
            let are_consents = phones.iter().all(|(phone, consent)| {
                number_of(*phone).during(begun.began, seq).any(|number| number.consent() == *consent)
            });
            return (!is_record || !are_consents).then(|| format!("answered {observed:?}, which was at no moment"));
        }
        let mut moments = vec![begun.began];
        moments.extend(record.changes(begun.began, seq));
        moments.extend(number.changes(begun.began, seq));
        moments.sort_unstable();
        let at = |record_at, number_at| match (
            request.operation,
            answer(request, record.at(record_at), number.at(number_at), limits),
        ) {
            // Without a commit, an update was right only if the number had this consent.
            (Operation::UpdateConsent, ModelResponse::Consent(consent))
                if number.at(number_at).consent() != Some(consent) =>
            {
                ModelResponse::Unknown
            }
            (_, right) => right,
        };
        if moments.iter().any(|moment| at(*moment, *moment) == *observed) {
            return None;
        }
        // DynamoDB looks at the items one after another, so a counter's refusal need not hold at one moment.
        if *observed == ModelResponse::Refused("phone_customer_limit_reached".to_owned())
            && moments.iter().any(|first| moments.iter().any(|second| at(*first, *second) == *observed))
        {
            self.item_by_item += 1;
            return None;
        }
        Some(format!("answered {observed:?}, which the contract gives at no moment of the request"))
    }

    /// At the end: every record and number is as the contract has it.
    pub fn end(&mut self, tables: &Tables) -> Vec<String> {
        let mut wrong = Vec::new();
        for (index, model) in self.tables.iter().enumerate() {
            let key = |pk, sk: &str| ItemKey { table: names::table(index), pk, sk: sk.to_owned() };
            let records = model
                .records
                .keys()
                .map(|(client, customer)| (*client, key(record_pk(*client, *customer), "CUSTOMER")));
            let numbers =
                model.numbers.keys().map(|(client, phone)| (*client, key(counter_pk(*client, *phone), "PHONE")));
            for (client, key) in records.chain(numbers) {
                if !model.agrees(client, &key, tables.get(&key), self.limits) {
                    wrong.push(format!("at the end {key} is not as the contract has it"));
                }
            }
        }
        wrong
    }
}
