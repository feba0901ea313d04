//! The code broken on purpose: each break is an edit of the shipped code, and the simulation must find it.
//!
//! A break is applied to a copy of the sources, built, and run. The copy has a target directory of its own: cargo names what
//! it builds by the path within the workspace, so in a shared directory broken code could be taken for ours.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// One way to break the code.
#[derive(Debug, Clone, Copy)]
pub struct Break {
    /// Its name.
    pub name: &'static str,
    /// File, text, and what the text becomes.
    pub edits: &'static [(&'static str, &'static str, &'static str)],
}

const TRANSACTION: &str = "src/store/transaction.rs";
const RETRY: &str = "src/store/retry.rs";
const READ: &str = "src/store/read.rs";
const FAILURE: &str = "src/store/failure.rs";
const CANCELLATION: &str = "src/store/cancellation.rs";
const CLIENT: &str = "src/store/client.rs";
const ADD: &str = "src/store/operations/add_phone.rs";
const REMOVE: &str = "src/store/operations/remove_phone.rs";
const CONSENT: &str = "src/store/stored_consent.rs";
const UPDATE_CONSENT: &str = "src/store/operations/update_consent.rs";
const DELETE: &str = "src/store/operations/delete_customer.rs";
const AUTH: &str = "src/auth.rs";
const CHANGE: &str = "cdm/src/table/change.rs";

/// Every break.
pub const BREAKS: &[Break] = &[
    Break {
        name: "a new token for each attempt, in doubt or not",
        edits: &[(TRANSACTION, "            if !in_doubt {", "            if !in_doubt || in_doubt {")],
    },
    Break {
        name: "a refusal is answered while an attempt is in doubt",
        edits: &[(
            TRANSACTION,
            "TransactionOutcome::Cancelled(result) if ended.in_doubt => {",
            "TransactionOutcome::Cancelled(result) if ended.in_doubt && token.is_none() => {",
        )],
    },
    Break {
        name: "a token that was taken before is read as a refusal",
        edits: &[(TRANSACTION, "Ok(TokenHolder::Earlier))", "Ok(TokenHolder::TakeToken))")],
    },
    Break {
        name: "a token that was taken before is read as a success",
        edits: &[(
            TRANSACTION,
            "            TokenHolder::Earlier => {\n",
            "            TokenHolder::Earlier if token.is_some() => Ok(committed),\n            TokenHolder::Earlier => {\n",
        )],
    },
    Break { name: "the SDK retries", edits: &[(CLIENT, "RetryConfig::disabled()", "RetryConfig::standard()")] },
    Break {
        name: "an empty response counts as a success",
        edits: &[(CLIENT, "Some([]) => Err(\"an empty response\".into()),", "Some([]) => Ok(()),")],
    },
    Break {
        name: "try_again after an attempt whose outcome is unknown",
        edits: &[(
            RETRY,
            "unknown.map_or(StoreError::TryAgain(refused), StoreError::Internal)",
            "StoreError::TryAgain(unknown.unwrap_or(refused))",
        )],
    },
    Break {
        name: "the last attempt's outcome is taken for that of all",
        edits: &[(
            RETRY,
            "                refused = detail;\n                // This attempt had",
            "                refused = detail;\n                unknown = None;\n                // This attempt had",
        )],
    },
    Break {
        name: "an attempt that timed out counts as not sent",
        edits: &[(
            RETRY,
            "Attempt::Unknown(FailureDetail::new(Cause::TimedOut))",
            "Attempt::Unsent(FailureDetail::new(Cause::TimedOut))",
        )],
    },
    Break {
        name: "an attempt may outlast the deadline",
        edits: &[(RETRY, "timeout(time_left.min(ATTEMPT_TIMEOUT), attempt", "timeout(ATTEMPT_TIMEOUT, attempt")],
    },
    Break {
        name: "contention is retried until the deadline",
        edits: &[(
            RETRY,
            "                    retry_until = deadline.contention_end;\n",
            "                    retry_until = deadline.end;\n",
        )],
    },
    Break {
        name: "a 5xx of DynamoDB counts as a refusal",
        edits: &[(
            FAILURE,
            "Attempt::Unknown(detail(Cause::ServiceFailed))",
            "Attempt::Contended(detail(Cause::ServiceFailed))",
        )],
    },
    Break {
        name: "a lost connection counts as never made",
        edits: &[(
            FAILURE,
            "} else if !never_connected(failure) {\n                Attempt::Unknown(",
            "} else if !never_connected(failure) {\n                Attempt::Unsent(",
        )],
    },
    Break {
        name: "the counter decides while the record's outcome is unknown",
        edits: &[(
            CANCELLATION,
            "let refused = reasons.iter().enumerate().find(|(_, reason)| reason.code != PASSED);",
            "let refused = [true, false].into_iter().find_map(|only| {\n        reasons.iter().enumerate().find(|(_, reason)| if only { reason.code == CONDITION } else { reason.code != PASSED })\n    });",
        )],
    },
    Break {
        name: "a customer may have one number more than the limit",
        edits: &[(ADD, "AND phone_count < :limit", "AND phone_count <= :limit")],
    },
    Break {
        name: "a number may have one customer more than the limit",
        edits: &[(ADD, "OR ccid_count < :limit", "OR ccid_count <= :limit")],
    },
    Break {
        name: "a removal does not decrement the record's count",
        edits: &[(
            REMOVE,
            "REMOVE notification_channels.#e164 ADD phone_count :minus_one",
            "REMOVE notification_channels.#e164",
        )],
    },
    Break {
        name: "a removal does not decrement the number's count",
        edits: &[(REMOVE, "ADD ccid_count :minus_one DELETE ccids :ccid_set", "DELETE ccids :ccid_set")],
    },
    Break {
        name: "the same Idempotency-Key with other values is a replay",
        edits: &[(
            ADD,
            "(Some(stored), Some(own)) if stored == own =>",
            "(Some(stored), Some(own)) if stored.key == own.key || stored == own =>",
        )],
    },
    Break {
        name: "a replay is refused",
        edits: &[(
            ADD,
            "(Some(stored), Some(own)) if stored == own => Ok(AddOutcome::Replayed),",
            "(Some(stored), Some(own)) if stored == own => Err(StoreError::PhoneAlreadyAdded),",
        )],
    },
    Break {
        name: "an expired key is accepted",
        edits: &[
            (
                AUTH,
                "record.expires_at.is_some_and(|expires_at| expires_at <= now)",
                "record.expires_at.is_some_and(|expires_at| expires_at <= now && cached_is_off)",
            ),
            (
                AUTH,
                "        let now = context.now;\n",
                "        let now = context.now;\n        let cached_is_off = self.lifetime.is_zero();\n",
            ),
        ],
    },
    Break {
        name: "a revoked key is accepted",
        edits: &[(AUTH, "if record.revoked {", "if record.revoked && self.lifetime.is_zero() {")],
    },
    Break {
        name: "a key is accepted for every client",
        edits: &[(AUTH, "if expired || record.client_id != client_id {", "if expired {")],
    },
    Break {
        name: "the key cache measures age by the monotonic clock",
        // The real clock hardly moves during a run. So it stands for a monotonic clock, which stops while an environment is
        // frozen: the age of a key does not grow.
        edits: &[
            (AUTH, "    cached_at: UnixMillis,\n", "    cached_at: UnixMillis,\n    since: std::time::Instant,\n"),
            (
                AUTH,
                "Entry { cached_at: now, record }",
                "Entry { cached_at: now, since: std::time::Instant::now(), record }",
            ),
            (AUTH, "age < self.lifetime)", "age < self.lifetime) || entry.since.elapsed() < self.lifetime"),
        ],
    },
    Break {
        name: "an add lifts a stop",
        edits: &[(
            CONSENT,
            "             REMOVE express_at ADD ccid_count :one, ccids :ccid_set",
            "             REMOVE express_at, stop_at ADD ccid_count :one, ccids :ccid_set",
        )],
    },
    Break {
        name: "a lift does not name the stop that it lifts",
        edits: &[(
            CONSENT,
            "parts.push(format!(\"{name} = :seen_{name}\"));",
            "parts.push(format!(\"attribute_exists({name}) AND :seen_{name} = :seen_{name}\"));",
        )],
    },
    Break {
        name: "a stop for an unknown number has no count",
        edits: &[(
            UPDATE_CONSENT,
            "            set.push_str(\", ccid_count = :zero\");\n",
            "            condition.push_str(\" AND :zero = :zero\");\n",
        )],
    },
    Break {
        name: "a deletion leaves the customer in its numbers",
        edits: &[(DELETE, "ADD ccid_count :minus_one DELETE ccids :ccid_set", "ADD ccid_count :minus_one")],
    },
    Break {
        name: "a deletion does not check whether the record changed",
        edits: &[(
            DELETE,
            "\"created_at = :created_at AND phone_count = :count AND notification_channels = :channels\"",
            "\"created_at = :created_at OR phone_count = :count OR notification_channels = :channels\"",
        )],
    },
    Break {
        name: "a repair does not check whether the item changed",
        edits: &[(
            CHANGE,
            "let condition = terms.unchanged(self.before.as_ref(), self.after.as_ref());",
            "let condition = terms.unchanged(self.before.as_ref(), self.after.as_ref()).split(\" AND \").next().unwrap_or_default().to_owned();",
        )],
    },
    Break { name: "a read is not consistent", edits: &[(READ, ".consistent_read(true)", "")] },
    Break {
        name: "a log line contains a number",
        edits: &[(
            ADD,
            "                    Cancellation::RecordFull =>",
            "                    Cancellation::RecordFull if { tracing::warn!(target: \"cdm\", e164, \"full\"); false } => return not_decided(Cancellation::Conflict, error),\n                    Cancellation::RecordFull =>",
        )],
    },
    Break {
        name: "try_again has no Retry-After",
        edits: &[(
            "src/error.rs",
            "response.with_header(\"retry-after\", retry_after(sources.fraction()))",
            "response.with_header(\"x-retry-after\", retry_after(sources.fraction()))",
        )],
    },
];

/// The workspace that this program was built from.
fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_owned).unwrap_or_default()
}

/// A copy of the sources, to which one break at a time is applied.
#[derive(Debug)]
pub struct SourceCopy {
    root: PathBuf,
    target: PathBuf,
    profile: &'static str,
}

impl SourceCopy {
    /// Copies the sources into cargo's target directory.
    ///
    /// # Errors
    /// A file that cannot be copied.
    pub fn new() -> io::Result<Self> {
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), PathBuf::from);
        let target = std::path::absolute(target)?;
        let (root, target) = (target.join("broken"), target.join("broken-target"));
        let profile = if cfg!(debug_assertions) { "dev" } else { "simulation" };
        let copy = Self { root, target, profile };
        let manifest = fs::read_to_string(workspace().join("Cargo.toml"))?;
        let members = manifest.lines().find_map(|line| line.strip_prefix("members = [")).unwrap_or_default();
        let members = members.split('"').skip(1).step_by(2).map(PathBuf::from).chain([PathBuf::new()]);
        for part in members
            .flat_map(|member| [member.join("Cargo.toml"), member.join("src")])
            .chain(["Cargo.lock", "openapi.yaml"].map(PathBuf::from))
        {
            copy_files(&workspace().join(&part), &copy.root.join(&part))?;
        }
        Ok(copy)
    }

    fn edit(&self, file: &str, from: &str, to: &str) -> io::Result<()> {
        let path = self.root.join(file);
        let text = fs::read_to_string(&path)?;
        if text.matches(from).count() != 1 {
            return Err(io::Error::other(format!("{file} does not contain exactly once: {from}")));
        }
        fs::write(&path, text.replace(from, to))
    }

    /// Applies the break, builds, and returns the program. [`SourceCopy::restore`] undoes the edits.
    ///
    /// # Errors
    /// A text that the sources do not have, or a build that fails.
    pub fn build(&self, broken: &Break) -> io::Result<PathBuf> {
        for (file, from, to) in broken.edits {
            self.edit(file, from, to)?;
        }
        let built = Command::new("cargo")
            .args(["build", "--quiet", "--offline", "--package", "simulation", "--profile", self.profile])
            .arg("--target-dir")
            .arg(&self.target)
            .current_dir(&self.root)
            .status()?;
        if !built.success() {
            return Err(io::Error::other(format!("{}: the build fails", broken.name)));
        }
        let folder = if self.profile == "dev" { "debug" } else { self.profile };
        Ok(self.target.join(folder).join("simulation"))
    }

    /// Undoes the edits of a break.
    ///
    /// # Errors
    /// A file that cannot be copied.
    pub fn restore(&self, broken: &Break) -> io::Result<()> {
        for (file, _, _) in broken.edits {
            fs::copy(workspace().join(file), self.root.join(file))?;
        }
        Ok(())
    }
}

/// Makes a file or a folder the same as another. It does not touch files that are the same already, because cargo would build
/// them again.
fn copy_files(from: &Path, to: &Path) -> io::Result<()> {
    if from.is_dir() {
        fs::create_dir_all(to)?;
        for entry in fs::read_dir(to)? {
            let entry = entry?;
            if !from.join(entry.file_name()).exists() {
                remove(&entry.path())?;
            }
        }
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            copy_files(&entry.path(), &to.join(entry.file_name()))?;
        }
        return Ok(());
    }
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder)?;
    }
    let text = fs::read(from)?;
    if fs::read(to).is_ok_and(|old| old == text) {
        return Ok(());
    }
    fs::write(to, text)
}

fn remove(path: &Path) -> io::Result<()> {
    if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
}

/// How a break was found.
#[derive(Debug)]
pub struct Found {
    /// The first seed that fails.
    pub seed: u64,
    /// What was wrong.
    pub violation: String,
    /// What the shrunk plan consists of.
    pub shrunk: String,
}

/// Runs seeds of the broken program until one fails, and shrinks it. `None` if no seed fails.
///
/// # Errors
/// A program that cannot be run.
pub fn find(program: &Path, seeds: u64, requests: u32) -> io::Result<Option<Found>> {
    let output = |arguments: &[String]| -> io::Result<String> {
        let output = Command::new(program).args(arguments).output()?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let argument = |name: &str, value: u64| [format!("--{name}"), value.to_string()];
    let requests = argument("requests", requests.into());
    let many = [
        vec!["many".to_owned(), "--first".to_owned()],
        argument("from", 1).into(),
        argument("to", seeds).into(),
        requests.clone().into(),
    ];
    let many = output(&many.concat())?;
    let failed = many.lines().find_map(|line| line.strip_prefix("seed ")?.split_once(": FAILED: "));
    let Some((seed, violation)) = failed.and_then(|(seed, violation)| Some((seed.parse().ok()?, violation))) else {
        return Ok(None);
    };
    let shrunk = output(&[vec!["shrink".to_owned()], argument("seed", seed).into(), requests.into()].concat())?;
    let shrunk = shrunk.lines().find_map(|line| line.strip_prefix("shrunk to ")).unwrap_or("nothing").to_owned();
    Ok(Some(Found { seed, violation: violation.to_owned(), shrunk }))
}
