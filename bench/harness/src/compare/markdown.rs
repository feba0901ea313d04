//! The results as the tables of `docs/performance.md`.

use super::figures::{Comparison, MEGABYTES, Record};
use crate::Result;
use crate::report::{self, plain, table, thousands};
use crate::session::Quota;

impl Comparison {
    pub fn markdown(&self) -> Result<String> {
        let (floor, function) = (self.figures("floor")?, self.figures("function")?);
        let mb = |bytes: u64| plain(bytes as f64 / 1e6);
        let mut text = format!(
            "Measured on {}, in {} s. The load average was {} before and {} after; times are reliable if both are near 1, \
             processor times and instructions always. A value is a median, followed by the range of the middle half. {} \
             processes of each implementation run in turn, and a ratio is the median of the ratios of the rounds. The \
             database responds at once, over TLS. The system has {} roots.\n\n### Full processor\n\n",
            self.machine,
            self.took.as_secs(),
            self.loads.0,
            self.loads.1,
            self.rounds,
            self.system_roots
        );
        let mut rows = Vec::new();
        for subject in &self.subjects {
            let f = self.figures(subject.name)?;
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
                "both, to the floor's",
                "to this function's",
            ],
            &rows,
        );
        rows.clear();
        for subject in &self.subjects {
            let f = self.figures(subject.name)?;
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
            "\nThe function's first add takes {} ms in addition to the database's time.\n",
            function.first_over_database.shown()
        );

        text += "\n### A share of a processor\n\n";
        match &self.no_limits {
            Some(why) => text += &format!("Not measured: this machine cannot limit processes ({why}).\n"),
            None => {
                text += "The quota of a control group: memory / 1,769 MB of one processor, in periods of 20 ms. It emulates the \
                         share and the period. It does not emulate how Lambda starts an environment, its network, or other \
                         tenants. \"First add\" follows an initialization with a full processor, as in Lambda. \"Cold, all \
                         limited\" includes an initialization with the share.\n";
                for megabytes in MEGABYTES {
                    rows.clear();
                    let own = function.limited.get(&megabytes).ok_or("not measured")?;
                    for subject in &self.subjects {
                        let Some(limited) = self.figures(subject.name)?.limited.get(&megabytes) else { continue };
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

        text += "\n### Two items or three\n\nWith the embedded database. It counts units as AWS bills them, but its times \
                 are not DynamoDB's.\n\n";
        rows.clear();
        for subject in self.subjects.iter().filter(|subject| subject.name != "floor") {
            let f = &self.figures(subject.name)?.on_database;
            rows.push(vec![subject.label.to_owned(), plain(f.write_units), f.database.shown(), f.warm.shown()]);
        }
        text += &table(&["", "write units per add", "the database, ms", "the add, ms"], &rows);

        text += "\n### How cost grows\n\nAll environments and the database share the cores of this machine. So the times with \
                 8 environments include waiting for a core, but the processor time of an add does not.\n\n";
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
        text += &table(&["environments", "adds per second", "p50 ms", "p99 ms", "CPU µs per add"], &rows);
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
        rows.push(shown("refused: the record has 50 numbers".to_owned(), &self.growth.refused));
        text += "\nRecords of different sizes. The response to a success holds no record, the response to a refusal holds the whole record.\n\n";
        text += &table(&["add", "bytes sent", "bytes received", "write units", "instructions"], &rows);
        text += &format!(
            "\nPeak memory: {} MB after 1,000 adds, {} MB after 10,000.\n",
            plain(self.growth.memory_mb.0),
            plain(self.growth.memory_mb.1)
        );
        Ok(text)
    }
}
