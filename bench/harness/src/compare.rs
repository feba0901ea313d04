//! Everything side by side: each round runs every subject once, so that what disturbs one disturbs all.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::budgets::{FIRST_NUMBER, instructions};
use crate::database::{Backend, Counts, Database, embedded};
use crate::quota::Quota;
use crate::report::{self, Series, plain, table, thousands};
use crate::session::{Bench, From, Watched};
use crate::subjects::{Subject, run as output};
use crate::{Result, chart, events, micro};

/// Rounds at full speed and with less; `BENCH_ROUNDS` asks for fewer, for a try.
fn rounds() -> (usize, usize) {
    let asked = std::env::var("BENCH_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(11);
    (asked, asked.min(5))
}

/// Adds of one process at full speed; the first third is for warming up.
const ADDS: usize = 300;
const WARM_FROM: usize = 100;
const ADDS_LIMITED: usize = 80;
const WARM_FROM_LIMITED: usize = 20;
const MEGABYTES: [u32; 3] = [128, 256, 512];
/// Adds of each environment, where several run at once.
const ADDS_AT_ONCE: usize = 1_500;

/// What one subject costs.
#[derive(Default)]
struct Figures {
    package: (u64, u64),
    counted: Option<crate::budgets::Instructions>,
    init: Series,
    first: Series,
    first_over_database: Series,
    cold: Series,
    cold_cpu: Series,
    warm: Series,
    warm_cpu: Series,
    peak_mb: Series,
    calls: Counts,
    limited: BTreeMap<u32, Limited>,
    on_database: OnDatabase,
}

/// With a share of a processor.
#[derive(Default)]
struct Limited {
    /// The first invoke, after an initialisation at full speed, as Lambda gives it.
    first: Series,
    /// Initialisation and first invoke, both within the share: what the initialisation costs once it is not for free.
    cold: Series,
    warm: Series,
}

/// On the embedded database.
#[derive(Default)]
struct OnDatabase {
    write_units: f64,
    database: Series,
    warm: Series,
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
struct Growth {
    environments: Vec<Environments>,
    records: Vec<Record>,
    refused: Record,
    memory_mb: (f64, f64),
}

struct Environments {
    count: usize,
    backend: &'static str,
    per_second: f64,
    wall: Series,
    cpu_us: f64,
}

struct Record {
    numbers: usize,
    bytes_in: f64,
    bytes_out: f64,
    units: f64,
    instructions: u64,
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

/// All that was measured.
struct Outcome {
    subjects: Vec<Subject>,
    figures: BTreeMap<&'static str, Figures>,
    growth: Growth,
    pieces: Vec<(String, u64)>,
    /// Why no process could be limited here, if so.
    unlimited: Option<String>,
    took: Duration,
    /// The machine's load average before and after.
    loads: (String, String),
}

impl Outcome {
    fn of(&self, name: &str) -> Result<&Figures> {
        self.figures.get(name).ok_or_else(|| format!("{name} was not measured").into())
    }

    fn write(&self, bench: &Bench, folder: &Path) -> Result<()> {
        let results = folder.join("results");
        std::fs::create_dir_all(&results)?;
        let markdown = self.markdown(bench)?;
        std::fs::write(results.join("results.json"), serde_json::to_string_pretty(&self.json(bench)?)? + "\n")?;
        std::fs::write(results.join("results.md"), &markdown)?;
        std::fs::write(results.join("chart.svg"), self.chart()?)?;
        // The tables stand in the project's own page, between two marks.
        let page = folder.join("../docs/performance.md");
        let text = std::fs::read_to_string(&page).unwrap_or_default();
        const MARKS: [&str; 2] = ["<!-- measured: written by bench/run, do not edit -->\n", "<!-- /measured -->"];
        if let (Some(start), Some(end)) = (text.find(MARKS[0]), text.find(MARKS[1])) {
            let (head, tail) = (&text[..start + MARKS[0].len()], &text[end..]);
            std::fs::write(page, format!("{head}\n{markdown}\n{tail}"))?;
        }
        println!("{markdown}");
        eprintln!("written to {}", results.display());
        Ok(())
    }

    fn machine() -> String {
        let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let tool = |name: &str, argument: &str| {
            let said = output(Command::new(name).arg(argument)).unwrap_or_default();
            String::from_utf8_lossy(&said).lines().next().unwrap_or_default().to_owned()
        };
        format!(
            "{}, {cores} cores, virtual; {}; Node {}; {}; {}",
            model.trim_start_matches([' ', '\t', ':']),
            tool("rustc", "--version"),
            tool("node", "--version"),
            tool("python3", "--version"),
            tool("valgrind", "--version"),
        )
    }

    fn markdown(&self, bench: &Bench) -> Result<String> {
        let (floor, function) = (self.of("floor")?, self.of("function")?);
        let mb = |bytes: u64| plain(bytes as f64 / 1e6);
        let mut text = format!(
            "Measured on {}, in {} s, with a load of {} when it began and {} when it ended (the machine's other work; times \
             are good when both are near 1, processor times and instructions always). Medians, the middle half of all measurements in brackets; {} processes of \
             each, in turn; ratios are medians of each round's own. The database answers at once, over TLS; {} system \
             roots.\n\n### Full processor\n\n",
            Self::machine(),
            self.took.as_secs(),
            self.loads.0,
            self.loads.1,
            rounds().0,
            bench.certificates.system_count
        );
        let mut rows = Vec::new();
        for subject in &self.subjects {
            let f = self.of(subject.name)?;
            rows.push(vec![
                subject.label.to_owned(),
                format!("{} / {}", mb(f.package.0), mb(f.package.1)),
                f.counted.as_ref().map_or("-".to_owned(), |counted| report::instructions(counted.first)),
                f.init.shown(),
                f.first.shown(),
                f.cold_cpu.shown(),
                format!("{} ×", plain(f.cold.ratio_to(&floor.cold))),
                format!("{} ×", plain(f.cold.ratio_to(&function.cold))),
            ]);
        }
        text += "**Cold: a new process and its first add.**\n\n";
        text += &table(
            &[
                "",
                "package / zipped, MB",
                "instructions",
                "init, ms",
                "first add, ms",
                "both, CPU ms",
                "both to the floor's",
                "to this function's",
            ],
            &rows,
        );
        rows.clear();
        for subject in &self.subjects {
            let f = self.of(subject.name)?;
            rows.push(vec![
                subject.label.to_owned(),
                f.counted.as_ref().map_or("-".to_owned(), |counted| report::instructions(counted.warm)),
                f.warm.shown(),
                f.warm_cpu.shown(),
                format!("{} ×", plain(f.warm_cpu.ratio_to(&floor.warm_cpu))),
                format!("{} ×", plain(f.warm_cpu.ratio_to(&function.warm_cpu))),
                plain(f.peak_mb.median()),
                format!("{}", f.calls.reads + f.calls.transactions),
            ]);
        }
        text += "\n**Warm: one more add in the same process.**\n\n";
        text += &table(
            &[
                "",
                "instructions",
                "ms",
                "CPU µs",
                "CPU to the floor's",
                "to this function's",
                "peak memory, MB",
                "calls in 300 adds",
            ],
            &rows,
        );
        text += &format!(
            "\nThe function's first add takes {} ms more than the database itself does.\n",
            function.first_over_database.shown()
        );

        text += "\n### The share of a processor that Lambda gives\n\n";
        match &self.unlimited {
            Some(why) => text += &format!("Not measured: this machine limits no process ({why}).\n"),
            None => {
                text += "A control group's quota: memory / 1,769 MB of one processor, in periods of 20 ms. Emulated: the \
                         share and the period. Not emulated: Lambda's own start of an environment, its network, other \
                         tenants. \"First add\" follows an initialisation at full speed, which is what Lambda gives; \
                         \"cold, all limited\" does not get it.\n";
                for megabytes in MEGABYTES {
                    rows.clear();
                    let own = function.limited.get(&megabytes).ok_or("not measured")?;
                    for subject in &self.subjects {
                        let Some(limited) = self.of(subject.name)?.limited.get(&megabytes) else { continue };
                        rows.push(vec![
                            subject.label.to_owned(),
                            limited.first.shown(),
                            limited.cold.shown(),
                            format!("{} ×", plain(limited.cold.ratio_to(&own.cold))),
                            plain(limited.warm.median()),
                            plain(limited.warm.quantile(0.99)),
                        ]);
                    }
                    let share = Quota::share(megabytes) * 100.0;
                    text += &format!("\n**{megabytes} MB: {share:.1} % of a processor.**\n\n");
                    text += &table(
                        &["", "first add, ms", "cold, all limited, ms", "to this function's", "warm, p50 ms", "p99 ms"],
                        &rows,
                    );
                }
            }
        }

        text += "\n### Two items or three\n\nOn the embedded database, which counts units as AWS bills them; its times are \
                 its own, not DynamoDB's.\n\n";
        rows.clear();
        for subject in self.subjects.iter().filter(|subject| subject.name != "floor") {
            let f = &self.of(subject.name)?.on_database;
            rows.push(vec![subject.label.to_owned(), plain(f.write_units), f.database.shown(), f.warm.shown()]);
        }
        text += &table(&["", "write units per add", "the database, ms", "the add, ms"], &rows);

        text += "\n### How cost grows\n\nEnvironments at once, all on this machine's cores together with the database, so that \
                 what grows with 8 of them is the queue for the cores; the processor time of an add shows it.\n\n";
        rows.clear();
        for e in &self.growth.environments {
            rows.push(vec![
                format!("{}, {}", e.count, e.backend),
                thousands(e.per_second),
                plain(e.wall.median()),
                plain(e.wall.quantile(0.99)),
                thousands(e.cpu_us),
            ]);
        }
        text += &table(&["environments", "adds a second", "p50 ms", "p99 ms", "CPU µs per add"], &rows);
        rows.clear();
        let shown = |name: String, record: &Record| {
            vec![
                name,
                thousands(record.bytes_in),
                thousands(record.bytes_out),
                if record.units > 0.0 { plain(record.units) } else { "-".to_owned() },
                report::instructions(record.instructions),
            ]
        };
        for record in &self.growth.records {
            rows.push(shown(format!("added to {} numbers", record.numbers), record));
        }
        rows.push(shown("refused: 50 are there".to_owned(), &self.growth.refused));
        text += "\nThe record's size. A success carries no record back; a refusal carries the whole one.\n\n";
        text += &table(&["add", "bytes sent", "bytes received", "write units", "instructions"], &rows);
        text += &format!(
            "\nPeak memory: {} MB after 1,000 adds, {} MB after 10,000.\n",
            plain(self.growth.memory_mb.0),
            plain(self.growth.memory_mb.1)
        );
        text += "\n### The pieces of an add\n\n";
        text += &micro::markdown(&self.pieces);
        Ok(text)
    }

    fn json(&self, bench: &Bench) -> Result<Value> {
        let mut subjects = serde_json::Map::new();
        for subject in &self.subjects {
            let f = self.of(subject.name)?;
            let limited: serde_json::Map<_, _> = f
                .limited
                .iter()
                .map(|(megabytes, limited)| {
                    let json = json!({
                        "first_ms": limited.first.json(),
                        "cold_ms": limited.cold.json(),
                        "warm_ms": limited.warm.json(),
                    });
                    (megabytes.to_string(), json)
                })
                .collect();
            let json = json!({
                "label": subject.label,
                "package_bytes": f.package.0,
                "zipped_bytes": f.package.1,
                "first_instructions": f.counted.as_ref().map(|counted| counted.first),
                "warm_instructions": f.counted.as_ref().map(|counted| counted.warm),
                "init_ms": f.init.json(),
                "first_ms": f.first.json(),
                "first_over_database_ms": f.first_over_database.json(),
                "cold_ms": f.cold.json(),
                "cold_cpu_ms": f.cold_cpu.json(),
                "warm_ms": f.warm.json(),
                "warm_cpu_us": f.warm_cpu.json(),
                "peak_mb": f.peak_mb.json(),
                "limited": limited,
                "embedded": {
                    "write_units": f.on_database.write_units,
                    "database_ms": f.on_database.database.json(),
                    "warm_ms": f.on_database.warm.json(),
                },
            });
            subjects.insert(subject.name.to_owned(), json);
        }
        let record = |record: &Record| {
            json!({
                "numbers": record.numbers,
                "bytes_sent": record.bytes_in,
                "bytes_received": record.bytes_out,
                "write_units": record.units,
                "instructions": record.instructions,
            })
        };
        let environments: Vec<_> = self
            .growth
            .environments
            .iter()
            .map(|e| {
                json!({
                    "environments": e.count,
                    "backend": e.backend,
                    "adds_per_second": e.per_second.round(),
                    "wall_ms": e.wall.json(),
                    "cpu_us": e.cpu_us.round(),
                })
            })
            .collect();
        Ok(json!({
            "machine": Self::machine(),
            "seconds": self.took.as_secs(),
            "load_average": { "before": self.loads.0, "after": self.loads.1 },
            "system_roots": bench.certificates.system_count,
            "rounds": rounds().0,
            "subjects": subjects,
            "environments": environments,
            "records": self.growth.records.iter().map(record).collect::<Vec<_>>(),
            "pieces": self.pieces.iter().cloned().collect::<BTreeMap<_, _>>(),
            "refused": record(&self.growth.refused),
            "peak_mb": { "after_1000": self.growth.memory_mb.0, "after_10000": self.growth.memory_mb.1 },
        }))
    }

    fn chart(&self) -> Result<String> {
        let shown = self.subjects.iter().filter(|subject| subject.name != "three-items");
        let mut cold = Vec::new();
        let mut warm = Vec::new();
        for subject in shown {
            let f = self.of(subject.name)?;
            cold.push((subject.label, f.cold_cpu.median()));
            warm.push((subject.label, f.warm_cpu.median()));
        }
        Ok(chart::bars(&[
            chart::Panel { title: "Cold: processor time of a new process and its first add, ms", bars: cold },
            chart::Panel { title: "Warm: processor time of one more add, µs", bars: warm },
        ]))
    }
}
