//! The checks: each response must be right, each commit must keep the limits, and nothing may be written that was refused.
//!
//! The simulator knows the order of commits, so linearizability needs no search. A write has its place at its commit; any
//! other response must be the contract's answer at some moment between its request and itself. Together these places are
//! one order of all operations, which agrees with real time and with every response. A general checker confirms this on
//! short histories: see `tests/`.

pub mod keys;
pub mod model;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use cdm_lambda::http::response::Response;
use serde_json::Value as Json;

use crate::plan::story::{customer_place, phone_place, record_pk, table};
use crate::plan::{Operation, Request};
use crate::service::message::ItemKey;
use crate::service::origin::Origin;
use crate::service::table::Tables;
use crate::service::value::{Item, Value};
use keys::KeyHistory;
use model::{Counter, ModelResponse, Record, Versions, answer, fingerprint};

/// What is known of an invocation when it begins.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The number of the event with which it began.
    pub began_seq: u64,
    /// Milliseconds since the start of the run.
    pub began_millis: u64,
    /// The environment's wall clock.
    pub wall_millis: u64,
    /// The table of the environment.
    pub table: usize,
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
}

/// What the contract says of one table.
#[derive(Debug, Clone, Default)]
pub struct TableModel {
    records: BTreeMap<(u16, u16), Versions<Record>>,
    counters: BTreeMap<(u16, u16), Versions<Counter>>,
    /// The API keys.
    pub keys: KeyHistory,
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
    /// Refusals that hold item by item, but at no single moment.
    pub item_by_item: u64,
}

impl TableModel {
    /// A customer who has these numbers at the start.
    pub fn customer(&mut self, client: u16, customer: u16, phones: &[u16]) {
        let record = phones.iter().map(|phone| (*phone, None)).collect();
        self.records.insert((client, customer), Versions::new(Some(record)));
        for phone in phones {
            let counter = self.counters.entry((client, *phone)).or_insert_with(|| Versions::new(Counter::new()));
            let mut customers = counter.last().clone();
            customers.insert(customer);
            *counter = Versions::new(customers);
        }
    }

    /// The table as it is now, without its past.
    fn snapshot(&self) -> Self {
        let records = self.records.iter().map(|(key, record)| (*key, Versions::new(record.last().clone()))).collect();
        let counters =
            self.counters.iter().map(|(key, counter)| (*key, Versions::new(counter.last().clone()))).collect();
        Self { records, counters, keys: self.keys.clone() }
    }
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
            item_by_item: 0,
        }
    }

    /// The model of a table.
    pub fn table(&mut self, place: usize) -> &mut TableModel {
        self.tables.get_mut(place).unwrap_or_else(|| unreachable!("the table exists"))
    }

    /// The table was copied.
    pub fn backed_up(&mut self, place: usize) {
        self.backup = Some(self.table(place).snapshot());
    }

    /// The copy is a new table now. Returns its place.
    pub fn restored(&mut self) -> Option<usize> {
        self.tables.push(self.backup.clone()?);
        Some(self.tables.len() - 1)
    }

    /// Every try, for another checker.
    pub fn tries(&self) -> impl Iterator<Item = &Try> {
        self.tries.values()
    }

    /// A try begins.
    pub fn began(&mut self, request: Request, attempt: u32, facts: Facts) {
        let (began, table) = (facts.began_seq, facts.table);
        let new =
            Try { request, attempt, spent: (0, 0), facts: Some(facts), began, table, ended: None, commits: Vec::new() };
        self.tries.insert((request.id, attempt), new);
    }

    /// An import begins.
    pub fn import_began(&mut self, request: Request, began: u64, table: usize) {
        let new =
            Try { request, attempt: 0, spent: (0, 0), facts: None, began, table, ended: None, commits: Vec::new() };
        self.tries.insert((request.id, 0), new);
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

    /// A transaction changed the table.
    pub fn committed(&mut self, seq: u64, origin: Origin, keys: &[ItemKey], tables: &Tables) -> Vec<String> {
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
        let (request, table_place) = (begun.request, begun.table);
        let limits = self.limits;
        let model = self.table(table_place);
        let key = (request.client, request.customer);
        let record = model.records.entry(key).or_insert_with(|| Versions::new(None));
        let counter = (request.client, request.phone);
        let counter = model.counters.entry(counter).or_insert_with(|| Versions::new(Counter::new()));
        let expected = answer(&request, record.last(), counter.last(), limits);
        if expected != ModelResponse::Done || request.operation == Operation::Read {
            wrong.push(format!("committed, though the contract answers {expected:?}"));
        }
        let (mut phones, mut customers) = (record.last().clone().unwrap_or_default(), counter.last().clone());
        if request.operation == Operation::Add {
            phones.insert(request.phone, fingerprint(&request));
            customers.insert(request.customer);
        } else {
            phones.remove(&request.phone);
            customers.remove(&request.customer);
        }
        for key in keys {
            let item = tables.get(key);
            let agrees = if key.sk == "CUSTOMER" {
                item.is_some_and(|item| agrees_with_record(item, &phones, limits.0))
            } else {
                item.is_some_and(|item| agrees_with_counter(item, &customers, limits.1))
            };
            if !agrees {
                wrong.push(format!("{} is not as the contract has it: {item:?}", key.pk));
            }
        }
        record.push(seq, Some(phones));
        counter.push(seq, customers);
        wrong
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
            wrong.extend(model.and_then(|model| model.keys.check(&begun.request, facts, seq, is_unauthorized)));
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
        let none = (Versions::new(None), Versions::new(Counter::new()));
        let model = self.tables.get(begun.table)?;
        let record = model.records.get(&(request.client, request.customer)).unwrap_or(&none.0);
        let counter = model.counters.get(&(request.client, request.phone)).unwrap_or(&none.1);
        let mut moments = vec![begun.began];
        moments.extend(record.changes(begun.began, seq));
        moments.extend(counter.changes(begun.began, seq));
        moments.sort_unstable();
        let at = |record_at, counter_at| answer(request, record.at(record_at), counter.at(counter_at), limits);
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

    /// At the end: every record and counter is as the contract has it.
    pub fn end(&mut self, tables: &Tables) -> Vec<String> {
        let mut wrong = Vec::new();
        for (place, model) in self.tables.iter().enumerate() {
            for ((client, customer), record) in &model.records {
                let Some(phones) = record.last() else { continue };
                let key = ItemKey { table: table(place), pk: record_pk(*client, *customer), sk: "CUSTOMER".to_owned() };
                if !tables.get(&key).is_some_and(|item| agrees_with_record(item, phones, self.limits.0)) {
                    wrong.push(format!("at the end {key} is not as the contract has it"));
                }
            }
        }
        wrong
    }
}

fn agrees_with_record(item: &Item, phones: &BTreeMap<u16, model::StoredFingerprint>, limit: u32) -> bool {
    let count = item.get("phone_count").and_then(Value::number);
    let channels = item.get("notification_channels").and_then(Value::map);
    count.is_some_and(|count| count <= i64::from(limit) && usize::try_from(count) == Ok(phones.len()))
        && channels.is_some_and(|channels| {
            channels.len() == phones.len()
                && channels.keys().zip(phones.keys()).all(|(e164, place)| phone_place(e164) == Some(*place))
        })
}

fn agrees_with_counter(item: &Item, customers: &Counter, limit: u32) -> bool {
    let count = item.get("ccid_count").and_then(Value::number);
    let empty = std::collections::BTreeSet::new();
    let ccids = item.get("ccids").and_then(Value::strings).unwrap_or(&empty);
    count.is_some_and(|count| count <= i64::from(limit) && usize::try_from(count) == Ok(customers.len()))
        && ccids.len() == customers.len()
        && ccids.iter().all(|ccid| customer_place(ccid).is_some_and(|place| customers.contains(&place)))
}

/// Reads a response, and checks its form.
fn read(request: &Request, response: &Response, wrong: &mut Vec<String>) -> ModelResponse {
    let Ok(body) = serde_json::from_str::<Json>(&response.body) else {
        wrong.push("the body is not JSON".to_owned());
        return ModelResponse::Unknown;
    };
    let code = body.get("code").and_then(Json::as_str);
    let is_replay = response.headers.iter().any(|(name, _)| *name == "idempotency-replayed");
    match (response.status_code, code) {
        (200, None) if request.operation == Operation::Read => {
            let channels = body.get("notification_channels").and_then(Json::as_array);
            let places = channels.into_iter().flatten().map(|channel| {
                channel.get("channel_addr").and_then(Json::as_str).and_then(phone_place).unwrap_or(u16::MAX)
            });
            let places: std::collections::BTreeSet<_> = places.collect();
            if body.get("phone_count").and_then(Json::as_u64) != Some(places.len() as u64) {
                wrong.push("phone_count is not the number of channels".to_owned());
            }
            ModelResponse::Record(places)
        }
        (200, None) if is_replay => ModelResponse::Replayed,
        (200, None) => ModelResponse::Done,
        (500, Some("try_again")) => ModelResponse::TryAgain,
        (500, Some("internal_error")) => ModelResponse::Unknown,
        (400..500, Some(code)) => ModelResponse::Refused(code.to_owned()),
        _ => {
            wrong.push(format!("an undocumented response: {} {code:?}", response.status_code));
            ModelResponse::Unknown
        }
    }
}
