//! Measures all subjects side by side. Each round runs every subject once, so that a disturbance affects all of them.

mod figures;
mod growth;
mod json;
mod machine;
mod markdown;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use crate::database::{Backend, Database, embedded};
use crate::events::{self, FIRST_NUMBER};
use crate::report::{ms, plain, us};
use crate::session::{Bench, From, Quota, Subject};
use crate::{Result, instructions};
use figures::{Comparison, Figures, MEGABYTES, WARM_FROM};
use machine::{Progress, load_average};

/// The rounds with a full processor and with a limited one. `BENCH_ROUNDS` sets fewer for an experiment.
fn rounds() -> (usize, usize) {
    let wanted = std::env::var("BENCH_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(11);
    (wanted, wanted.min(5))
}

/// The adds of one process with a full processor.
const ADDS: usize = 300;
const ADDS_LIMITED: usize = 80;
const WARM_FROM_LIMITED: usize = 20;

/// Runs each subject once, for a short time.
pub fn smoke(bench: &Bench, bootstrap: &Path, folder: &Path) -> Result<()> {
    for subject in Subject::all(folder, bootstrap) {
        let database = Database::start(&bench.certificates, Backend::AtOnce)?;
        let ran = bench.run(&subject, &database, events::adds(&[], FIRST_NUMBER, 20)?, &[], None)?.all_are(200)?;
        println!(
            "{:<40} init {} ms, first {} ms, warm {} ms",
            subject.label,
            plain(ms(ran.init)),
            plain(ran.invokes.first().map_or(f64::NAN, |first| ms(first.wall))),
            plain(ran.walls(10).median())
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
        progress.print(&format!("sizes, instructions and a run to warm up: {}", subject.label));
        let figures = figures.entry(subject.name).or_default();
        figures.package = subject.sizes(&bench.work)?;
        bench.run(subject, &at_once()?, events::adds(&[], FIRST_NUMBER, 3)?, &[], None)?.all_are(200)?;
        if subject.is_native {
            figures.counted = Some(instructions::count(bench, subject, at_once, &[], 200)?);
        }
    }

    for round in 1..=rounds {
        progress.print(&format!("full processor, round {round} of {rounds}"));
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
            figures.warm.push(ran.walls(WARM_FROM).median());
            figures.warm_cpu.extend(ran.cpu_between(WARM_FROM, ADDS).map(us));
            figures.peak_mb.push(ran.last()?.peak_kb as f64 / 1024.0);
            figures.calls = ran.last()?.counts;
        }
        bench.clear_logs()?;
    }

    let mut no_limits = None;
    for megabytes in MEGABYTES {
        for round in 1..=rounds_limited {
            progress.print(&format!("the share of {megabytes} MB, round {round} of {rounds_limited}"));
            for subject in subjects.iter().filter(|subject| subject.name != "three-items") {
                let quota = match Quota::new(megabytes) {
                    Ok(quota) => quota,
                    Err(error) => {
                        no_limits = Some(error.to_string());
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
    let customers = events::customers("C", 20);
    for round in 1..=rounds_limited {
        progress.print(&format!("two items and three on the embedded database, round {round} of {rounds_limited}"));
        for subject in subjects.iter().filter(|subject| subject.name != "floor") {
            let address = embedded(&runtime, &events::without_numbers(&customers))?;
            let database = Database::start(&bench.certificates, Backend::Embedded(address))?;
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
    let growth = growth::measure(bench, &function, &runtime, &progress)?;
    progress.print("done");

    let comparison = Comparison {
        machine: machine::description(),
        subjects,
        figures,
        growth,
        no_limits,
        took: progress.started.elapsed(),
        rounds,
        loads: (load, load_average()),
        system_roots: bench.certificates.system_count,
    };
    write(&comparison, folder)
}

/// Writes `results/results.json` and the tables of `docs/performance.md`.
fn write(comparison: &Comparison, folder: &Path) -> Result<()> {
    let results = folder.join("results");
    std::fs::create_dir_all(&results)?;
    let markdown = comparison.markdown()?;
    std::fs::write(results.join("results.json"), serde_json::to_string_pretty(&comparison.json()?)? + "\n")?;
    let page = folder.join("../docs/performance.md");
    let text = std::fs::read_to_string(&page)?;
    const MARKS: [&str; 2] = ["<!-- measured: written by bench/run, do not edit -->\n", "<!-- /measured -->"];
    let (Some(start), Some(end)) = (text.find(MARKS[0]), text.find(MARKS[1])) else {
        return Err(format!("{}: the marks of the tables are missing", page.display()).into());
    };
    let (head, tail) = (&text[..start + MARKS[0].len()], &text[end..]);
    std::fs::write(page, format!("{head}\n{markdown}\n{tail}"))?;
    println!("{markdown}");
    eprintln!("written to {}", results.display());
    Ok(())
}
