//! What a check has read so far, in memory and in the file from which an interrupted check continues.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use cdm_lambda::time::UnixMillis;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::table::connection::TableAddress;
use crate::table::dynamo_json;
use crate::table::scan::Position;
use crate::table::scan::sums::Sums;
use crate::ui::Failure;

const FORMAT: &str = "cdm check";
const VERSION: u32 = 2;

/// The largest number of idle numbers that one run deletes. It bounds the memory.
pub(crate) const MOST_IDLE: usize = 100_000;

/// The progress of the first reading, and what it has found.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Reading {
    pub(crate) began: UnixMillis,
    /// One for each part of the table.
    pub(crate) positions: Vec<Position>,
    pub(crate) counts: Counts,
    pub(crate) sums: Sums,
    /// The keys of items that are corrupt by themselves: partition and sort key.
    pub(crate) corrupt: BTreeSet<(String, String)>,
    /// The partition keys of numbers without customers, up to [`MOST_IDLE`].
    pub(crate) idle: BTreeSet<String>,
}

/// How much was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Counts {
    pub(crate) customers: u64,
    pub(crate) phones: u64,
    pub(crate) keys: u64,
    /// Pairs of a customer and a number, as the records have them.
    pub(crate) pairs: u64,
    /// All numbers without customers.
    pub(crate) idle: u64,
}

impl Reading {
    pub(crate) fn new(segments: i32, began: UnixMillis) -> Self {
        Self {
            began,
            positions: vec![Position::Beginning; usize::try_from(segments).unwrap_or(1)],
            counts: Counts::default(),
            sums: Sums::new(fastrand::u64(..)),
            corrupt: BTreeSet::new(),
            idle: BTreeSet::new(),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct OnDisk {
    format: String,
    version: u32,
    #[serde(flatten)]
    address: TableAddress,
    /// In milliseconds since 1970. Version 1 does not have it.
    #[serde(default)]
    began: u64,
    /// `null` for the beginning, `"end"`, or the key after which the reading continues.
    positions: Vec<Value>,
    counts: Counts,
    corrupt: BTreeSet<(String, String)>,
    idle: BTreeSet<String>,
    sums: String,
}

/// The file of an interrupted check.
#[derive(Debug, Clone)]
pub(crate) struct ResumeFile(pub(crate) PathBuf);

impl ResumeFile {
    /// What an earlier run has read. `None` if the file does not exist.
    ///
    /// # Errors
    /// The file has another format, or belongs to another table or version.
    pub(crate) fn load(&self, address: &TableAddress) -> Result<Option<Reading>, Failure> {
        let shown = self.0.display();
        let text = match std::fs::read(&self.0) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Failure(format!("{shown} cannot be read ({error})"))),
        };
        let on_disk: OnDisk =
            serde_json::from_slice(&text).ok().filter(|on_disk: &OnDisk| on_disk.format == FORMAT).ok_or_else(
                || Failure(format!("{shown} is not a file of an interrupted check: name another with --resume")),
            )?;
        if on_disk.address != *address {
            return Err(Failure(format!("{shown} is of {}: name another file with --resume", on_disk.address)));
        }
        let reading = || {
            let position = |value: &Value| match value {
                Value::Null => Some(Position::Beginning),
                Value::String(_) => Some(Position::End),
                key => Some(Position::After(dynamo_json::to_item(key)?)),
            };
            Some(Reading {
                began: UnixMillis::new(on_disk.began)?,
                positions: on_disk.positions.iter().map(position).collect::<Option<_>>()?,
                counts: on_disk.counts,
                sums: Sums::from_bytes(&BASE64.decode(&on_disk.sums).ok()?)?,
                corrupt: on_disk.corrupt,
                idle: on_disk.idle,
            })
        };
        let is_known = on_disk.version == VERSION && !on_disk.positions.is_empty() && on_disk.positions.len() <= 100;
        let reading = is_known.then(reading).flatten();
        reading.map(Some).ok_or_else(|| {
            Failure(format!("{shown} was written by another version of this program: delete it to start again"))
        })
    }

    /// Writes the progress. If this is interrupted, the file stays as it was.
    pub(crate) fn store(&self, address: &TableAddress, reading: &Reading) -> Result<(), Failure> {
        let position = |position: &Position| match position {
            Position::Beginning => Value::Null,
            Position::After(key) => dynamo_json::from_item(key),
            Position::End => Value::String("end".to_owned()),
        };
        let on_disk = OnDisk {
            format: FORMAT.to_owned(),
            version: VERSION,
            address: address.clone(),
            began: reading.began.millis(),
            positions: reading.positions.iter().map(position).collect(),
            counts: reading.counts,
            corrupt: reading.corrupt.clone(),
            idle: reading.idle.clone(),
            sums: BASE64.encode(reading.sums.to_bytes()),
        };
        replace(&self.beside(), &self.0, &serde_json::to_vec(&on_disk).unwrap_or_default()).map_err(|error| {
            Failure(format!("{} cannot be written ({error}): name another file with --resume", self.0.display()))
        })
    }

    /// The file that is written first and then replaces the old one.
    fn beside(&self) -> PathBuf {
        let mut beside = self.0.clone().into_os_string();
        beside.push(".new");
        beside.into()
    }

    /// Deletes the file at the end of the check.
    pub(crate) fn remove(&self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn replace(beside: &Path, path: &Path, text: &[u8]) -> std::io::Result<()> {
    // An earlier run that was killed may have left it.
    let _ = std::fs::remove_file(beside);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    let mut file: File = options.open(beside)?;
    file.write_all(text)?;
    file.sync_all()?;
    std::fs::rename(beside, path)
}

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodb::types::AttributeValue;
    use cdm_lambda::store::items::Item;

    use super::*;

    #[test]
    fn what_was_read_is_read_back_for_the_same_table() {
        let folder = tempfile::tempdir().unwrap();
        let file = ResumeFile(folder.path().join("state.json"));
        let address =
            |table: &str, endpoint: &str| TableAddress { table: table.to_owned(), endpoint: endpoint.to_owned() };
        let here = address("a-table", "us-east-1");
        assert!(file.load(&here).unwrap().is_none());
        let mut reading = Reading::new(3, UnixMillis::now());
        let key = Item::from([("pk".to_owned(), AttributeValue::S("P".to_owned()))]);
        reading.positions = vec![Position::Beginning, Position::After(key), Position::End];
        reading.counts.pairs = 7;
        reading.corrupt.insert(("P".to_owned(), "S".to_owned()));
        reading.idle.insert("Q".to_owned());
        // An earlier run with the same process id was killed while it wrote.
        std::fs::write(file.beside(), "{").unwrap();
        for _ in 0..2 {
            file.store(&here, &reading).unwrap();
            assert_eq!(file.load(&here).unwrap().as_ref(), Some(&reading));
        }
        for other in [address("another", "us-east-1"), address("a-table", "http://127.0.0.1:8000")] {
            assert!(file.load(&other).unwrap_err().0.contains("is of the table a-table at us-east-1: name another"));
        }
        std::fs::write(&file.0, "{}").unwrap();
        assert!(file.load(&here).unwrap_err().0.contains("is not a file of an interrupted check"));
        file.remove();
        assert!(file.load(&here).unwrap().is_none());
    }
}
