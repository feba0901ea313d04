//! The results as JSON, for `scripts/costs` and for later comparisons.

use serde_json::{Value, json};

use super::figures::{Comparison, Record};
use crate::Result;

impl Comparison {
    pub fn json(&self) -> Result<Value> {
        let mut subjects = serde_json::Map::new();
        for subject in &self.subjects {
            let f = self.figures(subject.name)?;
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
            "machine": self.machine,
            "seconds": self.took.as_secs(),
            "load_average": { "before": self.loads.0, "after": self.loads.1 },
            "system_roots": self.system_roots,
            "rounds": self.rounds,
            "subjects": subjects,
            "environments": environments,
            "records": self.growth.records.iter().map(record).collect::<Vec<_>>(),
            "refused": record(&self.growth.refused),
            "peak_mb": { "after_1000": self.growth.memory_mb.0, "after_10000": self.growth.memory_mb.1 },
        }))
    }
}
