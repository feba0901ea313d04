//! The file of `cdm dev --data`. It is checked before the embedded database opens it, so that an unusable file
//! stays unchanged and the message says what is wrong.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use dynoxide::Database;
use dynoxide::errors::DynoxideError;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::ui::Failure;

/// An open data file.
pub(crate) struct DataFile {
    pub(crate) database: Database,
    /// The lock that keeps a second dev server away. Drop it after the database: on Unix, a process that closes
    /// any handle of a file loses the locks that `SQLite` holds on the file.
    pub(crate) lock: File,
}

/// Tables that the embedded database creates in every file.
const OWN_TABLES: &str = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name IN ('_config', '_tables')";
const ALL_TABLES: &str = "SELECT count(*) FROM sqlite_master";

/// Opens `file`, or creates it.
///
/// # Errors
/// One sentence about what is wrong with the file.
pub(crate) fn open(file: &Path) -> Result<DataFile, Failure> {
    let wrong = |what: &str| Failure(format!("--data {}: {what}", file.display()));
    let path = file.to_str().ok_or_else(|| wrong("the name of the file is not UTF-8"))?;
    let is_new = match file.metadata() {
        Ok(metadata) if metadata.is_dir() => return Err(wrong("this is a directory: name a file in it")),
        Ok(metadata) if !metadata.is_file() => return Err(wrong("this is not a regular file: name another")),
        Ok(_) => false,
        Err(error) if error.kind() == ErrorKind::NotFound => true,
        Err(error) => return Err(wrong(&io(error.kind()))),
    };
    let handle = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(file);
    let lock = handle.map_err(|error| match error.kind() {
        ErrorKind::NotFound => wrong("the folder of the file does not exist: create it first"),
        kind => wrong(&io(kind)),
    })?;
    // On Windows such a lock would also keep SQLite out.
    #[cfg(unix)]
    match lock.try_lock() {
        Ok(()) => {}
        Err(std::fs::TryLockError::WouldBlock) => {
            return Err(wrong("another `cdm dev` uses the file: stop that one, or name another file"));
        }
        Err(std::fs::TryLockError::Error(error)) => return Err(wrong(&io(error.kind()))),
    }
    if !is_new {
        inspect(file).map_err(|error| wrong(&error))?;
    }
    let database = Database::new(path).map_err(|error| match error {
        DynoxideError::SqliteError(error) => wrong(sqlite(&error)),
        // Apart from SQLite's errors, it refuses only a schema that is newer than its own.
        _ => wrong("a newer version of `cdm` wrote the file: use that version, or name another file"),
    })?;
    Ok(DataFile { database, lock })
}

/// Checks that the file is an intact database of this program, or empty. Opens it read-only.
fn inspect(file: &Path) -> Result<(), String> {
    let look = || -> rusqlite::Result<(i64, i64, String)> {
        let connection = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        connection.busy_timeout(Duration::ZERO)?;
        let count = |query| connection.query_row(query, [], |row| row.get(0));
        let check = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0));
        Ok((count(ALL_TABLES)?, count(OWN_TABLES)?, check?))
    };
    let (all, own, check) = look().map_err(|error| sqlite(&error).to_owned())?;
    if all > 0 && own < 2 {
        return Err("this is another program's SQLite database: name another file".to_owned());
    }
    if check == "ok" { Ok(()) } else { Err(CORRUPT.to_owned()) }
}

const CORRUPT: &str = "the database in the file is corrupt: restore a copy, or delete the file to start with demo data";

fn sqlite(error: &rusqlite::Error) -> &'static str {
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => {
            "this is not a database: name another file, or delete this one to start with demo data"
        }
        Some(ErrorCode::DatabaseCorrupt) => CORRUPT,
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "another program has locked the file: close it there, or name another file"
        }
        Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
            "you may not write to the folder of the file, where SQLite keeps a journal beside it"
        }
        Some(ErrorCode::DiskFull) => "the disk is full",
        _ => "SQLite cannot use the file: name another",
    }
}

fn io(kind: ErrorKind) -> String {
    match kind {
        ErrorKind::PermissionDenied => "you may not read and write the file: change its permissions".to_owned(),
        ErrorKind::ReadOnlyFilesystem => "the file system is read-only: name a file elsewhere".to_owned(),
        kind => format!("the file cannot be opened ({kind})"),
    }
}
