//! The platform: execution environments with the function's real handler, and the gateway before them.

use std::pin::pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cdm_lambda::handler::Handler;
use cdm_lambda::http::response::Response;
use cdm_lambda::sources::Sources;
use lambda_http::Context;
use lambda_http::lambda_runtime::LambdaEvent;
use serde_json::value::RawValue;
use testkit::TIMEOUT;
use tokio::time::{sleep, timeout};

use super::environment::{Environment, EnvironmentSources, store};
use super::freeze::{Gate, Gated};
use crate::check::Facts;
use crate::network::Caller;
use crate::plan::draw::{Draw, Purpose};
use crate::plan::{Accident, Request, gateway_event, names};
use crate::world::{Simulation, log};

/// The longest time for which the function retries contention, and the attempt that may begin at its end.
const CONTENTION_AND_ATTEMPT: Duration = Duration::from_millis(3000 + 1500);

/// The environments that are alive, and the deployment that new ones belong to.
#[derive(Debug)]
pub struct Platform {
    alive: Vec<Arc<Environment>>,
    idle: Vec<Arc<Environment>>,
    born: u32,
    deployment: u32,
    key_cache_seconds: u64,
    /// The index of the deployment's table.
    pub table: usize,
}

impl Platform {
    /// A platform whose first deployment has this setting.
    pub fn new(key_cache_seconds: u64) -> Self {
        Self { alive: Vec::new(), idle: Vec::new(), born: 0, deployment: 0, key_cache_seconds, table: 0 }
    }

    /// A new deployment replaces the environments as soon as they are idle.
    pub fn deploy(&mut self, key_cache_seconds: Option<u64>, table: Option<usize>) {
        self.deployment += 1;
        self.key_cache_seconds = key_cache_seconds.unwrap_or(self.key_cache_seconds);
        self.table = table.unwrap_or(self.table);
        self.recycle();
    }

    /// Ends the idle environments.
    pub fn recycle(&mut self) {
        for idle in std::mem::take(&mut self.idle) {
            self.end(idle.id);
        }
    }

    fn end(&mut self, id: u32) {
        self.alive.retain(|environment| environment.id != id);
        self.idle.retain(|environment| environment.id != id);
    }

    /// An environment that is alive. `index` may exceed their number.
    pub fn environment(&self, index: u32) -> Option<Arc<Environment>> {
        let count = u32::try_from(self.alive.len()).unwrap_or_default();
        self.alive.get(usize::try_from(index.checked_rem(count)?).ok()?).cloned()
    }
}

/// A run in which the platform is up.
#[derive(Debug)]
pub struct Run {
    /// The state that everything shares.
    pub sim: Arc<Simulation>,
    platform: Mutex<Platform>,
}

impl Run {
    /// A run whose first deployment has the plan's settings.
    pub fn new(sim: Arc<Simulation>) -> Self {
        let platform = Mutex::new(Platform::new(sim.plan.key_cache_seconds));
        Self { sim, platform }
    }

    /// The environments.
    pub fn platform(&self) -> MutexGuard<'_, Platform> {
        self.platform.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives an environment no more requests, as after its credentials expired.
    pub fn retire(&self, id: u32) {
        self.platform().end(id);
    }

    /// The end of a run: every environment ends, and releases the run.
    pub fn end(&self) {
        let mut platform = self.platform();
        platform.alive.clear();
        platform.idle.clear();
        let elapsed = self.sim.elapsed_millis();
        self.sim.totals(|totals| totals.virtual_millis = elapsed);
    }
}

/// What a client hears from the gateway.
#[derive(Debug)]
pub enum Heard {
    /// The function's response.
    Response(Response),
    /// The gateway has no environment for the request. It was not executed.
    TooMany,
    /// The gateway failed. The outcome is unknown.
    GatewayFailed,
}

/// Invokes the function for one try of a request.
pub async fn invoke(run: Arc<Run>, request: Request, attempt: u32) -> Heard {
    let fault =
        run.sim.plan.invocation_faults.iter().find(|fault| (fault.request, fault.attempt) == (request.id, attempt));
    let (after, accident) =
        fault.map_or((Duration::ZERO, None), |fault| (Duration::from_millis(fault.after), Some(fault.fault)));
    let invocation = tokio::spawn(async move {
        let sim = Arc::clone(&run.sim);
        let invocation = invoke_environment(run, request, attempt, after, accident);
        sim.catch_panic(format!("r{}.{attempt}", request.id), invocation).await.unwrap_or(Heard::GatewayFailed)
    });
    if accident == Some(Accident::GatewayGivesUp) {
        return match timeout(after, invocation).await {
            Ok(Ok(heard)) => heard,
            _ => Heard::GatewayFailed,
        };
    }
    invocation.await.unwrap_or(Heard::GatewayFailed)
}

/// Takes an idle environment, or starts one.
async fn environment(run: &Run, request: &Request, attempt: u32) -> Option<Arc<Environment>> {
    let sim = &run.sim;
    let (id, deployment, key_cache_seconds, table) = {
        let mut platform = run.platform();
        if let Some(idle) = platform.idle.pop() {
            return Some(idle);
        }
        if platform.alive.len() >= usize::try_from(sim.plan.environments).unwrap_or(usize::MAX) {
            return None;
        }
        platform.born += 1;
        (platform.born, platform.deployment, platform.key_cache_seconds, platform.table)
    };
    sim.totals(|totals| totals.environments += 1);
    sim.trace(format_args!("env{id}"), format_args!("starts, deployment {deployment}, {}", names::table(table)));
    let caller = Arc::new(Caller::default());
    let clock = Arc::new(EnvironmentSources::new(sim, &caller));
    let store = store(sim, &caller, &clock, table);
    let handler = Handler::new(store, Duration::from_secs(key_cache_seconds));
    let key_cache_millis = key_cache_seconds * 1000;
    let environment = Arc::new(Environment { id, deployment, handler, caller, clock, key_cache_millis, table });
    run.platform().alive.push(Arc::clone(&environment));
    let mut draw = Draw::new(sim.plan.seed, Purpose::Start, &[request.id.into(), attempt.into()]);
    sleep(Duration::from_millis(draw.range(20, 120))).await;
    Some(environment)
}

async fn invoke_environment(
    run: Arc<Run>,
    request: Request,
    attempt: u32,
    after: Duration,
    accident: Option<Accident>,
) -> Heard {
    let Some(environment) = environment(&run, &request, attempt).await else {
        run.sim.trace(format_args!("r{}.{attempt}", request.id), format_args!("429: no environment is free"));
        return Heard::TooMany;
    };
    let heard = handle(&run.sim, &environment, &request, attempt, after, accident).await;
    let mut platform = run.platform();
    if matches!(heard, Heard::Response(_)) && environment.deployment == platform.deployment {
        if platform.alive.iter().any(|alive| alive.id == environment.id) {
            platform.idle.push(environment);
        }
    } else {
        platform.end(environment.id);
    }
    heard
}

async fn handle(
    sim: &Arc<Simulation>,
    environment: &Arc<Environment>,
    request: &Request,
    attempt: u32,
    after: Duration,
    accident: Option<Accident>,
) -> Heard {
    let began = sim.elapsed_millis();
    environment.caller.begin(request.id, attempt);
    let offset = environment.clock.offset.load(Ordering::Relaxed);
    let seq =
        sim.trace(format_args!("r{}.{attempt}", request.id), format_args!("on env{}: {request:?}", environment.id));
    let facts = Facts {
        began_millis: began,
        wall_millis: Sources::now(&*environment.clock).millis(),
        key_cache_millis: environment.key_cache_millis,
        clock_went_back: Arc::clone(&environment.clock.backwards),
    };
    sim.check().began(*request, attempt, seq, environment.table, Some(facts));
    let mut context = Context::default();
    context.request_id = format!("lambda-{}-{attempt}", request.id);
    context.deadline = log::wall_clock(began + u64::try_from(TIMEOUT.as_millis()).unwrap_or_default(), 0).millis();
    let event = RawValue::from_string(gateway_event::of(sim.plan.seed, request, attempt));
    let event = event.unwrap_or_else(|error| unreachable!("an event is JSON: {error}"));
    let handling = environment.handler.handle(LambdaEvent::new(event, context));
    let gate = Arc::new(Gate::default());
    let handling =
        Gated { environment: Arc::clone(environment), gate: Arc::clone(&gate), handling: Box::pin(handling) };
    let handling = pin!(handling);
    let mut was_frozen = false;
    let ended = match accident {
        Some(Accident::Killed) => timeout(after, handling).await.ok(),
        Some(Accident::Frozen(millis)) => {
            was_frozen = true;
            let gate = Arc::clone(&gate);
            tokio::spawn(async move {
                sleep(after).await;
                gate.close();
                sleep(Duration::from_millis(millis)).await;
                gate.open();
            });
            timeout(TIMEOUT, handling).await.ok()
        }
        _ => timeout(TIMEOUT, handling).await.ok(),
    };
    let held = sim.elapsed_millis() - began;
    let (calls, is_faulty) = environment.caller.calls();
    sim.totals(|totals| {
        totals.invocations += 1;
        totals.environment_millis += held;
        totals.calls += u64::from(calls);
    });
    sim.check().spent(request.id, attempt, calls, held);
    let response = match ended {
        Some(Ok(response)) => response,
        Some(Err(_)) => unreachable!("every event is an HTTP request"),
        None => {
            let what = if accident == Some(Accident::Killed) { "killed" } else { "timed out" };
            sim.trace(format_args!("r{}.{attempt}", request.id), format_args!("env{} {what}", environment.id));
            sim.check().unknown(request.id, attempt);
            sim.totals(|totals| totals.response(what));
            // A clock that is behind shows a later deadline than there is.
            let is_excused = was_frozen || accident == Some(Accident::Killed) || offset < -400;
            if !is_excused {
                sim.violation(format_args!("r{}.{attempt} had no response before its deadline", request.id));
            }
            return Heard::GatewayFailed;
        }
    };
    let code = response.code.unwrap_or("ok");
    let counted = log::take_round_trips();
    if counted != Some(calls) {
        sim.violation(format_args!("r{}.{attempt} made {calls} calls and logged {counted:?}", request.id));
    }
    let seq = sim.trace(
        format_args!("r{}.{attempt}", request.id),
        format_args!("{} {code} {:?} {}", response.status_code, response.headers.get(2), response.body),
    );
    sim.totals(|totals| totals.response(code));
    let found = sim.check().ended(request.id, attempt, seq, &response);
    for violation in found {
        sim.violation(format_args!("r{}.{attempt}: {violation}", request.id));
    }
    let contention_only = code == "try_again" && !is_faulty && calls > 0 && !was_frozen;
    if contention_only && Duration::from_millis(held) > CONTENTION_AND_ATTEMPT {
        sim.violation(format_args!("r{}.{attempt} retried contention for {held} ms", request.id));
    }
    Heard::Response(response)
}
