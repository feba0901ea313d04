//! Checks the function against its budgets, or records new values. Every budget is a count: bytes, instructions, calls, units,
//! kilobytes, crates. Only kilobytes vary a little between runs.

mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::database::{Backend, Database, embedded};
use crate::events::{self, FIRST_NUMBER};
use crate::report::thousands;
use crate::session::{Bench, Subject, output};
use crate::{Result, instructions};
use table::BUDGETS;

fn measure(bench: &Bench, bootstrap: &Path, folder: &Path) -> Result<BTreeMap<&'static str, f64>> {
    let function = Subject::function(bootstrap);
    let mut measured = BTreeMap::new();
    let (stripped, zipped) = function.sizes(&bench.work)?;
    measured.insert("stripped_bytes", stripped as f64);
    measured.insert("zipped_bytes", zipped as f64);

    let at_once = || Database::start(&bench.certificates, Backend::AtOnce);
    let counted = instructions::count(bench, &function, at_once, &[], 200)?;
    measured.insert("first_instructions", counted.first as f64);
    measured.insert("warm_instructions", counted.warm as f64);

    const ADDS: usize = 10_000;
    let database = at_once()?;
    let events = events::adds(&[], FIRST_NUMBER, ADDS)?;
    let ran = bench.run(&function, &database, events, &[0, 1, 1_000], None)?.all_are(200)?;
    let calls = |index| ran.sample(index).map(|sample| sample.counts.reads + sample.counts.transactions);
    let (Some(none), Some(cold), Some(all)) = (calls(0), calls(1), calls(ADDS)) else {
        return Err("no counts".into());
    };
    measured.insert("calls_cold", (cold - none) as f64);
    // 10,000 adds can take longer than the minute for which a key is cached.
    measured.insert("calls_warm", ((all - cold) as f64 / (ADDS - 1) as f64).round());
    let last = ran.last()?;
    measured.insert("connections", last.counts.connections as f64);
    measured.insert("peak_kb", last.peak_kb as f64);
    let early = ran.sample(1_000).map_or(0, |sample| sample.peak_kb);
    measured.insert("growth_kb", last.peak_kb.saturating_sub(early) as f64);

    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    for (name, numbers) in [("units_small", 0), ("units_full", 49)] {
        let customers = [("UNITS".to_owned(), numbers)];
        let database = Database::start(&bench.certificates, Backend::Embedded(embedded(&runtime, &customers)?))?;
        let events = events::adds(&["UNITS".to_owned()], FIRST_NUMBER, 1)?;
        let ran = bench.run(&function, &database, events, &[], None)?.all_are(200)?;
        measured.insert(name, ran.last()?.counts.write_units);
    }

    for (name, options) in [("direct_crates", &["--depth", "1"][..]), ("all_crates", &[])] {
        let mut tree = Command::new("cargo");
        tree.args([
            "tree",
            "--locked",
            "-p",
            "cdm-lambda",
            "--all-features",
            "-e",
            "normal",
            "--prefix",
            "none",
            "--no-dedupe",
        ]);
        let tree = output(tree.args(options).current_dir(folder.join("..")))?;
        let tree = String::from_utf8(tree)?;
        let name_and_version = |line: &str| line.split(' ').take(2).collect::<Vec<_>>().join(" ");
        let crates: BTreeSet<_> = tree.lines().filter(|line| !line.is_empty()).map(name_and_version).collect();
        // Do not count the function itself.
        measured.insert(name, crates.len().saturating_sub(1) as f64);
    }
    Ok(measured)
}

/// Measures the function and compares it with its budgets. Records the values first if `record` is set.
pub fn check(bench: &Bench, bootstrap: &Path, folder: &Path, record: bool) -> Result<()> {
    let file = folder.join("budgets.json");
    let measured = measure(bench, bootstrap, folder)?;
    if record {
        let text = serde_json::to_string_pretty(&json!({
            "comment": "The measured values that scripts/budgets compares with. On another type of processor only the limits apply. Written by `harness budgets BOOTSTRAP --record`.",
            "processor": std::env::consts::ARCH,
            "recorded": measured,
        }))?;
        std::fs::write(&file, text + "\n")?;
        println!("recorded in {}", file.display());
    }
    let recorded: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&file)?)?;
    let mut lost = 0;
    for budget in &BUDGETS {
        let value = measured.get(budget.name).copied().unwrap_or(f64::NAN);
        let comparable = recorded["processor"] == std::env::consts::ARCH;
        let was = recorded["recorded"][budget.name].as_f64().filter(|_| comparable).unwrap_or(f64::NAN);
        let most = budget.limit.unwrap_or(f64::INFINITY).min(was * (1.0 + budget.margin / 100.0));
        // The recorded `growth_kb` can be 0 and varies, so only its limit counts.
        let most = if budget.name == "growth_kb" { budget.limit.unwrap_or(most) } else { most };
        let kept = value <= most;
        println!(
            "{} {:<40} {:>11} {:<12} recorded {:>11}, budget {}",
            if kept { "kept" } else { "LOST" },
            budget.what,
            thousands(value),
            budget.unit,
            thousands(was),
            budget.limit.map_or("-".to_owned(), thousands),
        );
        if !kept {
            lost += 1;
            println!(
                "     {:+.1} % over what was recorded ({} {} more than the {} allowed). Look: {}",
                (value / was - 1.0) * 100.0,
                thousands(value - most),
                budget.unit,
                thousands(most),
                budget.look
            );
        } else if budget.margin > 0.0 && value < was * (1.0 - budget.margin / 100.0) {
            println!(
                "     {:.1} % under what was recorded: record it (--record), so that it is kept",
                (1.0 - value / was) * 100.0
            );
        }
    }
    if lost == 0 { Ok(()) } else { Err(format!("{lost} of {} budgets lost", BUDGETS.len()).into()) }
}
