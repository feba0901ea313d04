//! A thousand adds to one record at once, in virtual time, over a model of how DynamoDB refuses transactions that
//! overlap. By the shipped code, and by other ways to pause between attempts, so that its way can be chosen by figures.
//!
//! The model's times are assumptions: AWS publishes none. What is compared is the ways of pausing, under two readings of
//! "conflict", slow and fast.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{BehaviorVersion, Config, Region};
use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_types::body::SdkBody;
use cdm_lambda::domain::{Ccid, ClientId};
use cdm_lambda::error::Error;
use cdm_lambda::store::{AddPhone, Budget, Store, Tally};
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::world::{channel, is_full};

const LIMIT: usize = 50;
/// The invocation's time, less the margin to answer in.
const BUDGET: Duration = Duration::from_millis(14_500);
/// A thousand requests do not begin in the same millisecond.
const START: Duration = Duration::from_millis(50);
/// With less, no attempt is begun.
const SHORTEST_ATTEMPT: Duration = Duration::from_millis(100);

/// Who is refused when two transactions meet on an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Conflict {
    /// The one that came later.
    Later,
    /// Both.
    Both,
}

/// One record, in a DynamoDB that takes its time.
#[derive(Debug)]
struct Dynamo {
    conflict: Conflict,
    /// For how long a transaction holds its items.
    holds: Duration,
    state: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    phones: BTreeSet<String>,
    /// The transaction that holds the record, unless another has broken it.
    holder: Option<u64>,
    transactions: u64,
    attempts: u64,
    conflicts: u64,
    units: u64,
    wasted: u64,
    filled_at: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Added,
    Full,
    Conflict,
}

impl Dynamo {
    fn new(conflict: Conflict, holds: u64) -> Self {
        Self { conflict, holds: Duration::from_millis(holds), state: Mutex::default() }
    }

    /// One attempt, from when it is sent until its answer is there.
    async fn add(&self, phone: &str) -> Outcome {
        let way = || sleep(Duration::from_millis(fastrand::u64(1..=3)));
        way().await;
        let me = {
            let mut held = self.state.lock().unwrap();
            held.transactions += 1;
            let me = held.transactions;
            let units = units(held.phones.len());
            held.attempts += 1;
            held.units += units;
            if held.holder.is_some() {
                held.conflicts += 1;
                held.wasted += units;
                if self.conflict == Conflict::Both {
                    held.holder = None;
                }
                None
            } else if held.phones.len() >= LIMIT {
                // Refused at the first look: it holds nothing.
                held.wasted += units;
                Some(Err(()))
            } else {
                held.holder = Some(me);
                Some(Ok(me))
            }
        };
        let outcome = match me {
            None => Outcome::Conflict,
            Some(Err(())) => Outcome::Full,
            Some(Ok(me)) => {
                sleep(self.holds).await;
                let mut held = self.state.lock().unwrap();
                if held.holder == Some(me) {
                    held.holder = None;
                    held.phones.insert(phone.to_owned());
                    if held.phones.len() == LIMIT {
                        held.filled_at = Some(Instant::now());
                    }
                    Outcome::Added
                } else {
                    held.conflicts += 1;
                    held.wasted += units(held.phones.len());
                    Outcome::Conflict
                }
            }
        };
        way().await;
        outcome
    }
}

/// What an attempt costs, refused or not: two for each kilobyte of the record, two for the counter.
fn units(phones: usize) -> u64 {
    2 * (200 + 110 * phones as u64).div_ceil(1024) + 2
}

/// How long to pause before a retry.
#[derive(Clone, Copy)]
enum Pause {
    None,
    Fixed(u64),
    /// Exponential without chance.
    Exponential(u64, u64),
    /// A random part of the exponential.
    FullJitter(u64, u64),
    /// Half of it, and a random part of the other half.
    EqualJitter(u64, u64),
    /// What ships, in `store::attempts`, through the SDK.
    Shipped,
}

impl fmt::Display for Pause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Fixed(pause) => write!(f, "fixed {pause}"),
            Self::Exponential(first, longest) => write!(f, "exponential {first}..{longest}"),
            Self::FullJitter(first, longest) => write!(f, "full jitter {first}..{longest}"),
            Self::EqualJitter(first, longest) => write!(f, "equal jitter {first}..{longest}"),
            Self::Shipped => f.write_str("as shipped"),
        }
    }
}

impl Pause {
    fn before(self, retry: u32) -> Duration {
        let exponential = |first: u64, longest: u64| Duration::from_millis((first << retry.min(10)).min(longest));
        match self {
            Self::None => Duration::ZERO,
            Self::Fixed(pause) => Duration::from_millis(pause),
            Self::Exponential(first, longest) => exponential(first, longest),
            Self::FullJitter(first, longest) => exponential(first, longest).mul_f64(fastrand::f64()),
            Self::EqualJitter(first, longest) => exponential(first, longest).mul_f64(0.5 + fastrand::f64() / 2.0),
            Self::Shipped => unreachable!("it pauses by itself"),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Told {
    Added,
    Full,
    TryAgain,
}

struct Storm {
    told: BTreeMap<Told, u64>,
    /// Attempts of each request, ascending.
    rounds: Vec<u32>,
    conflicts: u64,
    units: u64,
    wasted: u64,
    filled: Option<Duration>,
    over: Duration,
}

async fn storm(requests: usize, pause: Pause, conflict: Conflict, holds: u64) -> Storm {
    let dynamo = Arc::new(Dynamo::new(conflict, holds));
    let store = Store::new(client(&dynamo), "phones".to_owned());
    let began = Instant::now();
    let asked = (0..requests).map(|n| {
        let (dynamo, store) = (Arc::clone(&dynamo), store.clone());
        async move {
            sleep(START.mul_f64(fastrand::f64())).await;
            let phone = format!("{:010}", 2_000_000_000 + n);
            if let Pause::Shipped = pause { shipped(&store, &phone).await } else { ask(&dynamo, &phone, pause).await }
        }
    });
    let ended = join_all(asked).await;
    let over = began.elapsed();
    let mut told = BTreeMap::new();
    let mut rounds: Vec<_> = ended.iter().map(|(_, rounds)| *rounds).collect();
    rounds.sort_unstable();
    for (end, _) in ended {
        *told.entry(end).or_default() += 1;
    }
    let held = dynamo.state.lock().unwrap();
    let added = told.get(&Told::Added).copied().unwrap_or(0);
    assert_eq!(added, held.phones.len() as u64, "as many were answered 200 as are there");
    assert!(added <= LIMIT as u64);
    assert!(over <= BUDGET + START, "answered after {over:?}");
    let filled = held.filled_at.map(|at| at - began);
    Storm { told, rounds, conflicts: held.conflicts, units: held.units, wasted: held.wasted, filled, over }
}

async fn ask(dynamo: &Dynamo, phone: &str, pause: Pause) -> (Told, u32) {
    let deadline = Instant::now() + BUDGET;
    for retry in 0.. {
        match dynamo.add(phone).await {
            Outcome::Added => return (Told::Added, retry + 1),
            Outcome::Full => return (Told::Full, retry + 1),
            Outcome::Conflict => {}
        }
        let pause = pause.before(retry);
        if Instant::now() + pause + SHORTEST_ATTEMPT > deadline {
            return (Told::TryAgain, retry + 1);
        }
        sleep(pause).await;
    }
    unreachable!("time is limited")
}

async fn shipped(store: &Store, phone: &str) -> (Told, u32) {
    let add = AddPhone {
        client_id: ClientId::parse("clinic").unwrap(),
        ccid: Ccid::parse("BAK-1").unwrap(),
        channel: channel(phone),
    };
    let mut tally = Tally::default();
    let told = match store.add_phone(&add, Budget::of(BUDGET), &mut tally).await {
        Ok(_) => Told::Added,
        Err(Error::CustomerPhoneLimitReached) => Told::Full,
        Err(Error::TryAgain(_)) => Told::TryAgain,
        Err(error) => panic!("{error:?}"),
    };
    (told, tally.round_trips)
}

/// The SDK's client, with the model in the place of the network.
fn client(dynamo: &Arc<Dynamo>) -> Client {
    #[derive(Debug, Clone)]
    struct Wire(Arc<Dynamo>);

    impl HttpConnector for Wire {
        fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
            let dynamo = Arc::clone(&self.0);
            HttpConnectorFuture::new(async move {
                let body: Value = serde_json::from_slice(request.body().bytes().unwrap()).unwrap();
                let e164 = body["TransactItems"][0]["Update"]["ExpressionAttributeNames"]["#e164"].as_str().unwrap();
                let (status, answer) = match dynamo.add(e164).await {
                    Outcome::Added => (200, json!({})),
                    Outcome::Conflict => cancelled(&json!({ "Code": "TransactionConflict" })),
                    Outcome::Full => cancelled(&json!({
                        "Code": "ConditionalCheckFailed",
                        "Item": { "phone_count": { "N": "50" }, "notification_channels": { "M": {} } },
                    })),
                };
                Ok(HttpResponse::new(status.try_into().unwrap(), SdkBody::from(answer.to_string())))
            })
        }
    }

    fn cancelled(record: &Value) -> (u16, Value) {
        let code = "com.amazonaws.dynamodb.v20120810#TransactionCanceledException";
        (400, json!({ "__type": code, "CancellationReasons": [record, { "Code": "None" }] }))
    }

    let wire = SharedHttpConnector::new(Wire(Arc::clone(dynamo)));
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(cdm::embedded::any_credentials())
        .http_client(http_client_fn(move |_, _| wire.clone()))
        .retry_config(RetryConfig::disabled())
        .timeout_config(TimeoutConfig::disabled())
        .build();
    Client::from_conf(config)
}

/// In virtual time, on one thread, from one seed: the same every time.
fn run(requests: usize, pause: Pause, conflict: Conflict, holds: u64, seed: u64) -> Storm {
    fastrand::seed(seed);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(storm(requests, pause, conflict, holds))
}

#[test]
fn a_storm_of_adds() {
    let requests = if is_full() { 1_000 } else { 100 };
    let ways = [
        Pause::Shipped,
        Pause::None,
        Pause::Fixed(100),
        Pause::Exponential(25, 1_000),
        Pause::EqualJitter(25, 1_000),
        Pause::FullJitter(25, 1_000),
        Pause::FullJitter(25, 2_000),
        Pause::FullJitter(25, 4_000),
        Pause::FullJitter(25, 8_000),
        Pause::FullJitter(100, 4_000),
    ];
    println!("{requests} adds to one record at once; times in ms; seed 1");
    for (conflict, holds) in [(Conflict::Later, 8), (Conflict::Later, 30), (Conflict::Both, 8), (Conflict::Both, 30)] {
        println!("\n{conflict:?} refused, items held for {holds} ms");
        println!(
            "| pauses | 200 | 409 | try_again | rounds: mean, median, most | conflicts | units | wasted | full after | over after |"
        );
        println!("|---|---|---|---|---|---|---|---|---|---|");
        for pause in ways {
            if !is_full() && !matches!(pause, Pause::Shipped | Pause::Fixed(100)) {
                continue;
            }
            let storm = run(requests, pause, conflict, holds, 1);
            let told = |told| storm.told.get(&told).copied().unwrap_or(0);
            let rounds = &storm.rounds;
            println!(
                "| {pause} | {} | {} | {} | {:.1}, {}, {} | {} | {} | {} | {} | {} |",
                told(Told::Added),
                told(Told::Full),
                told(Told::TryAgain),
                f64::from(rounds.iter().sum::<u32>()) / f64::from(u32::try_from(rounds.len()).unwrap()),
                rounds[rounds.len() / 2],
                rounds[rounds.len() - 1],
                storm.conflicts,
                storm.units,
                storm.wasted,
                storm.filled.map_or_else(|| "never".to_owned(), |filled| filled.as_millis().to_string()),
                storm.over.as_millis(),
            );
            if let (Pause::Shipped, Conflict::Later) = (pause, conflict) {
                assert_eq!((told(Told::Added), told(Told::TryAgain)), (50, 0), "everyone is told for certain, in time");
            }
        }
    }
}
