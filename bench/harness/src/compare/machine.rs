//! This machine, and the progress of a measurement on it.

use std::process::Command;
use std::time::Instant;

use crate::session::output;

/// The processor and the versions of the tools.
pub fn description() -> String {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let flags = cpu.lines().find_map(|line| line.strip_prefix("flags")).unwrap_or_default();
    let kind = if flags.split_whitespace().any(|flag| flag == "hypervisor") { ", virtual" } else { "" };
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let tool = |name: &str, argument: &str| {
        let text = output(Command::new(name).arg(argument)).unwrap_or_default();
        String::from_utf8_lossy(&text).lines().next().unwrap_or_default().to_owned()
    };
    format!(
        "{}, {cores} cores{kind}; {}; Node {}; {}; {}",
        model.trim_start_matches([' ', '\t', ':']),
        tool("rustc", "--version"),
        tool("node", "--version"),
        tool("python3", "--version"),
        tool("valgrind", "--version"),
    )
}

pub fn load_average() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or("?").to_owned()
}

/// Prints what is measured, with the seconds since the start.
pub struct Progress {
    pub started: Instant,
}

impl Progress {
    pub fn print(&self, what: &str) {
        eprintln!("[{:>4} s] {what}", self.started.elapsed().as_secs());
    }
}
