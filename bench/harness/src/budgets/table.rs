//! The budgets.

/// A budget.
pub struct Budget {
    pub name: &'static str,
    pub what: &'static str,
    pub unit: &'static str,
    /// The limit that the project promises, whatever the recorded value is.
    pub limit: Option<f64>,
    /// How far above the recorded value a value may be, in percent. Builds and machines differ by less.
    pub margin: f64,
    /// Where to look if the budget is exceeded.
    pub look: &'static str,
}

const PROFILE: &str = "build with CARGO_PROFILE_RELEASE_STRIP=none in a separate target folder, run `harness probe` on it, \
                       then `callgrind_annotate --inclusive=yes` on the files that it names";
const SIZE: &str = "`cargo tree -p cdm-lambda -e normal,features`: a new dependency or feature, or a second version \
                    of a crate (`cargo tree -d`)";
const CALLS: &str = "src/store: one GetItem for a key that is not cached, one TransactWriteItems for the add; see \
                    RoundTrips in the log line";
const UNITS: &str = "src/store/items.rs: a new item or attribute, or longer names";

pub const BUDGETS: [Budget; 13] = [
    Budget {
        name: "stripped_bytes",
        what: "bootstrap, stripped",
        unit: "bytes",
        limit: Some(7e6),
        margin: 1.0,
        look: SIZE,
    },
    Budget {
        name: "zipped_bytes",
        what: "bootstrap, zipped",
        unit: "bytes",
        limit: Some(3.2e6),
        margin: 1.0,
        look: SIZE,
    },
    Budget {
        name: "first_instructions",
        what: "init + first invoke over TLS",
        unit: "instructions",
        limit: Some(7e6),
        margin: 4.0,
        look: PROFILE,
    },
    Budget {
        name: "warm_instructions",
        what: "a warm add",
        unit: "instructions",
        limit: Some(7e5),
        margin: 4.0,
        look: PROFILE,
    },
    Budget {
        name: "calls_cold",
        what: "calls to DynamoDB of a cold add",
        unit: "calls",
        limit: Some(2.0),
        margin: 0.0,
        look: CALLS,
    },
    Budget {
        name: "calls_warm",
        what: "calls to DynamoDB of a warm add",
        unit: "calls",
        limit: Some(1.0),
        margin: 0.0,
        look: CALLS,
    },
    Budget {
        name: "connections",
        what: "connections to DynamoDB in 10,000 adds",
        unit: "connections",
        limit: Some(1.0),
        margin: 0.0,
        look: "src/store/client.rs: calls must use the connection that the start opens, and keep it open",
    },
    Budget {
        name: "units_small",
        what: "write units of an add, small record",
        unit: "units",
        limit: Some(4.0),
        margin: 0.0,
        look: UNITS,
    },
    Budget {
        name: "units_full",
        what: "write units of the 50th add",
        unit: "units",
        limit: Some(16.0),
        margin: 0.0,
        look: UNITS,
    },
    Budget {
        name: "peak_kb",
        what: "peak memory after 10,000 adds",
        unit: "kB",
        limit: Some(10_240.0),
        margin: 20.0,
        look: "data that is kept per request (src/auth.rs limits the cached keys), the allocator, a larger binary",
    },
    Budget {
        name: "growth_kb",
        what: "its growth after the first 1,000",
        unit: "kB",
        limit: Some(256.0),
        margin: 0.0,
        look: "a leak: data that is kept per request",
    },
    Budget {
        name: "direct_crates",
        what: "direct dependencies of the function",
        unit: "crates",
        limit: None,
        margin: 0.0,
        look: "Cargo.toml: is the new one necessary?",
    },
    Budget {
        name: "all_crates",
        what: "crates linked into the function",
        unit: "crates",
        limit: None,
        margin: 0.0,
        look: SIZE,
    },
];
