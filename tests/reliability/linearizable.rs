//! Adds, removals and reads by many environments at once, under every fault, with environments frozen and killed and
//! connections cut, recorded and given to a checker: there must be one order of them, in agreement with real time, in
//! which each answer is the one that the contract gives.
//!
//! An operation whose outcome is unknown stays open for ever: it may have happened at any time since, or never.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::ops::Range;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::stream::{self, StreamExt as _};
use todc_utils::specifications::Specification;
use todc_utils::{Action as Moment, History, WGLChecker};

use crate::fault_table::{FAULTS, Fate, Fault};
use crate::proxy::Tally;
use crate::world::{Action, Answer, Contents, Request, World, is_full};
use testkit::runtime_api::Environment;

/// At most so many requests are under way at once.
const ENVIRONMENTS: u64 = 8;
/// Requests of one history. What a history is about, no other touches.
const OPERATIONS: usize = 200;
/// Of a hundred calls to DynamoDB, so many go wrong.
const FAULTS_PERCENT: u32 = 8;
/// Time for one attempt that is given up, and for some more.
const TIME: Duration = Duration::from_secs(5);
/// A history that is not decided by then counts as a failure.
const DECIDED_WITHIN: Duration = Duration::from_secs(120);

const LIMIT: usize = 50;

/// What one history is about: these records and numbers, in a table that holds more.
struct Scene {
    ccids: [String; 4],
    phones: [String; 4],
    /// Each customer's numbers, before.
    initial: Contents,
}

/// The contract, as far as one table and one request after another go. It has what may change, and of the rest how much
/// there is: small, because a checker copies it at every step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Table {
    /// Of each record each number.
    entries: [[Entry; 4]; 4],
    /// `None` where there is no such record; else how many numbers it has that nobody asks for.
    other_phones: [Option<u8>; 4],
    /// On how many records that nobody asks for each number is.
    other_records: [u8; 4],
}

/// A number on a record, and by which add.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Entry {
    Absent,
    Added(Option<Mark>),
}

/// An idempotency key, and the value in which two requests can differ, as places in these.
type Mark = (u8, u8);
const KEYS: [&str; 2] = ["one", "two"];
const SOURCES: [&str; 2] = ["web", "shop"];

/// What is asked, by places in the scene.
#[derive(Debug, Clone, Copy)]
struct Ask {
    action: Action,
    record: usize,
    phone: usize,
    mark: Option<Mark>,
}

/// An answer, and the numbers of a record as places in the scene.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Told {
    Done,
    Replayed,
    Record([bool; 4]),
    Refused(String),
    Unknown,
}

impl Scene {
    /// `None` for a number that nobody asks for.
    fn place_of(&self, e164: &str) -> Option<usize> {
        self.phones.iter().position(|phone| e164.strip_prefix("+1") == Some(phone))
    }

    fn table(&self) -> Table {
        let mut table = Table { entries: [[Entry::Absent; 4]; 4], other_phones: [None; 4], other_records: [0; 4] };
        for (ccid, phones) in &self.initial {
            let record = self.ccids.iter().position(|name| name == ccid);
            let others = record.map(|record| table.other_phones[record].insert(0));
            let mut count = 0;
            for e164 in phones {
                match (record, self.place_of(e164)) {
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

    fn ask(&self, request: &Request) -> Ask {
        Ask {
            action: request.action,
            record: self.ccids.iter().position(|ccid| *ccid == request.ccid).unwrap(),
            phone: self.phones.iter().position(|phone| *phone == request.phone).unwrap_or_default(),
            mark: request.idempotency_key.map(|key| (place(KEYS, key), place(SOURCES, request.source))),
        }
    }

    /// `None` where a record has changed in what nobody asked for.
    fn told(&self, request: &Request, answer: &Answer) -> Option<Told> {
        Some(match answer {
            Answer::Done => Told::Done,
            Answer::Replayed => Told::Replayed,
            Answer::Refused(code) => Told::Refused(code.clone()),
            Answer::TryAgain | Answer::Unknown => Told::Unknown,
            Answer::Record(phones) => {
                let others = |phones: &BTreeSet<String>| {
                    phones.iter().filter(|e164| self.place_of(e164).is_none()).cloned().collect()
                };
                let (now, before): (BTreeSet<_>, BTreeSet<_>) = (others(phones), others(&self.initial[&request.ccid]));
                if now != before {
                    return None;
                }
                Told::Record(std::array::from_fn(|place| phones.contains(&format!("+1{}", self.phones[place]))))
            }
        })
    }
}

fn place(of: [&str; 2], text: &str) -> u8 {
    of.iter().zip(0..).find(|(known, _)| **known == text).unwrap().1
}

impl Table {
    fn answer(&mut self, ask: Ask) -> Told {
        let refused = |code: &str| Told::Refused(code.to_owned());
        let on_records =
            |entries: &[[Entry; 4]; 4]| entries.iter().filter(|row| row[ask.phone] != Entry::Absent).count();
        let customers = usize::from(self.other_records[ask.phone]) + on_records(&self.entries);
        let Some(others) = self.other_phones[ask.record] else {
            return refused("customer_not_found");
        };
        let record = &mut self.entries[ask.record];
        let phones = usize::from(others) + record.iter().filter(|entry| **entry != Entry::Absent).count();
        let entry = &mut record[ask.phone];
        match (ask.action, *entry) {
            (Action::Read, _) => Told::Record(record.map(|entry| entry != Entry::Absent)),
            (Action::Remove, Entry::Absent) => refused("phone_not_found"),
            (Action::Remove, _) => {
                *entry = Entry::Absent;
                Told::Done
            }
            (Action::Add, Entry::Added(Some(earlier))) if Some(earlier) == ask.mark => Told::Replayed,
            (Action::Add, Entry::Added(Some((key, _)))) if ask.mark.is_some_and(|mark| mark.0 == key) => {
                refused("idempotency_key_reused")
            }
            (Action::Add, Entry::Added(_)) => refused("phone_already_added"),
            (Action::Add, Entry::Absent) if phones >= LIMIT => refused("customer_phone_limit_reached"),
            (Action::Add, Entry::Absent) if customers >= LIMIT => refused("phone_customer_limit_reached"),
            (Action::Add, Entry::Absent) => {
                *entry = Entry::Added(ask.mark);
                Told::Done
            }
        }
    }
}

/// One step of a history.
#[derive(Debug, Clone)]
enum Step {
    /// The first: what the table held.
    Began(Table),
    /// A call; what was asked stands beside its answer.
    Asked,
    Answered(Ask, Told),
    /// After all that was answered.
    Ended,
}

/// How far a history is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum State {
    Before,
    During(Table),
    After,
}

struct Contract;

impl Specification for Contract {
    type State = State;
    type Operation = Step;

    fn init() -> State {
        State::Before
    }

    fn apply(step: &Step, state: &State) -> (bool, State) {
        match (step, state) {
            (Step::Began(table), State::Before) => (true, State::During(*table)),
            (Step::Answered(ask, told), State::During(table)) => {
                let mut next = *table;
                let right = next.answer(*ask);
                // What is unknown and changes nothing may as well have happened after the end, where it is in nobody's
                // way: or each of these would double what there is to search.
                let is_right = if *told == Told::Unknown { next != *table } else { *told == right };
                (is_right, State::During(next))
            }
            (Step::Ended, State::During(_)) | (Step::Answered(_, Told::Unknown), State::After) => (true, State::After),
            _ => (false, *state),
        }
    }
}

/// What happened, in order.
#[derive(Debug, Clone)]
enum Event {
    Asked(usize, Request),
    Answered(usize, Answer),
}

/// Whether there is such an order; `None` where the checker did not get to its end.
fn is_linearizable(scene: &Scene, events: &[Event]) -> Option<bool> {
    let began = Step::Began(scene.table());
    let mut steps = vec![(0, Moment::Call(began.clone())), (0, Moment::Response(began))];
    let (mut asked, mut unknown) = (BTreeMap::new(), Vec::new());
    // What wrote nothing and says nothing is in nobody's way.
    let silent =
        |id: &usize| events.iter().any(|event| matches!(event, Event::Answered(n, Answer::TryAgain) if n == id));
    for event in events {
        match event {
            Event::Asked(id, _) | Event::Answered(id, _) if silent(id) => {}
            Event::Asked(id, request) => {
                asked.insert(id, request);
                steps.push((id + 1, Moment::Call(Step::Asked)));
            }
            Event::Answered(id, answer) => {
                let request = asked.remove(id).unwrap();
                let Some(told) = scene.told(request, answer) else { return Some(false) };
                let kept = if told == Told::Unknown { &mut unknown } else { &mut steps };
                kept.push((id + 1, Moment::Response(Step::Answered(scene.ask(request), told))));
            }
        }
    }
    assert!(asked.is_empty(), "never answered: {asked:?}");
    steps.extend([(0, Moment::Call(Step::Ended)), (0, Moment::Response(Step::Ended))]);
    // At any time since, even after everything else, which is never.
    steps.append(&mut unknown);
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || tell.send(WGLChecker::<Contract>::is_linearizable(History::from_actions(steps))));
    told.recv_timeout(DECIDED_WITHIN).ok()
}

impl Scene {
    /// One record close to its limit, one number close to its own, and a customer that does not exist.
    async fn make(world: &World, history: u64) -> Self {
        let phone = |n: u64| format!("{:010}", 2_000_000_000 + history * 1_000 + n);
        let ccid = |n: u64| format!("H{history}-{n}");
        let others: Vec<_> = (100..148).map(phone).collect();
        world.customer(&ccid(0), &others.iter().map(String::as_str).collect::<Vec<_>>()).await;
        for n in 1..3 {
            world.customer(&ccid(n), &[]).await;
        }
        for n in 100..148 {
            world.customer(&ccid(n), &[&phone(0)]).await;
        }
        let numbers = [0, 1, 2, 3];
        let mut scene = Self { ccids: numbers.map(ccid), phones: numbers.map(phone), initial: Contents::new() };
        scene.initial = scene.contents(world).await;
        scene
    }

    fn draw(&self, random: &mut fastrand::Rng) -> Request {
        let ccid = &self.ccids[if random.u32(..30) == 0 { 3 } else { random.usize(..3) }];
        let phone = &self.phones[random.usize(..4)];
        let mut request = match random.u32(..10) {
            0..5 => Request::add(ccid, phone),
            5..8 => Request::remove(ccid, phone),
            _ => Request::read(ccid),
        };
        if request.action == Action::Add && random.bool() {
            request = request.under(KEYS[random.usize(..2)]);
            request.source = SOURCES[random.usize(..2)];
        }
        request
    }

    /// The part of the table that this history is about.
    async fn contents(&self, world: &World) -> Contents {
        let mut contents = world.contents().await;
        contents.retain(|ccid, _| ccid.starts_with(self.ccids[0].trim_end_matches('0')));
        contents
    }
}

/// One history, from its first request to the table's last word.
async fn history(world: &World, environments: &mut [Environment], seed: u64, faults: &[Fault]) -> (Scene, Vec<Event>) {
    let scene = Scene::make(world, seed).await;
    world.proxy.mix(seed, FAULTS_PERCENT, faults.to_vec());
    let events = Arc::new(Mutex::new(Vec::new()));
    let asked = Mutex::new(0..OPERATIONS);
    let workers = environments.iter_mut().zip(0..).map(|(environment, worker)| {
        let (scene, events, asked) = (&scene, Arc::clone(&events), &asked);
        async move {
            let mut random = fastrand::Rng::with_seed(seed * ENVIRONMENTS + worker);
            loop {
                let Some(id) = asked.lock().unwrap().next() else { break };
                let request = scene.draw(&mut random);
                events.lock().unwrap().push(Event::Asked(id, request.clone()));
                let answer = match random.u32(..100) {
                    0 => world.ask_and_kill(environment, &request, TIME, random.u64(..4)).await,
                    1 => {
                        world.freeze_and_cut(environment).await;
                        world.ask_within(environment, &request, TIME).await
                    }
                    _ => world.ask_within(environment, &request, TIME).await,
                };
                events.lock().unwrap().push(Event::Answered(id, answer));
            }
        }
    });
    futures_util::future::join_all(workers).await;
    world.proxy.heal().await;
    let mut events = Arc::try_unwrap(events).unwrap().into_inner().unwrap();
    // The last word: what the table itself has, read past the function, with every part of it in agreement.
    let contents = scene.contents(world).await;
    for (ccid, id) in scene.ccids.iter().zip(OPERATIONS..).take(3) {
        events.push(Event::Asked(id, Request::read(ccid)));
        events.push(Event::Answered(id, Answer::Record(contents[ccid].clone())));
    }
    (scene, events)
}

/// Faults that end in certainty, or that DynamoDB shows by itself; the hopeless ones are no part of a working table.
fn faults() -> Vec<Fault> {
    FAULTS.iter().filter(|(_, _, fate)| *fate != Fate::Hopeless).map(|(_, fault, _)| *fault).collect()
}

/// What came of some histories.
#[derive(Debug, Default)]
struct Outcome {
    answers: BTreeMap<String, u64>,
    tally: Tally,
}

/// Some histories, one after another, in a world of their own.
async fn histories(seeds: Range<u64>) -> Outcome {
    let world = World::new().await;
    let mut environments = Vec::new();
    for _ in 0..ENVIRONMENTS {
        environments.push(world.environment().await);
    }
    let (mut answers, mut slowest) = (BTreeMap::new(), Duration::ZERO);
    for seed in seeds.clone() {
        let (scene, events) = history(&world, &mut environments, seed, &faults()).await;
        for event in &events {
            if let Event::Answered(_, answer) = event {
                *answers.entry(told(answer)).or_default() += 1;
            }
        }
        let shown = shown(&events);
        let begun = Instant::now();
        let decided = tokio::task::spawn_blocking(move || is_linearizable(&scene, &events)).await.unwrap();
        assert_eq!(decided, Some(true), "seed {seed}:\n{shown}");
        slowest = slowest.max(begun.elapsed());
    }
    println!("seeds {seeds:?}: linearizable, each decided within {slowest:.1?}");
    Outcome { answers, tally: world.proxy.tally() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn histories_under_faults_are_linearizable() {
    let seed: u64 = std::env::var("SEED").map_or(1, |seed| seed.parse().unwrap());
    // A world does not grow without end; and while one waits for what was lost, others go on.
    let (worlds, each) = if is_full() { (50, 10) } else { (3, 1) };
    let worlds = (0..worlds).map(|world| histories(seed + world * each..seed + (world + 1) * each));
    let mut running = stream::iter(worlds).buffer_unordered(4);
    let mut all = Outcome::default();
    while let Some(outcome) = running.next().await {
        all.tally.add(&outcome.tally);
        for (answer, count) in outcome.answers {
            *all.answers.entry(answer).or_default() += count;
        }
    }
    println!("{all:#?}");
}

fn told(answer: &Answer) -> String {
    match answer {
        Answer::Record(_) => "record".to_owned(),
        Answer::Refused(code) => code.clone(),
        other => format!("{other:?}"),
    }
}

fn shown(events: &[Event]) -> String {
    events.iter().fold(String::new(), |mut text, event| {
        let _ = writeln!(text, "{event:?}");
        text
    })
}

/// The checker itself: what must not be, it finds.
#[test]
fn the_checker_finds_what_must_not_be() {
    let names = |of: [&str; 4]| of.map(str::to_owned);
    let scene = Scene {
        ccids: names(["a", "b", "c", "d"]),
        phones: names(["2000000000", "2000000001", "2000000002", "2000000003"]),
        initial: Contents::from([("a".to_owned(), ["+12000000009".to_owned()].into())]),
    };
    let record = |phones: &[&str]| Answer::Record(phones.iter().map(|phone| (*phone).to_owned()).collect());
    let there = || record(&["+12000000000", "+12000000009"]);
    let nothing = || record(&["+12000000009"]);
    let add = || Request::add("a", "2000000000");
    let remove = || Request::remove("a", "2000000000");
    let read = || Request::read("a");
    let one_after_another = |done: &[(Request, Answer)]| {
        let events = done.iter().cloned().enumerate();
        let events: Vec<_> =
            events.flat_map(|(id, (asked, told))| [Event::Asked(id, asked), Event::Answered(id, told)]).collect();
        is_linearizable(&scene, &events)
    };
    assert_eq!(one_after_another(&[(add(), Answer::Done), (read(), there())]), Some(true));
    let lost = [(add(), Answer::Done), (read(), nothing())];
    assert_eq!(one_after_another(&lost), Some(false));
    let doubled = [(add(), Answer::Done), (add(), Answer::Done)];
    assert_eq!(one_after_another(&doubled), Some(false));
    let written_all_the_same = [(add(), Answer::TryAgain), (read(), there())];
    assert_eq!(one_after_another(&written_all_the_same), Some(false));
    let unknown_and_there = [(add(), Answer::Unknown), (read(), nothing()), (read(), there())];
    assert_eq!(one_after_another(&unknown_and_there), Some(true), "it may arrive late");
    let ends_that_change_nothing: Vec<_> = std::iter::repeat_n((remove(), Answer::Unknown), 24).collect();
    let never_added = [&ends_that_change_nothing[..], &[(read(), there())]].concat();
    assert_eq!(one_after_another(&never_added), Some(false), "decided, though each may have happened at any time");
    let come_back = [(add(), Answer::Done), (remove(), Answer::Done), (read(), nothing()), (read(), there())];
    assert_eq!(one_after_another(&come_back), Some(false));
    let another_is_gone = [(read(), record(&[]))];
    assert_eq!(one_after_another(&another_is_gone), Some(false));
    let keyed = || add().under("one");
    let of_another_source = Request { source: "shop", ..keyed() };
    let replayed = [
        (keyed(), Answer::Done),
        (keyed(), Answer::Replayed),
        (of_another_source, Answer::refused("idempotency_key_reused")),
        (add().under("two"), Answer::refused("phone_already_added")),
        (Request::add("b", "2000000000"), Answer::refused("customer_not_found")),
    ];
    assert_eq!(one_after_another(&replayed), Some(true));
    assert_eq!(one_after_another(&[(add(), Answer::Done), (keyed(), Answer::Replayed)]), Some(false));
}
