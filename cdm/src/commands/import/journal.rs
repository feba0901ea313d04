//! The journal of an import: which lines of its input are finished. It prevents a second run from adding again what
//! was removed or erased since the first run.
//!
//! The journal has a header of 1 KiB, then 8 bytes per line at the line's position: zero, or a hash of the line and
//! whether it was rejected. So a line costs one small write, a run reads the journal along with its input, and
//! memory does not depend on the number of lines. The hash uses a key of the journal, and only the owner can read
//! the file, because a phone number or a ccid could be guessed and the guess checked against an unkeyed hash.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufReader, Read, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::commands::import::lines::Line;
use crate::table::connection::TableAddress;
use crate::ui::Failure;

const HEADER: usize = 1024;
const SLOT: usize = 8;

/// How often the journal is synced to disk. After a power failure, the lines since the last sync are imported
/// again. A process that is killed loses no line.
const SYNC_EVERY: Duration = Duration::from_secs(1);

/// The target of an import. The journal of another target says nothing about these lines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Target {
    pub(crate) client: String,
    #[serde(flatten)]
    pub(crate) address: TableAddress,
}

#[derive(Serialize, Deserialize)]
struct Header {
    cdm_import_journal: u8,
    #[serde(flatten)]
    target: Target,
    /// In hex.
    key: String,
}

/// Computes the hashes of one journal.
#[derive(Debug, Clone)]
pub(crate) struct LineHasher {
    key: String,
}

/// The hash of a line. It is never zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LineHash(u64);

/// What the journal says about a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Unfinished,
    Finished {
        rejected: bool,
    },
    /// A different line was finished at this position.
    Changed,
}

const REJECTED: u64 = 1;
const FINISHED: u64 = 2;

impl LineHasher {
    pub(crate) fn hash(&self, line: &Line) -> LineHash {
        let mut hash = Sha256::new_with_prefix(&self.key);
        match &line.bytes {
            Some(bytes) => hash.update(bytes),
            // The line is too long to keep, so its end position identifies it.
            None => hash.update(line.end.to_be_bytes()),
        }
        let hash: [u8; 32] = hash.finalize().into();
        let first = u64::from_be_bytes(hash.first_chunk().copied().unwrap_or_default());
        LineHash(first & !REJECTED | FINISHED)
    }
}

/// The file, locked while this value exists.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    file: File,
    hasher: LineHasher,
    synced: Instant,
}

impl Journal {
    /// Opens the journal of an earlier run, or returns `None` if there is none.
    ///
    /// # Errors
    /// The file is not a journal, belongs to another import, or is in use by another run.
    pub(crate) fn open(path: &Path, target: &Target) -> Result<Option<Self>, Failure> {
        let shown = path.display();
        let file = match OpenOptions::new().read(true).write(true).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unusable(path, &error)),
        };
        let mut header = [0; HEADER];
        let header = (&file).read_exact(&mut header).ok().and_then(|()| serde_json::from_slice::<Header>(&header).ok());
        let Some(Header { cdm_import_journal: 1, target: of, key }) = header else {
            return Err(Failure(format!("{shown} is not the journal of an import: name another file with --journal")));
        };
        if of != *target {
            return Err(Failure(format!(
                "{shown} is the journal of an import for {} into {}: name another file with --journal",
                of.client, of.address
            )));
        }
        Ok(Some(Self::locked(path, file, key)?))
    }

    /// Creates a journal. It does not replace a file.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn create(path: &Path, target: &Target) -> Result<Self, Failure> {
        let mut key = [0; 16];
        getrandom::getrandom(&mut key)
            .map_err(|_| Failure("no journal was created: the system has no random numbers".to_owned()))?;
        let key = format!("{:032x}", u128::from_be_bytes(key));
        let header = Header { cdm_import_journal: 1, target: target.clone(), key };
        let mut bytes = serde_json::to_vec(&header).unwrap_or_default();
        // Names and URLs are much shorter than the header.
        bytes.resize(HEADER - 1, b' ');
        bytes.push(b'\n');
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true);
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt as _;
            options.mode(0o600);
        }
        let file = options.open(path).map_err(|error| unusable(path, &error))?;
        let journal = Self::locked(path, file, header.key)?;
        (&journal.file).write_all(&bytes).map_err(|error| unusable(path, &error))?;
        Ok(journal)
    }

    fn locked(path: &Path, file: File, key: String) -> Result<Self, Failure> {
        // If the file system does not support locks, continue without a lock.
        if let Err(TryLockError::WouldBlock) = file.try_lock() {
            return Err(Failure(format!("another import is using {}: wait until it ends", path.display())));
        }
        Ok(Self { path: path.to_owned(), file, hasher: LineHasher { key }, synced: Instant::now() })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn hasher(&self) -> LineHasher {
        self.hasher.clone()
    }

    /// Reads the journal from the first line. It does not see what is written meanwhile for lines that it has
    /// passed.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn states(&self) -> Result<States, Failure> {
        let mut file = File::open(&self.path).map_err(|error| unusable(&self.path, &error))?;
        file.seek(SeekFrom::Start(HEADER as u64)).map_err(|error| unusable(&self.path, &error))?;
        Ok(States { from: BufReader::new(file), is_at_end: false, hasher: self.hasher() })
    }

    /// Marks the line as finished.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn finish(&mut self, line: u64, hash: LineHash, rejected: bool) -> Result<(), Failure> {
        self.write(line, hash.0 | if rejected { REJECTED } else { 0 })
    }

    /// Marks the line as unfinished.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn forget(&mut self, line: u64) -> Result<(), Failure> {
        self.write(line, 0)
    }

    fn write(&mut self, line: u64, slot: u64) -> Result<(), Failure> {
        let at = HEADER as u64 + (line - 1) * SLOT as u64;
        self.file
            .seek(SeekFrom::Start(at))
            .and_then(|_| self.file.write_all(&slot.to_be_bytes()))
            .map_err(|error| unusable(&self.path, &error))
    }

    /// Whether a sync to disk is due.
    pub(crate) fn is_sync_due(&self) -> bool {
        self.synced.elapsed() >= SYNC_EVERY
    }

    /// Syncs the journal to disk.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn sync(&mut self) -> Result<(), Failure> {
        self.synced = Instant::now();
        self.file.sync_data().map_err(|error| unusable(&self.path, &error))
    }

    /// Whether the line was rejected.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn has_rejected(&mut self, line: u64) -> Result<bool, Failure> {
        let at = HEADER as u64 + line.saturating_sub(1) * SLOT as u64;
        self.file.seek(SeekFrom::Start(at)).map_err(|error| unusable(&self.path, &error))?;
        let slot = slot(&mut self.file).map_err(|error| unusable(&self.path, &error))?;
        Ok(slot.is_some_and(|slot| slot & REJECTED != 0))
    }
}

/// Iterates over what the journal says about each line.
#[derive(Debug)]
pub(crate) struct States {
    from: BufReader<File>,
    /// What follows the end was written by this run.
    is_at_end: bool,
    hasher: LineHasher,
}

impl States {
    /// The state of `line`, which must be the next line, and its hash for [`Journal::finish`].
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn next(&mut self, line: &Line) -> Result<(State, LineHash), Failure> {
        let slot = if self.is_at_end { Ok(None) } else { slot(&mut self.from) };
        let slot = slot.map_err(|error| Failure(format!("the journal cannot be read ({error})")))?;
        self.is_at_end = slot.is_none();
        let hash = self.hasher.hash(line);
        let state = match slot {
            None | Some(0) => State::Unfinished,
            Some(slot) if slot & !REJECTED == hash.0 => State::Finished { rejected: slot & REJECTED != 0 },
            Some(_) => State::Changed,
        };
        Ok((state, hash))
    }
}

/// The next 8 bytes; `None` at the end.
fn slot(from: &mut impl Read) -> io::Result<Option<u64>> {
    let mut bytes = [0; SLOT];
    match from.read_exact(&mut bytes) {
        Ok(()) => Ok(Some(u64::from_be_bytes(bytes))),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

fn unusable(path: &Path, error: &io::Error) -> Failure {
    Failure(format!(
        "the journal {} cannot be used ({error}): name another with --journal, or use --no-journal",
        path.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(client: &str) -> Target {
        let address = TableAddress { table: "cdm-phones".to_owned(), endpoint: "us-east-1".to_owned() };
        Target { client: client.to_owned(), address }
    }

    fn line(number: u64, text: &str) -> Line {
        Line { number, end: 0, bytes: Some(text.as_bytes().to_vec()) }
    }

    #[test]
    fn what_is_finished_is_known_to_the_next_run() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.journal");
        assert!(Journal::open(&path, &target("a")).unwrap().is_none());
        let mut journal = Journal::create(&path, &target("a")).unwrap();
        let lines = [line(1, "one"), line(2, "two"), line(3, "three"), line(4, "four")];
        for (number, rejected) in [(4, false), (2, true)] {
            let line = &lines[number - 1];
            journal.finish(line.number, journal.hasher().hash(line), rejected).unwrap();
        }
        drop(journal);

        let mut journal = Journal::open(&path, &target("a")).unwrap().unwrap();
        let states = |journal: &Journal, lines: &[Line]| {
            let mut states = journal.states().unwrap();
            lines.iter().map(|line| states.next(line).unwrap().0).collect::<Vec<_>>()
        };
        let [done, rejected] = [false, true].map(|rejected| State::Finished { rejected });
        assert_eq!(states(&journal, &lines), [State::Unfinished, rejected, State::Unfinished, done]);
        assert!(journal.has_rejected(2).unwrap() && !journal.has_rejected(4).unwrap());
        assert!(!journal.has_rejected(5).unwrap());
        let changed = [line(1, "1"), line(2, "2"), line(3, "3"), line(4, "4"), line(5, "5")];
        let expected = [State::Unfinished, State::Changed, State::Unfinished, State::Changed, State::Unfinished];
        assert_eq!(states(&journal, &changed), expected);
        journal.forget(2).unwrap();
        assert_eq!(states(&journal, &lines)[1], State::Unfinished);

        // Entries written during the reading belong to lines before it.
        let mut states = journal.states().unwrap();
        for number in 1..=100 {
            let line = line(number, "a line");
            let (state, hash) = states.next(&line).unwrap();
            assert!(number <= 4 || state == State::Unfinished, "{number}");
            journal.finish(number, hash, false).unwrap();
        }
    }

    #[test]
    fn a_file_of_another_kind_or_import_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.journal");
        for text in ["", "a letter\n", &"x".repeat(2000)] {
            std::fs::write(&path, text).unwrap();
            let Failure(why) = Journal::open(&path, &target("a")).unwrap_err();
            assert!(why.ends_with("is not the journal of an import: name another file with --journal"));
            assert!(Journal::create(&path, &target("a")).is_err());
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
        std::fs::remove_file(&path).unwrap();
        let first = Journal::create(&path, &target("a")).unwrap();
        let Failure(why) = Journal::open(&path, &target("b")).unwrap_err();
        assert!(why.contains("is the journal of an import for a into the table cdm-phones at us-east-1"), "{why}");
        let Failure(why) = Journal::open(&path, &target("a")).unwrap_err();
        assert!(why.starts_with("another import is using"), "{why}");
        drop(first);
        assert!(Journal::open(&path, &target("a")).unwrap().is_some());
    }

    #[test]
    fn the_journal_contains_no_text_of_a_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.journal");
        let mut journal = Journal::create(&path, &target("a")).unwrap();
        let line = line(1, "BAK-11984-007,6105551212");
        let hash = journal.hasher().hash(&line);
        journal.finish(1, hash, false).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(bytes.len(), HEADER + SLOT);
        for text in [&b"BAK-11984"[..], b"6105551212"] {
            assert!(!bytes.windows(text.len()).any(|window| window == text));
        }
        // Another journal has a different hash for the same line.
        let other = Journal::create(&folder.path().join("b.journal"), &target("a")).unwrap();
        assert_ne!(other.hasher().hash(&line), hash);
    }
}
