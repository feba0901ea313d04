//! The budgets: what may not get dearer without somebody's deciding so. None depends on the day: bytes, instructions,
//! calls, units, kilobytes, crates.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::database::{Backend, Database, embedded};
use crate::report::thousands;
use crate::session::Bench;
use crate::subjects::{Subject, run};
use crate::{Result, events};

/// One thing that is held.
struct Deadline {
    name: &'static str,
    what: &'static str,
    unit: &'static str,
    /// What the project promised, whatever was recorded.
    limit: Option<f64>,
    /// How far above the recorded value is still no loss, in percent: what another build or machine may differ by.
    margin: f64,
    /// Where to look when it is lost.
    look: &'static str,
}

const PROFILE: &str = "build with CARGO_PROFILE_RELEASE_STRIP=none in a target folder of its own, run `harness probe` on \
                       it, then `callgrind_annotate --inclusive=yes` on the files that it names";
const SIZE: &str = "`cargo tree -p cdm-lambda -e normal,features`: a dependency or a feature that came in, or a second \
                    version of a crate (`cargo tree -d`)";
const WIRE: &str = "src/store: one GetItem for a key that is not remembered, one TransactWriteItems for the add; see \
                    round_trips in the log line";
const UNITS: &str = "src/store/items.rs: an item or attribute that came in, names that grew";

const BUDGETS: [Deadline; 13] = [
    Deadline {
        name: "stripped_bytes",
        what: "bootstrap, stripped",
        unit: "bytes",
        limit: Some(7e6),
        margin: 1.0,
        look: SIZE,
    },
    Deadline {
        name: "zipped_bytes",
        what: "bootstrap, zipped",
        unit: "bytes",
        limit: Some(3.2e6),
        margin: 1.0,
        look: SIZE,
    },
    Deadline {
        name: "first_instructions",
        what: "init + first invoke over TLS",
        unit: "instructions",
        limit: Some(7e6),
        margin: 4.0,
        look: PROFILE,
    },
    Deadline {
        name: "warm_instructions",
        what: "a warm add",
        unit: "instructions",
        limit: Some(7e5),
        margin: 4.0,
        look: PROFILE,
    },
    Deadline {
        name: "calls_cold",
        what: "calls to DynamoDB of a cold add",
        unit: "calls",
        limit: Some(2.0),
        margin: 0.0,
        look: WIRE,
    },
    Deadline {
        name: "calls_warm",
        what: "calls to DynamoDB of a warm add",
        unit: "calls",
        limit: Some(1.0),
        margin: 0.0,
        look: WIRE,
    },
    Deadline {
        name: "connections",
        what: "connections to DynamoDB in 10,000 adds",
        unit: "connections",
        limit: Some(1.0),
        margin: 0.0,
        look: "src/store/client.rs: the connection opened at start must be the one that calls use, and live on",
    },
    Deadline {
        name: "units_small",
        what: "write units of an add, small record",
        unit: "units",
        limit: Some(4.0),
        margin: 0.0,
        look: UNITS,
    },
    Deadline {
        name: "units_full",
        what: "write units of the 50th add",
        unit: "units",
        limit: Some(16.0),
        margin: 0.0,
        look: UNITS,
    },
    Deadline {
        name: "peak_kb",
        what: "peak memory after 10,000 adds",
        unit: "kB",
        limit: Some(10_240.0),
        margin: 20.0,
        look: "what is kept per request (src/auth.rs bounds the keys), the allocator, a larger binary",
    },
    Deadline {
        name: "growth_kb",
        what: "its growth after the first 1,000",
        unit: "kB",
        limit: Some(256.0),
        margin: 100.0,
        look: "a leak: what is kept per request",
    },
    Deadline {
        name: "direct_crates",
        what: "direct dependencies of the function",
        unit: "crates",
        limit: None,
        margin: 0.0,
        look: "Cargo.toml: does the new one earn its place?",
    },
    Deadline {
        name: "all_crates",
        what: "crates linked into the function",
        unit: "crates",
        limit: None,
        margin: 0.0,
        look: SIZE,
    },
];

/// Instructions of a start with one add, and of one more add in a warm process.
pub struct Instructions {
    pub first: u64,
    pub warm: u64,
}

/// Both counts are taken far enough from the start that pools and tables have their sizes.
const FEW: usize = 101;
const MANY: usize = 301;

const TRIES: usize = 12;

/// `customers` are taken in turn; each is answered with `status`.
pub fn instructions(
    bench: &Bench,
    subject: &Subject,
    database: impl Fn() -> Result<Database>,
    customers: &[String],
    status: u16,
) -> Result<Instructions> {
    let count = |adds: usize| -> Result<u64> {
        let profile = bench.work.join(format!("callgrind.{}.{adds}", subject.name));
        // On a busy machine a connection may time out under the profiler and be made again, which would be counted.
        for _ in 0..TRIES {
            let (database, events) = (database()?, events::adds(customers, FIRST_NUMBER, adds)?);
            let counted = bench.instructions(subject, &database, events, status, &profile)?;
            let counts = database.counts();
            let undisturbed = counts.connections <= 1 && [0, 1, adds as u64].contains(&counts.reads);
            // Where every add reads the key, or a start outlasts a timeout by itself, there is nothing to tell it by.
            if undisturbed || !subject.is_ours {
                return Ok(counted);
            }
        }
        Err(format!("{}: no undisturbed count in {TRIES}: is the machine too busy?", subject.name).into())
    };
    let first = count(1)?;
    let (few, many) = (count(FEW)?, count(MANY)?);
    Ok(Instructions { first, warm: many.saturating_sub(few) / (MANY - FEW) as u64 })
}

/// The numbers that are added count up from here.
pub const FIRST_NUMBER: u64 = 6_100_000_000;

/// Prints two counts, and where their profiles are.
pub fn probe(bench: &Bench, bootstrap: &Path) -> Result<()> {
    let at_once = || Database::start(&bench.certificates, Backend::AtOnce);
    let counted = instructions(bench, &Subject::function(bootstrap), at_once, &[], 200)?;
    println!(
        "init + first invoke {}, warm add {} instructions",
        thousands(counted.first as f64),
        thousands(counted.warm as f64)
    );
    println!("profiles: {}", bench.work.join("callgrind.function.{1,101,301}").display());
    Ok(())
}

fn measure(bench: &Bench, bootstrap: &Path, folder: &Path) -> Result<BTreeMap<&'static str, f64>> {
    let function = Subject::function(bootstrap);
    let mut measured = BTreeMap::new();
    let (stripped, zipped) = function.sizes(&bench.work)?;
    measured.insert("stripped_bytes", stripped as f64);
    measured.insert("zipped_bytes", zipped as f64);

    let at_once = || Database::start(&bench.certificates, Backend::AtOnce);
    let counted = instructions(bench, &function, at_once, &[], 200)?;
    measured.insert("first_instructions", counted.first as f64);
    measured.insert("warm_instructions", counted.warm as f64);

    const ADDS: usize = 10_000;
    let database = at_once()?;
    let events = events::adds(&[], FIRST_NUMBER, ADDS)?;
    let ran = bench.run(&function, &database, events, &[0, 1, 1_000], None)?.all_are(200)?;
    let calls = |index| ran.sample(index).map(|sample| sample.counts.reads + sample.counts.transactions);
    let (Some(none), Some(cold), Some(all)) = (calls(0), calls(1), calls(ADDS)) else {
        return Err("nothing was counted".into());
    };
    measured.insert("calls_cold", (cold - none) as f64);
    // A key is read again when its minute is over, which 10,000 adds in a row may live to see.
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
        let tree = run(tree.args(options).current_dir(folder.join("..")))?;
        let tree = String::from_utf8(tree)?;
        let name_and_version = |line: &str| line.split(' ').take(2).collect::<Vec<_>>().join(" ");
        let crates: BTreeSet<_> = tree.lines().filter(|line| !line.is_empty()).map(name_and_version).collect();
        // The function itself is one of them.
        measured.insert(name, crates.len().saturating_sub(1) as f64);
    }
    Ok(measured)
}

/// Measures, and compares with what was recorded; or records.
pub fn hold(bench: &Bench, bootstrap: &Path, folder: &Path, record: bool) -> Result<()> {
    let file = folder.join("budgets.json");
    let measured = measure(bench, bootstrap, folder)?;
    if record {
        let text = serde_json::to_string_pretty(&json!({
            "comment": "What scripts/budgets holds the function to, as measured. Another kind of processor is held to the limits alone. Written by `harness budgets BOOTSTRAP --record`.",
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
        // `growth_kb` may have been recorded as nothing at all.
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
        } else if budget.margin > 0.0 && value < was * (1.0 - budget.margin / 100.0) && budget.name != "growth_kb" {
            println!(
                "     {:.1} % under what was recorded: record it (--record), so that it is kept",
                (1.0 - value / was) * 100.0
            );
        }
    }
    if lost == 0 { Ok(()) } else { Err(format!("{lost} of {} budgets lost", BUDGETS.len()).into()) }
}
