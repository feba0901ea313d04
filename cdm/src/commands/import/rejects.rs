//! The file of rejected lines: each with its number and the reason, as JSON.

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::ui::Failure;

/// One rejected line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Reject {
    pub(crate) line: u64,
    pub(crate) reason: String,
    pub(crate) text: String,
}

/// The file. It is created with the first rejected line, and only the operator can read it.
#[derive(Debug)]
pub(crate) struct Rejects {
    path: PathBuf,
    /// Whether to keep what an earlier run rejected.
    continued: bool,
    file: Option<File>,
}

impl Rejects {
    /// Prepares the file, either to replace the rejects of an earlier run or to continue them. It does not
    /// change a file yet.
    ///
    /// # Errors
    /// The existing file does not contain rejects.
    pub(crate) fn at(path: PathBuf, continued: bool) -> Result<Self, Failure> {
        match std::fs::symlink_metadata(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Ok(metadata) if metadata.is_file() && is_ours(&path) => {}
            _ => {
                return Err(Failure(format!(
                    "{} does not contain rejects of an import: name another file with --rejects",
                    path.display()
                )));
            }
        }
        Ok(Self { path, continued, file: None })
    }

    /// Deletes the rejects of an earlier run, unless this run continues them.
    ///
    /// # Errors
    /// The file cannot be deleted.
    pub(crate) fn replace(&self) -> Result<(), Failure> {
        if self.continued {
            return Ok(());
        }
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Failure(format!("{} cannot be replaced ({error}): name another --rejects", self.path.display())))
            }
            _ => Ok(()),
        }
    }

    /// Keeps only the lines for which `is_kept` is true. A line that is cut off, or whose input line is tried
    /// again, would otherwise appear twice.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub(crate) fn keep(&mut self, mut is_kept: impl FnMut(u64) -> Result<bool, Failure>) -> Result<(), Failure> {
        let shown = self.path.display().to_string();
        let failed = |error: std::io::Error| Failure(format!("{shown} cannot be written ({error})"));
        let before = match File::open(&self.path) {
            Ok(before) => BufReader::new(before),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(failed(error)),
        };
        let mut name = self.path.clone().into_os_string();
        name.push(".new");
        let new = PathBuf::from(name);
        // An earlier run that was killed may have left it.
        let _ = std::fs::remove_file(&new);
        let mut to = BufWriter::new(open(&new, false).map_err(failed)?);
        for row in before.split(b'\n') {
            let mut row = row.map_err(failed)?;
            let Ok(reject) = serde_json::from_slice::<Reject>(&row) else { continue };
            if is_kept(reject.line)? {
                row.push(b'\n');
                to.write_all(&row).map_err(failed)?;
            }
        }
        to.into_inner()
            .map_err(std::io::IntoInnerError::into_error)
            .and_then(|file| file.sync_data())
            .map_err(failed)?;
        std::fs::rename(&new, &self.path).map_err(failed)
    }

    /// Syncs the file to disk.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn sync(&self) -> Result<(), Failure> {
        let synced = self.file.as_ref().map_or(Ok(()), File::sync_data);
        synced.map_err(|error| Failure(format!("{} cannot be written ({error})", self.path.display())))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Adds a line.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn add(&mut self, reject: &Reject) -> Result<(), Failure> {
        let shown = self.path.display().to_string();
        let failed = |error: std::io::Error| Failure(format!("{shown} cannot be written ({error})"));
        let mut line = serde_json::to_string(reject).unwrap_or_default();
        line.push('\n');
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(open(&self.path, self.continued).map_err(failed)?),
        };
        // One write per line, so that a kill cannot leave half a line.
        file.write_all(line.as_bytes()).map_err(failed)
    }
}

fn open(path: &Path, continued: bool) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true);
    if continued {
        options.create(true)
    } else {
        options.create_new(true)
    };
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    options.open(path)
}

/// Whether the file is empty or begins with a reject.
fn is_ours(path: &Path) -> bool {
    let mut first = String::new();
    let Ok(file) = File::open(path) else { return false };
    // A reject contains a line of the input, in which at worst every byte is escaped, and little more.
    let limit = 8 * crate::commands::import::lines::LONGEST as u64;
    match BufReader::new(std::io::Read::take(file, limit)).read_line(&mut first) {
        Ok(0) => true,
        Ok(_) => serde_json::from_str::<Reject>(&first).is_ok(),
        Err(_) => false,
    }
}
