//! Histories of concurrent adds, removals and reads, under all faults, with environments frozen and killed and connections
//! closed. A checker searches for an order of each history that agrees with real time and in which each response is the one
//! that the contract requires.
//!
//! The simulation runs many more histories, and replays them. These few remain for what only processes have: sockets,
//! pools of connections, SIGSTOP and SIGKILL.
//!
//! An operation with an unknown outcome has no end: it may have taken effect at any later time, or never.

mod checker;
mod contract;
mod scene;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt as _};
use testkit::runtime_api::Environment;

use crate::deployment::Deployment;
use crate::fault_table::{Consequence, FAULTS, Fault};
use crate::is_full;
use crate::proxy::ProxyStats;
use crate::request::{Outcome, Request};
use checker::{Event, is_linearizable};
use scene::Scene;

/// The number of environments, and so of concurrent requests.
const ENVIRONMENTS: u64 = 8;
/// Requests of one history. Histories share no record and no number.
const OPERATIONS: usize = 200;
/// Percent of the calls to DynamoDB that get a fault.
const FAULTS_PERCENT: u32 = 8;
/// Enough time for an attempt that times out and some retries.
const TIME: Duration = Duration::from_secs(5);

/// Runs one history and returns its events. The last events are reads of the table that bypass the function.
async fn history(
    deployment: &Deployment,
    environments: &mut [Environment],
    seed: u64,
    faults: Vec<Fault>,
) -> (Scene, Vec<Event>) {
    let scene = Scene::create(deployment, seed).await;
    deployment.proxy.random_faults(seed, FAULTS_PERCENT, faults);
    let events = Arc::new(Mutex::new(Vec::new()));
    let ids = Mutex::new(0..OPERATIONS);
    let workers = environments.iter_mut().zip(0..).map(|(environment, worker)| {
        let (scene, events, ids) = (&scene, Arc::clone(&events), &ids);
        async move {
            let mut random = fastrand::Rng::with_seed(seed * ENVIRONMENTS + worker);
            loop {
                let Some(id) = ids.lock().unwrap().next() else { break };
                let request = scene.random_request(&mut random);
                events.lock().unwrap().push(Event::Sent(id, request.clone()));
                let outcome = match random.u32(..100) {
                    0 => deployment.send_and_kill(environment, &request, TIME, random.u64(..4)).await,
                    1 => {
                        deployment.freeze_and_disconnect(environment).await;
                        deployment.send_within(environment, &request, TIME).await
                    }
                    _ => deployment.send_within(environment, &request, TIME).await,
                };
                events.lock().unwrap().push(Event::Ended(id, outcome));
            }
        }
    });
    join_all(workers).await;
    deployment.proxy.clear_faults().await;
    let mut events = Arc::try_unwrap(events).unwrap().into_inner().unwrap();
    let contents = scene.contents(deployment).await;
    for (ccid, id) in scene.ccids.iter().zip(OPERATIONS..).take(3) {
        events.push(Event::Sent(id, Request::read(ccid)));
        events.push(Event::Ended(id, Outcome::Record(contents[ccid].clone())));
    }
    (scene, events)
}

/// The results of several histories.
#[derive(Debug, Default)]
struct Summary {
    outcomes: BTreeMap<String, u64>,
    stats: ProxyStats,
}

/// Runs histories one after another in one deployment.
async fn histories(seeds: Range<u64>) -> Summary {
    let deployment = Deployment::start().await;
    let mut environments = Vec::new();
    for _ in 0..ENVIRONMENTS {
        environments.push(deployment.environment().await);
    }
    // A permanent fault is not part of a working deployment.
    let is_temporary = |consequence: &Consequence| *consequence != Consequence::Permanent;
    let faults = FAULTS.iter().filter(|(.., consequence)| is_temporary(consequence)).map(|(_, fault, _)| *fault);
    let faults: Vec<_> = faults.collect();
    let (mut outcomes, mut slowest) = (BTreeMap::new(), Duration::ZERO);
    for seed in seeds.clone() {
        let (scene, events) = history(&deployment, &mut environments, seed, faults.clone()).await;
        for event in &events {
            if let Event::Ended(_, outcome) = event {
                *outcomes.entry(name(outcome)).or_default() += 1;
            }
        }
        let printed = printed(&events);
        let begun = Instant::now();
        let decided = tokio::task::spawn_blocking(move || is_linearizable(&scene, &events)).await.unwrap();
        assert_eq!(decided, Some(true), "seed {seed}:\n{printed}");
        slowest = slowest.max(begun.elapsed());
    }
    println!("seeds {seeds:?}: linearizable, each decided within {slowest:.1?}");
    Summary { outcomes, stats: deployment.proxy.stats() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn histories_under_faults_are_linearizable() {
    let seed: u64 = std::env::var("SEED").map_or(1, |seed| seed.parse().unwrap());
    // Several deployments bound the size of each table, and others continue while one waits for a timeout.
    let (deployments, each) = if is_full() { (10, 5) } else { (3, 1) };
    let runs = (0..deployments).map(|number| histories(seed + number * each..seed + (number + 1) * each));
    let mut runs = stream::iter(runs).buffer_unordered(4);
    let mut all = Summary::default();
    while let Some(summary) = runs.next().await {
        all.stats.add(&summary.stats);
        for (outcome, count) in summary.outcomes {
            *all.outcomes.entry(outcome).or_default() += count;
        }
    }
    println!("{all:#?}");
}

fn name(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Record(_) => "record".to_owned(),
        Outcome::Refused(code) => code.clone(),
        other => format!("{other:?}"),
    }
}

fn printed(events: &[Event]) -> String {
    events.iter().fold(String::new(), |mut text, event| {
        let _ = writeln!(text, "{event:?}");
        text
    })
}
