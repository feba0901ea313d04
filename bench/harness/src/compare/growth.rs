//! How the cost of the function grows: several environments at once, and records with more numbers.

use tokio::runtime::Runtime;

use super::figures::{Environments, Growth, Record, WARM_FROM};
use super::machine::Progress;
use crate::database::{Backend, Database, embedded};
use crate::events::{self, FIRST_NUMBER};
use crate::report::{Series, us};
use crate::session::{Bench, Run, Sample, Subject};
use crate::{Result, instructions};

/// The adds of each environment when several run at once.
const ADDS_AT_ONCE: usize = 1_500;

pub fn measure(bench: &Bench, function: &Subject, runtime: &Runtime, progress: &Progress) -> Result<Growth> {
    let mut environments = Vec::new();
    for backend in ["fixed responses", "embedded database"] {
        for count in [1, 2, 8] {
            progress.print(&format!("{count} environments at once, {backend}"));
            let database = if backend == "fixed responses" {
                Database::start(&bench.certificates, Backend::AtOnce)?
            } else {
                let customers = events::without_numbers(&events::customers("E", count * ADDS_AT_ONCE / 30));
                Database::start(&bench.certificates, Backend::Embedded(embedded(runtime, &customers)?))?
            };
            environments.push(at_once(bench, function, &database, count, backend)?);
            bench.clear_logs()?;
        }
    }

    let mut records = Vec::new();
    for numbers in [0, 10, 49] {
        progress.print(&format!("adds to records of {numbers} numbers"));
        let customers = events::customers("R", 400);
        let seeded: Vec<_> = customers.iter().map(|customer| (customer.clone(), numbers)).collect();
        let fresh = || -> Result<Database> {
            Database::start(&bench.certificates, Backend::Embedded(embedded(runtime, &seeded)?))
        };
        let counted = instructions::count(bench, function, fresh, &customers, 200)?;
        records.push(record(bench, function, &fresh()?, &customers, numbers, 200, counted.warm)?);
    }
    progress.print("adds that a full record refuses");
    let full = || Database::start(&bench.certificates, Backend::Full(50));
    let counted = instructions::count(bench, function, full, &[], 409)?;
    let refused = record(bench, function, &full()?, &[], 50, 409, counted.warm)?;

    progress.print("10,000 adds of one environment");
    let database = Database::start(&bench.certificates, Backend::AtOnce)?;
    let many = events::adds(&[], FIRST_NUMBER, 10_000)?;
    let ran = bench.run(function, &database, many, &[1_000], None)?.all_are(200)?;
    let mb = |sample: &Sample| sample.peak_kb as f64 / 1024.0;
    let memory_mb = (ran.sample(1_000).map_or(f64::NAN, mb), mb(ran.last()?));
    Ok(Growth { environments, records, refused, memory_mb })
}

fn at_once(
    bench: &Bench,
    function: &Subject,
    database: &Database,
    count: usize,
    backend: &'static str,
) -> Result<Environments> {
    let one = |index: usize| -> Result<Run> {
        let first = FIRST_NUMBER + (index * ADDS_AT_ONCE) as u64;
        let all = events::customers("E", count * ADDS_AT_ONCE / 30);
        let own: Vec<_> = all.into_iter().skip(index * ADDS_AT_ONCE / 30).take(ADDS_AT_ONCE / 30).collect();
        bench.run(function, database, events::adds(&own, first, ADDS_AT_ONCE)?, &[WARM_FROM], None)?.all_are(200)
    };
    let ran: Vec<_> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..count).map(|index| scope.spawn(move || one(index))).collect();
        running.into_iter().map(|thread| thread.join().map_err(|_| "a run panicked")).collect()
    });
    let mut wall = Series::default();
    let (mut per_second, mut cpu_us) = (0.0, 0.0);
    for ran in ran {
        let ran = ran??;
        let own = ran.walls(WARM_FROM);
        per_second += 1000.0 / own.mean();
        cpu_us += ran.cpu_between(WARM_FROM, ADDS_AT_ONCE).map_or(f64::NAN, us) / count as f64;
        wall.append(own);
    }
    Ok(Environments { count, backend, per_second, wall, cpu_us })
}

fn record(
    bench: &Bench,
    function: &Subject,
    database: &Database,
    customers: &[String],
    numbers: usize,
    status: u16,
    instructions: u64,
) -> Result<Record> {
    const CALLS: usize = 100;
    let events = events::adds(customers, FIRST_NUMBER, 1 + CALLS)?;
    let ran = bench.run(function, database, events, &[1], None)?.all_are(status)?;
    let (before, after) = (ran.sample(1).ok_or("no sample")?.counts, ran.last()?.counts);
    let each = |before: f64, after: f64| (after - before) / CALLS as f64;
    Ok(Record {
        numbers,
        bytes_in: each(before.bytes_in as f64, after.bytes_in as f64),
        bytes_out: each(before.bytes_out as f64, after.bytes_out as f64),
        units: each(before.write_units, after.write_units),
        instructions,
    })
}
