//! An operator who checks the table and repairs it, with the code of `cdm check --fix`, while the service is in use.

use std::sync::Arc;

use aws_sdk_dynamodb::config::retry::{RetryPartition, TokenBucket};
use cdm::commands::check::{self, Checked, Repaired};
use cdm::table::connection::Connection;
use cdm::table::scan::Scan;

use crate::actors::environment::{self, EnvironmentSources};
use crate::network::Caller;
use crate::plan::{ApiKey, names};
use crate::service::message::ItemKey;
use crate::world::Simulation;

/// How many parts of the table are read at once, and how many items a call reads. A check makes many calls, so that
/// much happens meanwhile.
const SEGMENTS: i32 = 2;
const PAGE: i32 = 20;

/// Takes `created_at` out of an API key's item. The function does not read it, and `--fix` writes it again.
pub fn corrupt(sim: &Simulation, table: usize, key: ApiKey) {
    let item_key = ItemKey { table: names::table(table), pk: names::key_pk(sim.plan.seed, key), sk: "KEY".to_owned() };
    let mut service = sim.service();
    let Some(mut item) = service.tables.get(&item_key).cloned() else { return };
    if item.remove("created_at").is_none() || service.is_held(&item_key) {
        return;
    }
    service.tables.set(item_key.clone(), Some(item));
    drop(service);
    let seq = sim.trace(format_args!("operator"), format_args!("corrupts {key:?}"));
    sim.check().table(table).corrupted(item_key.pk, seq);
}

/// Checks and repairs.
pub async fn check_and_repair(
    sim: &Arc<Simulation>,
    number: u32,
    table: usize,
    caller: &Arc<Caller>,
    sources: &Arc<EnvironmentSources>,
) {
    // Each check has its own retry partition. By default all clients of the process share one token bucket.
    let retries = RetryPartition::custom("check").token_bucket(TokenBucket::default()).build();
    let config = environment::client(sim, caller, sources).config().to_builder().retry_partition(retries);
    let store = environment::store(sim, caller, sources, table);
    let connection = Connection::new(store, config, names::table(table), "simulated".to_owned());
    let scan = Scan { segments: SEGMENTS, page: PAGE, ..Scan::default() };
    let seq = sim.trace(format_args!("r{number}.0"), format_args!("cdm check --fix"));
    sim.check().check_began(number, table, seq);
    let ended = check::check_and_repair(&connection, scan).await;
    sim.trace(format_args!("r{number}.0"), format_args!("cdm check --fix: {ended:?}"));
    let (Checked { findings, .. }, Repaired { findings: repaired, idle }) = match ended {
        Ok(ended) => ended,
        Err(failure) => {
            sim.totals(|totals| totals.checks_failed += 1);
            let (_, is_faulty) = caller.calls();
            if !is_faulty {
                sim.violation(format_args!("r{number}.0: the check failed without a fault: {failure}"));
            }
            return;
        }
    };
    sim.totals(|totals| {
        totals.checks += 1;
        totals.repaired += repaired;
        totals.idle_deleted += idle;
    });
    let found = sim.check().check_ended(number, findings);
    for violation in found {
        sim.violation(format_args!("r{number}.0: {violation}"));
    }
}
