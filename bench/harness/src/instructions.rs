//! Counts the instructions of a subject by callgrind.

use std::path::Path;

use crate::database::{Backend, Database};
use crate::report::thousands;
use crate::session::{Bench, Subject};
use crate::{Result, events};

/// The instructions of a cold start with one add, and of one more add in the same process.
pub struct Instructions {
    pub first: u64,
    pub warm: u64,
}

/// A warm add's count is the difference between a run of `MANY` adds and a run of `FEW`, divided by the number of extra adds.
/// `FEW` is large enough for pools and tables to reach their final sizes.
const FEW: usize = 101;
const MANY: usize = 301;

const TRIES: usize = 12;

/// Counts adds to `customers` in turn. Each response must have `status`.
pub fn count(
    bench: &Bench,
    subject: &Subject,
    database: impl Fn() -> Result<Database>,
    customers: &[String],
    status: u16,
) -> Result<Instructions> {
    let count = |adds: usize| -> Result<u64> {
        let profile = bench.work.join(format!("callgrind.{}.{adds}", subject.name));
        // On a busy machine a connection can time out under callgrind. The count then includes a second connection.
        for _ in 0..TRIES {
            let (database, events) = (database()?, events::adds(customers, events::FIRST_NUMBER, adds)?);
            let counted = bench.instructions(subject, &database, events, status, &profile)?;
            let counts = database.counts();
            // The key is read once, or in every add if `BENCH_WITH` turns the cache off.
            let is_undisturbed = counts.connections <= 1 && [1, adds as u64].contains(&counts.reads);
            // The counts of other subjects do not show a disturbance: some read the key in every add.
            if is_undisturbed || !subject.is_ours {
                return Ok(counted);
            }
        }
        Err(format!("{}: each of {TRIES} counts was disturbed: is the machine too busy?", subject.name).into())
    };
    let first = count(1)?;
    let (few, many) = (count(FEW)?, count(MANY)?);
    Ok(Instructions { first, warm: many.saturating_sub(few) / (MANY - FEW) as u64 })
}

/// Prints the counts of a build and the names of its profiles.
pub fn probe(bench: &Bench, bootstrap: &Path) -> Result<()> {
    let database = || Database::start(&bench.certificates, Backend::AtOnce);
    let counted = count(bench, &Subject::function(bootstrap), database, &[], 200)?;
    println!(
        "init + first invoke {}, warm add {} instructions",
        thousands(counted.first as f64),
        thousands(counted.warm as f64)
    );
    println!("profiles: {}", bench.work.join(format!("callgrind.function.{{1,{FEW},{MANY}}}")).display());
    Ok(())
}
