//! Execution environments: the function's real handler, its client, its clock and its random numbers.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_dynamodb::Client;
use aws_smithy_async::time::TimeSource;
use aws_smithy_runtime_api::client::http::{SharedHttpConnector, http_client_fn};
use cdm_lambda::domain::Limits;
use cdm_lambda::handler::Handler;
use cdm_lambda::sources::Sources;
use cdm_lambda::store::Store;
use cdm_lambda::time::UnixMillis;

use crate::network::{Caller, SimulatedNetwork, shipped_client};
use crate::plan::draw::{Draw, Purpose};
use crate::plan::names;
use crate::world::{Simulation, log};

/// An execution environment.
#[derive(Debug)]
pub struct Environment {
    /// Its number.
    pub id: u32,
    pub(super) deployment: u32,
    pub(super) handler: Handler,
    /// Its connection to DynamoDB.
    pub caller: Arc<Caller>,
    pub(super) clock: Arc<EnvironmentSources>,
    pub(super) key_cache_millis: u64,
    pub(super) table: usize,
}

/// The clock and the random numbers of one environment.
#[derive(Debug)]
pub struct EnvironmentSources {
    sim: Arc<Simulation>,
    caller: Arc<Caller>,
    pub(super) offset: AtomicI64,
    /// By how many milliseconds the clock went backwards, in all.
    pub(super) backwards: Arc<AtomicU64>,
}

impl EnvironmentSources {
    /// Sources for this caller.
    pub fn new(sim: &Arc<Simulation>, caller: &Arc<Caller>) -> Self {
        Self { sim: Arc::clone(sim), caller: Arc::clone(caller), offset: AtomicI64::new(0), backwards: Arc::default() }
    }

    /// Moves the clock.
    pub fn jump(&self, by: i64) {
        self.offset.fetch_add(by, Ordering::Relaxed);
        if by < 0 {
            self.backwards.fetch_add(by.unsigned_abs(), Ordering::Relaxed);
        }
    }

    fn draw(&self) -> Draw {
        Draw::new(self.sim.plan.seed, Purpose::Function, &self.caller.next_draw())
    }
}

impl Sources for EnvironmentSources {
    fn now(&self) -> UnixMillis {
        log::wall_clock(self.sim.elapsed_millis(), self.offset.load(Ordering::Relaxed))
    }

    fn token(&self) -> Option<u128> {
        let mut draw = self.draw();
        Some(u128::from(draw.bits()) << 64 | u128::from(draw.bits()))
    }

    fn fraction(&self) -> f64 {
        self.draw().fraction()
    }
}

/// The function's own client with a simulated network.
pub fn client(sim: &Arc<Simulation>, caller: &Arc<Caller>, sources: &Arc<EnvironmentSources>) -> Client {
    let network = SharedHttpConnector::new(SimulatedNetwork { sim: Arc::clone(sim), caller: Arc::clone(caller) });
    let config = shipped_client().config().to_builder();
    let config = config.http_client(http_client_fn(move |_, _| network.clone()));
    Client::from_conf(config.time_source(SharedSources(Arc::clone(sources))).build())
}

#[derive(Debug)]
struct SharedSources(Arc<EnvironmentSources>);

impl TimeSource for SharedSources {
    fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(Sources::now(&*self.0).millis())
    }
}

/// The store of a caller.
pub fn store(sim: &Arc<Simulation>, caller: &Arc<Caller>, sources: &Arc<EnvironmentSources>, table: usize) -> Store {
    let (phones_per_customer, customers_per_phone) = sim.plan.given_limits.unwrap_or(sim.plan.limits);
    let limits = Limits { phones_per_customer, customers_per_phone };
    let sources_of_store: Arc<dyn Sources> = Arc::<EnvironmentSources>::clone(sources);
    Store::new(client(sim, caller, sources), names::table(table), limits).with_sources(sources_of_store)
}

impl Environment {
    /// Moves its clock.
    pub fn jump(&self, by: i64) {
        self.clock.jump(by);
    }
}
