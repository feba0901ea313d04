//! Everything side by side: each round runs every subject once, so that what disturbs one disturbs all.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::budgets::{FIRST_NUMBER, instructions};
use crate::database::{Backend, Counts, Database, embedded};
use crate::quota::Quota;
use crate::report::{Series, plain};
use crate::results::Outcome;
use crate::session::{Bench, From, Watched};
use crate::subjects::Subject;
use crate::{Result, events, micro};

/// Rounds at full speed and with less; `BENCH_ROUNDS` asks for fewer, for a try.
pub fn rounds() -> (usize, usize) {
    let asked = std::env::var("BENCH_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(11);
    (asked, asked.min(5))
}

/// Adds of one process at full speed; the first third is for warming up.
const ADDS: usize = 300;
const WARM_FROM: usize = 100;
const ADDS_LIMITED: usize = 80;
const WARM_FROM_LIMITED: usize = 20;
pub const MEGABYTES: [u32; 3] = [128, 256, 512];
/// Adds of each environment, where several run at once.
const ADDS_AT_ONCE: usize = 1_500;

/// What one subject costs.
#[derive(Default)]
pub struct Figures {
    pub package: (u64, u64),
    pub counted: Option<crate::budgets::Instructions>,
    pub init: Series,
    pub first: Series,
    pub first_over_database: Series,
    pub cold: Series,
    pub cold_cpu: Series,
    pub warm: Series,
    pub warm_cpu: Series,
    pub peak_mb: Series,
    pub calls: Counts,
    pub limited: BTreeMap<u32, Limited>,
    pub on_database: OnDatabase,
}

/// With a share of a processor.
#[derive(Default)]
pub struct Limited {
    /// The first invoke, after an initialisation at full speed, as Lambda gives it.
    pub first: Series,
    /// Initialisation and first invoke, both within the share: what the initialisation costs once it is not for free.
    pub cold: Series,
    pub warm: Series,
}

/// On the embedded database.
#[derive(Default)]
pub struct OnDatabase {
    pub write_units: f64,
    pub database: Series,
    pub warm: Series,
}

struct Progress {
    started: Instant,
}

impl Progress {
    fn tell(&self, what: &str) {
        eprintln!("[{:>4} s] {what}", self.started.elapsed().as_secs());
    }
}

/// One short run of every subject.
pub fn smoke(bench: &Bench, bootstrap: &Path, folder: &Path) -> Result<()> {
    for subject in Subject::all(folder, bootstrap) {
        let database = Database::start(&bench.certificates, Backend::AtOnce)?;
        let ran = bench.run(&subject, &database, events::adds(&[], FIRST_NUMBER, 20)?, &[], None)?.all_are(200)?;
        println!(
            "{:<40} init {} ms, first {} ms, warm {} ms",
            subject.label,
            plain(ms(ran.init)),
            plain(ran.invokes.first().map_or(f64::NAN, |first| ms(first.wall))),
            plain(walls(&ran, 10).median())
        );
    }
    Ok(())
}

pub fn run(bench: &Bench, bootstrap: &Path, folder: &Path) -> Result<()> {
    let progress = Progress { started: Instant::now() };
    let (rounds, rounds_limited) = rounds();
    let load = load_average();
    let subjects = Subject::all(folder, bootstrap);
    let mut figures: BTreeMap<&str, Figures> = subjects.iter().map(|s| (s.name, Figures::default())).collect();
    let at_once = || Database::start(&bench.certificates, Backend::AtOnce);

    for subject in &subjects {
        progress.tell(&format!("sizes, instructions and a run to warm up: {}", subject.label));
        let figures = figures.entry(subject.name).or_default();
        figures.package = subject.sizes(&bench.work)?;
        bench.run(subject, &at_once()?, events::adds(&[], FIRST_NUMBER, 3)?, &[], None)?.all_are(200)?;
        if subject.is_native {
            figures.counted = Some(instructions(bench, subject, at_once, &[], 200)?);
        }
    }

    for round in 1..=rounds {
        progress.tell(&format!("full processor, round {round} of {rounds}"));
        for subject in &subjects {
            let events = events::adds(&[], FIRST_NUMBER, ADDS)?;
            let ran = bench.run(subject, &at_once()?, events, &[0, 1, WARM_FROM], None)?.all_are(200)?;
            let figures = figures.entry(subject.name).or_default();
            let first = ran.invokes.first().ok_or("no first invoke")?;
            figures.init.push(ms(ran.init));
            figures.first.push(ms(first.wall));
            figures.first_over_database.push(ms(first.wall.saturating_sub(first.database)));
            figures.cold.push(ms(ran.init + first.wall));
            figures.cold_cpu.extend(ran.sample(1).map(|sample| ms(sample.cpu)));
            figures.warm.push(walls(&ran, WARM_FROM).median());
            figures.warm_cpu.extend(ran.cpu_between(WARM_FROM, ADDS).map(us));
            figures.peak_mb.push(ran.last()?.peak_kb as f64 / 1024.0);
            figures.calls = ran.last()?.counts;
        }
        bench.forget_logs()?;
    }

    let mut unlimited = None;
    for megabytes in MEGABYTES {
        for round in 1..=rounds_limited {
            progress.tell(&format!("the share of {megabytes} MB, round {round} of {rounds_limited}"));
            for subject in subjects.iter().filter(|subject| subject.name != "three-items") {
                let quota = match Quota::new(megabytes) {
                    Ok(quota) => quota,
                    Err(error) => {
                        unlimited = Some(error.to_string());
                        continue;
                    }
                };
                let limited = figures.entry(subject.name).or_default().limited.entry(megabytes).or_default();
                let events = events::adds(&[], FIRST_NUMBER, ADDS_LIMITED)?;
                let ran =
                    bench.run(subject, &at_once()?, events, &[], Some((&quota, From::FirstEvent)))?.all_are(200)?;
                limited.first.extend(ran.invokes.first().map(|first| ms(first.wall)));
                limited.warm.extend(ran.invokes.iter().skip(WARM_FROM_LIMITED).map(|invoke| ms(invoke.wall)));
                let events = events::adds(&[], FIRST_NUMBER, 1)?;
                let ran = bench.run(subject, &at_once()?, events, &[], Some((&quota, From::Start)))?.all_are(200)?;
                limited.cold.extend(ran.invokes.first().map(|first| ms(ran.init + first.wall)));
                quota.remove();
            }
        }
    }

    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let customers = names("C", 20);
    for round in 1..=rounds_limited {
        progress.tell(&format!("two items and three on the embedded database, round {round} of {rounds_limited}"));
        for subject in subjects.iter().filter(|subject| subject.name != "floor") {
            let behind = embedded(&runtime, &empty(&customers))?;
            let database = Database::start(&bench.certificates, Backend::Embedded(behind))?;
            let events = events::adds(&customers, FIRST_NUMBER, ADDS)?;
            let ran = bench.run(subject, &database, events, &[], None)?.all_are(200)?;
            let counts = ran.last()?.counts;
            let figures = &mut figures.entry(subject.name).or_default().on_database;
            figures.write_units = counts.write_units / counts.transactions as f64;
            let warm = ran.invokes.iter().skip(WARM_FROM);
            figures.database.extend(warm.clone().map(|invoke| ms(invoke.database)));
            figures.warm.extend(warm.map(|invoke| ms(invoke.wall)));
        }
    }
    let function = Subject::function(bootstrap);
    let growth = growth(bench, &function, &runtime, &progress)?;
    progress.tell("the pieces");
    let pieces = micro::count(bench, folder)?;
    progress.tell("done");

    let result = Outcome {
        subjects,
        figures,
        growth,
        pieces,
        unlimited,
        took: progress.started.elapsed(),
        loads: (load, load_average()),
    };
    result.write(bench, folder)
}

/// More of them at once, and more numbers on a record.
pub struct Growth {
    pub environments: Vec<Environments>,
    pub records: Vec<Record>,
    pub refused: Record,
    pub memory_mb: (f64, f64),
}

pub struct Environments {
    pub count: usize,
    pub backend: &'static str,
    pub per_second: f64,
    pub wall: Series,
    pub cpu_us: f64,
}

pub struct Record {
    pub numbers: usize,
    pub bytes_in: f64,
    pub bytes_out: f64,
    pub units: f64,
    pub instructions: u64,
}

fn growth(bench: &Bench, function: &Subject, runtime: &tokio::runtime::Runtime, progress: &Progress) -> Result<Growth> {
    let mut environments = Vec::new();
    for backend in ["answers at once", "embedded database"] {
        for count in [1, 2, 8] {
            progress.tell(&format!("{count} environments at once, {backend}"));
            let database = if backend == "answers at once" {
                Database::start(&bench.certificates, Backend::AtOnce)?
            } else {
                let customers = empty(&names("E", count * ADDS_AT_ONCE / 30));
                Database::start(&bench.certificates, Backend::Embedded(embedded(runtime, &customers)?))?
            };
            environments.push(at_once(bench, function, &database, count, backend)?);
            bench.forget_logs()?;
        }
    }

    let mut records = Vec::new();
    for numbers in [0, 10, 49] {
        progress.tell(&format!("adds to records of {numbers} numbers"));
        let customers = names("R", 400);
        let seeded: Vec<_> = customers.iter().map(|customer| (customer.clone(), numbers)).collect();
        let fresh = || -> Result<Database> {
            Database::start(&bench.certificates, Backend::Embedded(embedded(runtime, &seeded)?))
        };
        let counted = instructions(bench, function, fresh, &customers, 200)?;
        records.push(record(bench, function, &fresh()?, &customers, numbers, 200, counted.warm)?);
    }
    progress.tell("a full record refuses");
    let full = || Database::start(&bench.certificates, Backend::Full(50));
    let counted = instructions(bench, function, full, &[], 409)?;
    let refused = record(bench, function, &full()?, &[], 50, 409, counted.warm)?;

    progress.tell("10,000 adds of one environment");
    let database = Database::start(&bench.certificates, Backend::AtOnce)?;
    let many = events::adds(&[], FIRST_NUMBER, 10_000)?;
    let ran = bench.run(function, &database, many, &[1_000], None)?.all_are(200)?;
    let mb = |sample: &crate::session::Sample| sample.peak_kb as f64 / 1024.0;
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
    let one = |index: usize| -> Result<Watched> {
        let first = FIRST_NUMBER + (index * ADDS_AT_ONCE) as u64;
        let all = names("E", count * ADDS_AT_ONCE / 30);
        let own: Vec<_> = all.into_iter().skip(index * ADDS_AT_ONCE / 30).take(ADDS_AT_ONCE / 30).collect();
        bench.run(function, database, events::adds(&own, first, ADDS_AT_ONCE)?, &[WARM_FROM], None)?.all_are(200)
    };
    let ran: Vec<_> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..count).map(|index| scope.spawn(move || one(index))).collect();
        running.into_iter().map(|thread| thread.join().map_err(|_| "a session panicked")).collect()
    });
    let mut wall = Series::default();
    let (mut per_second, mut cpu_us) = (0.0, 0.0);
    for ran in ran {
        let ran = ran??;
        let own = walls(&ran, WARM_FROM);
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

fn names(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|index| format!("{prefix}-{index:05}")).collect()
}

fn empty(customers: &[String]) -> Vec<(String, usize)> {
    customers.iter().map(|customer| (customer.clone(), 0)).collect()
}

fn walls(ran: &Watched, from: usize) -> Series {
    let mut series = Series::default();
    series.extend(ran.invokes.iter().skip(from).map(|invoke| ms(invoke.wall)));
    series
}

fn load_average() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or("?").to_owned()
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn us(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}
