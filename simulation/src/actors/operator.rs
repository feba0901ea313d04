//! Runs the plan's events: what operators do (issue, revoke, import, check, back up, restore), and what happens to the
//! platform.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use cdm_lambda::domain::{AddPhone, Ccid, Channel, ClientId, ConsentType, CountryCode, Digits, Phone};
use cdm_lambda::error::Error;
use cdm_lambda::store::{CallContext, Deadline, StoreError, items};
use cdm_lambda::time::UnixMillis;
use tokio::time::sleep;

use crate::actors::check;
use crate::actors::environment::{self, EnvironmentSources};
use crate::actors::first_table::key_item;
use crate::actors::platform::Run;
use crate::check::model::ModelResponse;
use crate::network::Caller;
use crate::plan::names;
use crate::plan::{ApiKey, Consent, EventKind, Operation, Request};
use crate::service::value::Value;
use crate::world::log;
use crate::world::{EPOCH, Simulation};

/// The number of the first request that an operator makes.
const FIRST: u32 = 1_000_000;

/// How long a command of an operator may take.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(15);

/// Everything of the plan that is not a request.
pub async fn events(run: Arc<Run>) {
    let sim = &run.sim;
    let events = sim.plan.events.clone();
    for (event, number) in events.into_iter().zip(FIRST..) {
        sim.wait_until(event.at).await;
        sim.trace(format_args!("event"), format_args!("{:?}", event.kind));
        let run = Arc::clone(&run);
        tokio::spawn(async move {
            let sim = Arc::clone(&run.sim);
            sim.catch_panic(format!("operator {number}"), run_event(run, event.kind, number)).await;
        });
    }
}

async fn run_event(run: Arc<Run>, kind: EventKind, number: u32) {
    let (sim, platform) = (&run.sim, || run.platform());
    match kind {
        EventKind::ClockJumps { environment, by, lasts } => {
            let Some(environment) = platform().environment(environment) else { return };
            environment.jump(by);
            sleep(Duration::from_millis(lasts)).await;
            environment.jump(-by);
        }
        EventKind::CredentialsExpire { environment, lasts } => {
            let Some(environment) = platform().environment(environment) else { return };
            environment.caller.expire_credentials();
            sleep(Duration::from_millis(lasts)).await;
            run.retire(environment.id);
        }
        EventKind::Outage { lasts } => sim.outage(sim.elapsed_millis() + lasts),
        EventKind::Recycle => platform().recycle(),
        EventKind::Deploy { key_cache_seconds } => platform().deploy(Some(key_cache_seconds), None),
        EventKind::IssueKey { client, index, expires_in } => {
            let table = platform().table;
            issue(sim, ApiKey::Of { client, index }, expires_in, number, table).await;
        }
        EventKind::RevokeKey { client, index } => {
            let table = platform().table;
            revoke(sim, ApiKey::Of { client, index }, number, table).await;
        }
        EventKind::Import { client, customer, phone } => {
            let table = platform().table;
            import(sim, number, table, client, customer, phone).await;
        }
        EventKind::Corrupt { client, index } => {
            let table = platform().table;
            check::corrupt(sim, table, ApiKey::Of { client, index });
        }
        EventKind::Check => {
            let table = platform().table;
            let (caller, sources) = connection(sim, number);
            check::check_and_repair(sim, number, table, &caller, &sources).await;
        }
        EventKind::Backup => {
            let table = platform().table;
            let mut service = sim.service();
            let old: Vec<_> = service.tables.of("backup").map(|(key, _)| key.clone()).collect();
            for key in old {
                service.tables.set(key, None);
            }
            service.tables.copy(&names::table(table), "backup");
            drop(service);
            sim.check().backed_up(table);
        }
        EventKind::Restore => {
            let Some(index) = sim.check().restored() else { return };
            sim.service().tables.copy("backup", &names::table(index));
            platform().deploy(None, Some(index));
            sim.trace(format_args!("operator"), format_args!("restored as {}", names::table(index)));
        }
    }
}

fn connection(sim: &Arc<Simulation>, number: u32) -> (Arc<Caller>, Arc<EnvironmentSources>) {
    let caller = Arc::new(Caller::default());
    caller.begin(number, 0);
    let sources = Arc::new(EnvironmentSources::new(sim, &caller));
    (caller, sources)
}

async fn issue(sim: &Arc<Simulation>, key: ApiKey, expires_in: Option<u64>, number: u32, table: usize) {
    let (caller, sources) = connection(sim, number);
    caller.make_reliable();
    let expires_at = expires_in.map(|expires_in| EPOCH + sim.elapsed_millis() + expires_in);
    let mut put = environment::client(sim, &caller, &sources)
        .put_item()
        .table_name(names::table(table))
        .condition_expression("attribute_not_exists(pk)");
    for (name, value) in key_item(sim, key, expires_at) {
        let value = match value {
            Value::N(number) => AttributeValue::N(number.to_string()),
            other => AttributeValue::S(other.text().unwrap_or_default().to_owned()),
        };
        put = put.item(name, value);
    }
    let seq = sim.trace(format_args!("operator"), format_args!("issues {key:?}"));
    sim.check().table(table).keys.issue_began(key, seq);
    if put.send().await.is_ok() {
        let seq = sim.trace(format_args!("operator"), format_args!("issued {key:?}"));
        sim.check().table(table).keys.issued(key, seq, expires_at);
    }
}

async fn revoke(sim: &Arc<Simulation>, key: ApiKey, number: u32, table: usize) {
    let (caller, sources) = connection(sim, number);
    caller.make_reliable();
    let hash = names::api_key(sim.plan.seed, key).sha256_hex();
    let update = environment::client(sim, &caller, &sources)
        .update_item()
        .table_name(names::table(table))
        .set_key(Some(items::api_key_key(&hash)))
        .update_expression("SET revoked_at = :now")
        .condition_expression("attribute_exists(pk) AND attribute_not_exists(revoked_at)")
        .expression_attribute_values(":now", items::from_unix_millis(log::wall_clock(sim.elapsed_millis(), 0)));
    let seq = sim.trace(format_args!("operator"), format_args!("revokes {key:?}"));
    sim.check().table(table).keys.revocation_began(key, seq);
    if update.send().await.is_ok() {
        let seq = sim.trace(format_args!("operator"), format_args!("revoked {key:?}"));
        sim.check().table(table).keys.revoked(key, (seq, sim.elapsed_millis()));
    }
}

async fn import(sim: &Arc<Simulation>, number: u32, table: usize, client: u16, customer: u16, phone: u16) {
    let (caller, sources) = connection(sim, number);
    let store = environment::store(sim, &caller, &sources, table);
    let now: UnixMillis = log::wall_clock(sim.elapsed_millis(), 0);
    let digits = names::digits(phone);
    let parsed = Digits::parse(&digits).and_then(|digits| Phone::new(digits, CountryCode::default()));
    let (Ok(client_id), Ok(ccid), Ok(parsed)) =
        (ClientId::parse(&names::client(client)), Ccid::parse(&names::ccid(customer)), parsed)
    else {
        unreachable!("the names of a run are valid")
    };
    // Some lines state a consent, which never lifts a stop.
    let consent = (client == names::STATES_CONSENTS && number.is_multiple_of(3)).then_some(Consent::Written);
    let channel = Channel { consent_type: consent.map(|_| ConsentType::Written), ..Channel::new(parsed, now) };
    let request = Request {
        id: number,
        at: sim.elapsed_millis(),
        operation: Operation::Add,
        consent,
        client,
        customer,
        phone,
        idempotency: None,
        source: 0,
        key: ApiKey::Unknown,
        timeout_millis: 0,
    };
    let seq = sim.trace(format_args!("r{number}.0"), format_args!("import: {request:?}"));
    sim.check().began(request, 0, seq, table, None);
    let mut context = CallContext::new(now, Deadline::new(OPERATION_TIMEOUT));
    let add = AddPhone { client_id, ccid, channel };
    let observed = match store.add_phone(&add, &mut context).await {
        Ok(_) => ModelResponse::Done,
        Err(StoreError::TryAgain(_)) => ModelResponse::TryAgain,
        Err(StoreError::Internal(_)) => ModelResponse::Unknown,
        Err(refused) => ModelResponse::Refused(Error::from(refused).code().as_str().to_owned()),
    };
    let seq = sim.trace(format_args!("r{number}.0"), format_args!("import: {observed:?}"));
    let found = sim.check().answered((number, 0), seq, &observed);
    for violation in found {
        sim.violation(format_args!("r{number}.0: {violation}"));
    }
}
