//! Adds, removals and reads by many environments at once, under every fault, with environments frozen and killed and
//! connections cut, recorded and given to a checker: there
//! must be one order of them, in agreement with real time, in which each answer is the one that the contract gives.
//!
//! An operation whose outcome is unknown stays open for ever: it may have happened at any time since, or never.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::ops::Range;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use todc_utils::specifications::Specification;
use todc_utils::{Action as Entry, History, WGLChecker};

use crate::fault_table::{FAULTS, Fate, Fault};
use crate::proxy::Tally;
use crate::runtime_api::Environment;
use crate::world::{Action, Answer, Contents, Request, World, is_full};

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

/// The contract, as far as one table and one request after another go.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Table {
    /// By ccid; each number with the request that added it, where it had an idempotency key.
    records: BTreeMap<String, BTreeMap<String, Option<Request>>>,
}

impl Table {
    fn of(contents: &Contents) -> Self {
        let record = |phones: &BTreeSet<String>| phones.iter().map(|phone| (phone.clone(), None)).collect();
        Self { records: contents.iter().map(|(ccid, phones)| (ccid.clone(), record(phones))).collect() }
    }

    fn customers_with(&self, e164: &str) -> usize {
        self.records.values().filter(|phones| phones.contains_key(e164)).count()
    }

    fn answer(&mut self, request: &Request) -> Answer {
        let e164 = format!("+1{}", request.phone);
        let on_customers = self.customers_with(&e164);
        let Some(record) = self.records.get_mut(&request.ccid) else {
            return Answer::refused("customer_not_found");
        };
        match request.action {
            Action::Read => Answer::Record(record.keys().cloned().collect()),
            Action::Remove if record.remove(&e164).is_some() => Answer::Done,
            Action::Remove => Answer::refused("phone_not_found"),
            Action::Add => match record.get(&e164) {
                Some(Some(earlier)) if earlier.idempotency_key == request.idempotency_key => {
                    if earlier.source == request.source {
                        Answer::Replayed
                    } else {
                        Answer::refused("idempotency_key_reused")
                    }
                }
                Some(_) => Answer::refused("phone_already_added"),
                None if record.len() >= LIMIT => Answer::refused("customer_phone_limit_reached"),
                None if on_customers >= LIMIT => Answer::refused("phone_customer_limit_reached"),
                None => {
                    record.insert(e164, request.idempotency_key.is_some().then(|| request.clone()));
                    Answer::Done
                }
            },
        }
    }
}

/// One step of a history.
#[derive(Debug, Clone)]
enum Step {
    /// The first: what the table held.
    Began(Contents),
    /// A call; what was asked stands beside its answer.
    Asked,
    Answered(Request, Answer),
}

struct Contract;

impl Specification for Contract {
    type State = Option<Table>;
    type Operation = Step;

    fn init() -> Self::State {
        None
    }

    fn apply(step: &Step, state: &Self::State) -> (bool, Self::State) {
        match (step, state) {
            (Step::Began(contents), None) => (true, Some(Table::of(contents))),
            // It wrote nothing and says nothing.
            (Step::Answered(_, Answer::TryAgain), Some(_)) => (true, state.clone()),
            (Step::Answered(request, answer), Some(table)) => {
                let mut table = table.clone();
                let right = table.answer(request);
                (*answer == Answer::Unknown || *answer == right, Some(table))
            }
            _ => (false, None),
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
fn is_linearizable(initial: &Contents, events: &[Event]) -> Option<bool> {
    let mut steps = vec![Entry::Call(Step::Began(initial.clone())), Entry::Response(Step::Began(initial.clone()))];
    let mut steps: Vec<_> = steps.drain(..).map(|step| (0, step)).collect();
    let mut open = BTreeMap::new();
    let mut unknown = Vec::new();
    for event in events {
        match event {
            Event::Asked(id, request) => {
                open.insert(id, request.clone());
                steps.push((id + 1, Entry::Call(Step::Asked)));
            }
            Event::Answered(id, answer) => {
                let answered = Step::Answered(open.remove(id).unwrap(), answer.clone());
                let kept = if *answer == Answer::Unknown { &mut unknown } else { &mut steps };
                kept.push((id + 1, Entry::Response(answered)));
            }
        }
    }
    assert!(open.is_empty(), "never answered: {open:?}");
    // At any time since, even after everything else, which is never.
    steps.append(&mut unknown);
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || tell.send(WGLChecker::<Contract>::is_linearizable(History::from_actions(steps))));
    told.recv_timeout(DECIDED_WITHIN).ok()
}

/// The few records and numbers that one history is about: one record close to its limit, one number close to its own.
struct Keys {
    ccids: Vec<String>,
    phones: Vec<String>,
}

impl Keys {
    async fn make(world: &World, history: u64) -> Self {
        let phone = |n: u64| format!("{:010}", 2_000_000_000 + history * 1_000 + n);
        let ccid = |n: u64| format!("H{history}-{n}");
        // The first record has 48 numbers that nobody asks for; the first number is on 48 records of nobody's.
        let others: Vec<_> = (100..148).map(phone).collect();
        world.customer(&ccid(0), &others.iter().map(String::as_str).collect::<Vec<_>>()).await;
        for n in 1..3 {
            world.customer(&ccid(n), &[]).await;
        }
        for n in 100..148 {
            world.customer(&ccid(n), &[&phone(0)]).await;
        }
        Self { ccids: (0..4).map(ccid).collect(), phones: (0..4).map(phone).collect() }
    }

    fn draw(&self, random: &mut fastrand::Rng) -> Request {
        // The fourth customer does not exist.
        let ccid = &self.ccids[if random.u32(..30) == 0 { 3 } else { random.usize(..3) }];
        let phone = &self.phones[random.usize(..4)];
        let mut request = match random.u32(..10) {
            0..5 => Request::add(ccid, phone),
            5..8 => Request::remove(ccid, phone),
            _ => Request::read(ccid),
        };
        if request.action == Action::Add && random.bool() {
            request = request.under(["one", "two"][random.usize(..2)]);
            request.source = ["web", "shop"][random.usize(..2)];
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
async fn history(
    world: &World,
    environments: &mut [Environment],
    seed: u64,
    faults: &[Fault],
) -> (Contents, Vec<Event>) {
    let keys = Keys::make(world, seed).await;
    let initial = keys.contents(world).await;
    world.proxy.mix(seed, FAULTS_PERCENT, faults.to_vec());
    let events = Arc::new(Mutex::new(Vec::new()));
    let asked = Mutex::new(0..OPERATIONS);
    let workers = environments.iter_mut().zip(0..).map(|(environment, worker)| {
        let (keys, events, asked) = (&keys, Arc::clone(&events), &asked);
        async move {
            let mut random = fastrand::Rng::with_seed(seed * ENVIRONMENTS + worker);
            loop {
                let Some(id) = asked.lock().unwrap().next() else { break };
                let request = keys.draw(&mut random);
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
    let contents = keys.contents(world).await;
    for (ccid, id) in keys.ccids.iter().zip(OPERATIONS..).take(3) {
        events.push(Event::Asked(id, Request::read(ccid)));
        events.push(Event::Answered(id, Answer::Record(contents[ccid].clone())));
    }
    (initial, events)
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
    let mut answers = BTreeMap::new();
    for seed in seeds.clone() {
        let (initial, events) = history(&world, &mut environments, seed, &faults()).await;
        for event in &events {
            if let Event::Answered(_, answer) = event {
                *answers.entry(told(answer)).or_default() += 1;
            }
        }
        let shown = shown(&events);
        let decided = tokio::task::spawn_blocking(move || is_linearizable(&initial, &events)).await.unwrap();
        assert_eq!(decided, Some(true), "seed {seed}:\n{shown}");
    }
    println!("seeds {seeds:?}: linearizable");
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
    let initial = Contents::from([("a".to_owned(), BTreeSet::new())]);
    let there = || Answer::Record(["+12000000000".to_owned()].into());
    let nothing = || Answer::Record(BTreeSet::new());
    let add = || Request::add("a", "2000000000");
    let one_after_another = |done: &[(Request, Answer)]| {
        let events = done.iter().cloned().enumerate();
        let events: Vec<_> =
            events.flat_map(|(id, (asked, told))| [Event::Asked(id, asked), Event::Answered(id, told)]).collect();
        is_linearizable(&initial, &events)
    };
    let read = || Request::read("a");
    assert_eq!(one_after_another(&[(add(), Answer::Done), (read(), there())]), Some(true));
    let lost = [(add(), Answer::Done), (read(), nothing())];
    assert_eq!(one_after_another(&lost), Some(false));
    let doubled = [(add(), Answer::Done), (add(), Answer::Done)];
    assert_eq!(one_after_another(&doubled), Some(false));
    let written_all_the_same = [(add(), Answer::TryAgain), (read(), there())];
    assert_eq!(one_after_another(&written_all_the_same), Some(false));
    let unknown_and_there = [(add(), Answer::Unknown), (read(), nothing()), (read(), there())];
    assert_eq!(one_after_another(&unknown_and_there), Some(true), "it may arrive late");
    let come_back = [
        (add(), Answer::Done),
        (Request::remove("a", "2000000000"), Answer::Done),
        (read(), nothing()),
        (read(), there()),
    ];
    assert_eq!(one_after_another(&come_back), Some(false));
}
