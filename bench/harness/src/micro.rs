//! Instructions of the pieces of an add.

use std::path::Path;
use std::process::Command;

use crate::Result;
use crate::report::{instructions, table, thousands};
use crate::session::Bench;
use crate::subjects::run;

const FEW: u64 = 100;
const MANY: u64 = 300;

/// Each piece's name and what one of it takes. `route`, `request` and `items` begin by reading the event; what that
/// takes is taken off.
pub fn count(bench: &Bench, folder: &Path) -> Result<Vec<(String, u64)>> {
    let program = folder.join("target/release/micro");
    let names = String::from_utf8(run(&mut Command::new(&program))?)?;
    let one = |name: &str| -> Result<u64> {
        let total = |count: u64| -> Result<u64> {
            let profile = bench.work.join("callgrind.micro");
            let mut command = Command::new("valgrind");
            command.args(["--tool=callgrind", "--quiet"]).arg(format!("--callgrind-out-file={}", profile.display()));
            run(command.arg(&program).args([name, &count.to_string()]))?;
            let text = std::fs::read_to_string(profile)?;
            Ok(text.lines().find_map(|line| line.strip_prefix("totals: ")).ok_or("no total")?.trim().parse()?)
        };
        Ok((total(MANY)? - total(FEW)?) / (MANY - FEW))
    };
    let mut counted: Vec<(String, u64)> = Vec::new();
    for name in names.lines() {
        counted.push((name.to_owned(), one(name)?));
    }
    let of = |name: &str| counted.iter().find(|(counted, _)| counted == name).map_or(0, |(_, count)| *count);
    let (event, route, request) = (of("event"), of("route"), of("request"));
    for (name, count) in &mut counted {
        *count = match name.as_str() {
            "route" => count.saturating_sub(event),
            "request" => count.saturating_sub(route),
            "items" => count.saturating_sub(request),
            _ => *count,
        };
    }
    Ok(counted)
}

pub fn markdown(counted: &[(String, u64)]) -> String {
    let rows: Vec<_> =
        counted.iter().map(|(name, count)| vec![format!("`{name}`"), thousands(*count as f64)]).collect();
    let is_of_an_add = |name: &str| !matches!(name, "e164_country_33" | "reasons");
    let all: u64 = counted.iter().filter(|(name, _)| is_of_an_add(name)).map(|(_, count)| count).sum();
    format!(
        "{}\nTogether, of an add with country code 1: {} instructions. `reasons` are read only where DynamoDB refuses.\n",
        table(&["piece", "instructions"], &rows),
        instructions(all)
    )
}
