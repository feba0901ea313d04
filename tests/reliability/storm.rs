//! A thousand adds to one record at once, in virtual time, over a model of how DynamoDB refuses transactions that
//! overlap. By the shipped code, and by other ways to retry, so that its way can be chosen by figures: how many callers are
//! served, how many write units are wasted, and for how many seconds the requests hold an execution environment.
//!
//! A caller that is answered `try_again` waits for as long as `Retry-After` says and repeats the request.
//!
//! The model's times are assumptions: AWS publishes none. What is compared is the ways of retrying, under two readings of
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
use cdm_lambda::domain::{AddPhone, Ccid, ClientId, Limits};
use cdm_lambda::store::StoreError;
use cdm_lambda::store::{CallContext, Store};
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::world::{channel, is_full};

const LIMIT: usize = 50;
/// The invocation's time, less the margin to answer in.
const BUDGET: Duration = Duration::from_millis(14_500);
/// For how long the shipped code retries contention.
const CONTENTION: Duration = Duration::from_millis(3_000);
/// The longest wait that `Retry-After` asks for, in milliseconds; the shortest is a second.
const LONGEST_WAIT: u64 = 5_000;
/// How often a caller sends its request at most.
const MOST_REQUESTS: u32 = 10;
/// A thousand requests do not begin in the same millisecond.
const START: Duration = Duration::from_millis(50);
/// The longest that an attempt of the model takes.
const SLOWEST_ATTEMPT: Duration = Duration::from_millis(40);
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

/// How requests retry.
#[derive(Clone, Copy)]
struct Way {
    pause: Pause,
    /// For how long contention is retried.
    contention: Duration,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, for {} s", self.pause, self.contention.as_secs_f64())
    }
}

struct Storm {
    /// What the first request of each caller was answered.
    told: BTreeMap<Told, u64>,
    /// Attempts of each first request, ascending.
    rounds: Vec<u32>,
    /// For how long all first requests held an environment.
    first: Duration,
    /// Callers that were answered `try_again` to the last.
    unserved: usize,
    /// Requests, repeats included.
    requests: u64,
    /// For how long all requests held an environment.
    held: Duration,
    units: u64,
    wasted: u64,
    filled: Option<Duration>,
    over: Duration,
}

/// One caller's way through the storm.
struct Caller {
    first: (Told, u32, Duration),
    requests: u64,
    held: Duration,
    told: Told,
}

async fn storm(callers: usize, way: Way, conflict: Conflict, holds: u64) -> Storm {
    let dynamo = Arc::new(Dynamo::new(conflict, holds));
    let store = Store::new(client(&dynamo), "phones".to_owned(), Limits::CONTRACT);
    let began = Instant::now();
    let asked = (0..callers).map(|n| {
        let (dynamo, store) = (Arc::clone(&dynamo), store.clone());
        async move {
            sleep(START.mul_f64(fastrand::f64())).await;
            let phone = format!("{:010}", 2_000_000_000 + n);
            let (mut first, mut held) = (None, Duration::ZERO);
            for requests in 1..=MOST_REQUESTS {
                let began = Instant::now();
                let (told, rounds) = match way.pause {
                    Pause::Shipped => shipped(&store, &phone).await,
                    _ => ask(&dynamo, &phone, way).await,
                };
                let took = began.elapsed();
                // The contention's limit, and the attempt that it let begin.
                assert!(took <= way.contention + SLOWEST_ATTEMPT, "answered after {took:?}");
                held += took;
                let first = *first.get_or_insert((told, rounds, took));
                if told != Told::TryAgain || requests == MOST_REQUESTS {
                    return Caller { first, requests: requests.into(), held, told };
                }
                sleep(Duration::from_millis(fastrand::u64(1..=LONGEST_WAIT / 1000) * 1000)).await;
            }
            unreachable!("the last repeat returns")
        }
    });
    let ended = join_all(asked).await;
    let over = began.elapsed();
    let mut told = BTreeMap::new();
    let mut rounds: Vec<_> = ended.iter().map(|caller| caller.first.1).collect();
    rounds.sort_unstable();
    for caller in &ended {
        *told.entry(caller.first.0).or_default() += 1;
    }
    let table = dynamo.state.lock().unwrap();
    let added = ended.iter().filter(|caller| caller.told == Told::Added).count();
    assert_eq!(added, table.phones.len(), "as many were answered 200 as are there");
    assert!(added <= LIMIT);
    Storm {
        told,
        rounds,
        first: ended.iter().map(|caller| caller.first.2).sum(),
        unserved: ended.iter().filter(|caller| caller.told == Told::TryAgain).count(),
        requests: ended.iter().map(|caller| caller.requests).sum(),
        held: ended.iter().map(|caller| caller.held).sum(),
        units: table.units,
        wasted: table.wasted,
        filled: table.filled_at.map(|at| at - began),
        over,
    }
}

async fn ask(dynamo: &Dynamo, phone: &str, way: Way) -> (Told, u32) {
    let deadline = Instant::now() + way.contention;
    for retry in 0.. {
        match dynamo.add(phone).await {
            Outcome::Added => return (Told::Added, retry + 1),
            Outcome::Full => return (Told::Full, retry + 1),
            Outcome::Conflict => {}
        }
        let pause = way.pause.before(retry);
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
    let mut context = CallContext::within(BUDGET);
    let told = match store.add_phone(&add, &mut context).await {
        Ok(_) => Told::Added,
        Err(StoreError::CustomerPhoneLimitReached) => Told::Full,
        Err(StoreError::TryAgain(_)) => Told::TryAgain,
        Err(error) => panic!("{error:?}"),
    };
    (told, context.stats.round_trips)
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
        .credentials_provider(testkit::embedded::any_credentials())
        .http_client(http_client_fn(move |_, _| wire.clone()))
        .retry_config(RetryConfig::disabled())
        .timeout_config(TimeoutConfig::disabled())
        .build();
    Client::from_conf(config)
}

/// In virtual time, on one thread, from one seed: the same every time.
fn run(callers: usize, way: Way, conflict: Conflict, holds: u64, seed: u64) -> Storm {
    fastrand::seed(seed);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(storm(callers, way, conflict, holds))
}

#[test]
fn a_storm_of_adds() {
    let callers = if is_full() { 1_000 } else { 100 };
    let shipped = Way { pause: Pause::Shipped, contention: CONTENTION };
    let ways = [
        Pause::None,
        Pause::Fixed(100),
        Pause::Exponential(25, 1_000),
        Pause::EqualJitter(25, 1_000),
        Pause::FullJitter(25, 500),
        Pause::FullJitter(25, 1_000),
        Pause::FullJitter(25, 2_000),
        Pause::FullJitter(100, 1_000),
    ];
    let mut ways = ways.map(|pause| Way { pause, contention: CONTENTION }).to_vec();
    // What retrying for as long as the invocation lasts would cost.
    ways.push(Way { pause: Pause::FullJitter(25, 4_000), contention: BUDGET });
    ways.push(Way { pause: Pause::FullJitter(25, 1_000), contention: Duration::from_secs(1) });
    if !is_full() {
        ways.clear();
    }
    ways.insert(0, shipped);
    println!("{callers} adds to one record at once; seed 1");
    for (conflict, holds) in [(Conflict::Later, 8), (Conflict::Later, 30), (Conflict::Both, 8), (Conflict::Both, 30)] {
        println!("\n{conflict:?} refused, items held for {holds} ms");
        println!(
            "| pauses, ms | first request: 200 | 409 | try_again | attempts: mean, most | environment-seconds | with repeats: unserved | requests | environment-seconds | units | wasted | full after, s | over after, s |"
        );
        println!("|---|---|---|---|---|---|---|---|---|---|---|---|---|");
        for way in &ways {
            // Where both are refused, nothing gets through without a pause, and the run takes minutes to say so.
            if conflict == Conflict::Both && matches!(way.pause, Pause::None) {
                continue;
            }
            let storm = run(callers, *way, conflict, holds, 1);
            let told = |told| storm.told.get(&told).copied().unwrap_or(0);
            let rounds = &storm.rounds;
            println!(
                "| {way} | {} | {} | {} | {:.1}, {} | {:.0} | {} | {} | {:.0} | {} | {} | {} | {:.1} |",
                told(Told::Added),
                told(Told::Full),
                told(Told::TryAgain),
                f64::from(rounds.iter().sum::<u32>()) / f64::from(u32::try_from(rounds.len()).unwrap()),
                rounds[rounds.len() - 1],
                storm.first.as_secs_f64(),
                storm.unserved,
                storm.requests,
                storm.held.as_secs_f64(),
                storm.units,
                storm.wasted,
                storm.filled.map_or_else(|| "never".to_owned(), |filled| format!("{:.1}", filled.as_secs_f64())),
                storm.over.as_secs_f64(),
            );
            if let Pause::Shipped = way.pause {
                if conflict == Conflict::Later {
                    let answered = (told(Told::Added), told(Told::TryAgain));
                    assert_eq!(answered, (50, 0), "each first request gets a definite response in time");
                }
                if !is_full() {
                    assert!(storm.filled.is_some(), "callers that repeat fill the record");
                    assert_eq!(storm.unserved, 0, "each caller is served in the end");
                }
            }
        }
    }
}
