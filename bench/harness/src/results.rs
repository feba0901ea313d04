//! What a comparison measured, as Markdown, JSON and a chart.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::compare::{Figures, Growth, MEGABYTES, Record, rounds};
use crate::quota::Quota;
use crate::report::{self, plain, table, thousands};
use crate::session::Bench;
use crate::subjects::{Subject, run as output};
use crate::{Result, chart, micro};

/// All that was measured.
pub struct Outcome {
    pub subjects: Vec<Subject>,
    pub figures: BTreeMap<&'static str, Figures>,
    pub growth: Growth,
    pub pieces: Vec<(String, u64)>,
    /// Why no process could be limited here, if so.
    pub unlimited: Option<String>,
    pub took: Duration,
    /// The machine's load average before and after.
    pub loads: (String, String),
}

impl Outcome {
    fn figures_of(&self, name: &str) -> Result<&Figures> {
        self.figures.get(name).ok_or_else(|| format!("{name} was not measured").into())
    }

    pub fn write(&self, bench: &Bench, folder: &Path) -> Result<()> {
        let results = folder.join("results");
        std::fs::create_dir_all(&results)?;
        let markdown = self.markdown(bench)?;
        std::fs::write(results.join("results.json"), serde_json::to_string_pretty(&self.json(bench)?)? + "\n")?;
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
        let (floor, function) = (self.figures_of("floor")?, self.of("function")?);
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
            let f = self.figures_of(subject.name)?;
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
            let f = self.figures_of(subject.name)?;
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
                        let Some(limited) = self.figures_of(subject.name)?.limited.get(&megabytes) else { continue };
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
            let f = &self.figures_of(subject.name)?.on_database;
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
            let f = self.figures_of(subject.name)?;
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
            let f = self.figures_of(subject.name)?;
            cold.push((subject.label, f.cold_cpu.median()));
            warm.push((subject.label, f.warm_cpu.median()));
        }
        Ok(chart::bars(&[
            chart::Panel { title: "Cold: processor time of a new process and its first add, ms", bars: cold },
            chart::Panel { title: "Warm: processor time of one more add, µs", bars: warm },
        ]))
    }
}
