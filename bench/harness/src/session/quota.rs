//! A share of a processor by memory size, as in Lambda, by the quota of a control group.
//!
//! AWS documents that a function with 1,769 MB has one processor. This module assumes a proportional share for less memory,
//! and periods of 20 ms, because Lambda's period is not documented.

use std::path::PathBuf;
use std::process::Command;

use crate::Result;

const PERIOD_MICROS: u64 = 20_000;
const MB_PER_PROCESSOR: f64 = 1769.0;

/// A control group. Clones are the same group.
#[derive(Debug, Clone)]
pub struct Quota {
    group: PathBuf,
}

impl Quota {
    pub fn share(megabytes: u32) -> f64 {
        f64::from(megabytes) / MB_PER_PROCESSOR
    }

    /// Fails if this machine does not allow limits.
    pub fn new(megabytes: u32) -> Result<Self> {
        let mounts = std::fs::read_to_string("/proc/mounts")?;
        let mount = |wanted: &dyn Fn(&str, &str) -> bool| {
            mounts.lines().find_map(|line| {
                let mut words = line.split(' ').skip(1);
                let (place, kind, options) = (words.next()?, words.next()?, words.next()?);
                wanted(kind, options).then(|| PathBuf::from(place))
            })
        };
        let first = mount(&|kind, options| kind == "cgroup" && options.split(',').any(|option| option == "cpu"));
        let second = mount(&|kind, _| kind == "cgroup2");
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few thousand microseconds")]
        let micros = (PERIOD_MICROS as f64 * Self::share(megabytes)) as u64;
        let name = format!("bench-{megabytes}-{}", std::process::id());
        let quota = |place: PathBuf| Self { group: place.join(&name) };
        if let Some(quota) = first.map(quota) {
            std::fs::create_dir(&quota.group)?;
            std::fs::write(quota.group.join("cpu.cfs_period_us"), PERIOD_MICROS.to_string())?;
            std::fs::write(quota.group.join("cpu.cfs_quota_us"), micros.to_string())?;
            Ok(quota)
        } else {
            let place = second.ok_or("no control groups")?;
            std::fs::write(place.join("cgroup.subtree_control"), "+cpu")?;
            let quota = Self { group: place.join(&name) };
            std::fs::create_dir(&quota.group)?;
            std::fs::write(quota.group.join("cpu.max"), format!("{micros} {PERIOD_MICROS}"))?;
            Ok(quota)
        }
    }

    /// Limits a process and all its threads from now on.
    pub fn admit(&self, pid: u32) {
        // An error is visible in the figures: nothing would be slower.
        let _ = std::fs::write(self.group.join("cgroup.procs"), pid.to_string());
    }

    /// The command, limited from its start.
    pub fn wrap(&self, command: &Command) -> Command {
        let mut wrapped = Command::new("sh");
        wrapped.args(["-c", "echo $$ > \"$0\" && exec \"$@\""]).arg(self.group.join("cgroup.procs"));
        wrapped.arg(command.get_program()).args(command.get_args()).env_clear();
        for (name, value) in command.get_envs() {
            if let Some(value) = value {
                wrapped.env(name, value);
            }
        }
        wrapped
    }

    /// Removes the group. Its processes must have ended.
    pub fn remove(self) {
        let _ = std::fs::remove_dir(self.group);
    }
}
