//! What happens before an import writes anything: it opens and inspects the input, asks the operator, and opens the
//! files beside the input. If the input cannot be read, these files stay as they are.

use std::fs::File;
use std::io::{BufReader, Cursor, Read, Seek as _};
use std::path::{Path, PathBuf};

use cdm_lambda::domain::Ccid;
use cdm_lambda::store::items;

use super::journal::{Journal, Target};
use super::preview::{self, Preview, unreadable};
use super::{Import, Job};
use crate::commands::import::lines::LONGEST;
use crate::commands::import::rejects::Rejects;
use crate::table::connection::Connection;
use crate::ui::Failure;
use crate::ui::output::{self, count};

/// An open input.
pub(super) struct Input {
    pub(super) from: Box<dyn Read + Send>,
    /// Its size, if known.
    pub(super) total: Option<u64>,
}

/// The files that an import keeps beside its input.
pub(super) struct Kept {
    pub(super) rejects: Rejects,
    pub(super) journal: Option<Journal>,
}

/// How much of a stream is inspected before anything is written. A file is inspected as a whole. If this much has no line
/// end, the first line is too long to be a header or a row.
const PREVIEW: u64 = LONGEST as u64 + 1;

impl Import {
    fn is_stdin(&self) -> bool {
        self.file.as_os_str() == "-"
    }

    fn rejects_path(&self) -> PathBuf {
        self.rejects.clone().unwrap_or_else(|| self.beside(".rejects.jsonl"))
    }

    fn journal_path(&self) -> PathBuf {
        self.journal.clone().unwrap_or_else(|| self.beside(".journal"))
    }

    /// A file beside the input, or in the current folder if the input is standard input.
    fn beside(&self, extension: &str) -> PathBuf {
        let mut name = if self.is_stdin() { "import".into() } else { self.file.clone().into_os_string() };
        name.push(extension);
        name.into()
    }

    /// Opens the input, inspects it, asks the operator, and then opens the files beside it.
    pub(super) async fn prepare(&self, connection: &Connection) -> Result<(Input, Kept), Failure> {
        let target = self.target(connection);
        let path = self.journal_path();
        let mut journal = if self.no_journal { None } else { Journal::open(&path, &target)? };
        let mut rejects = Rejects::at(self.rejects_path(), self.from_line > 1 || journal.is_some())?;
        let states = || journal.as_ref().map(Journal::states).transpose();
        let (input, preview) = if let Some((mut file, total)) = self.regular_file()? {
            let preview = Preview::new(buffered(&file), &self.client, self.from_line, states()?)?;
            file.rewind().map_err(|error| unreadable(&error))?;
            if preview.changed > 0 {
                self.ask_about_changes(preview.changed, &path)?;
                if let Some(journal) = &mut journal {
                    preview::forget_changed(buffered(&file), self.from_line, journal)?;
                }
                file.rewind().map_err(|error| unreadable(&error))?;
            }
            (Input { from: Box::new(file), total: Some(total) }, preview)
        } else {
            let (beginning, rest) = self.beginning()?;
            let is_all = (beginning.len() as u64) < PREVIEW;
            let end = beginning.iter().rposition(|byte| *byte == b'\n').map_or(beginning.len(), |end| end + 1);
            let whole_lines = beginning.get(..if is_all { beginning.len() } else { end }).unwrap_or_default();
            let preview = Preview::new(whole_lines, &self.client, self.from_line, states()?)?;
            if preview.changed > 0 {
                return Err(another_input(&path));
            }
            (Input { from: Box::new(Cursor::new(beginning).chain(rest)), total: None }, preview)
        };
        if self.no_journal {
            self.ask(
                "Without a journal every line is imported, even if an earlier run finished it. Numbers and customers that were removed or erased since then come back. Import the file?",
            )?;
        } else if journal.is_none() && !self.yes && self.has_one_of(&preview.sample, connection).await? {
            self.ask(&format!(
                "The journal {} does not exist, but customers of this input do. If an earlier run imported this input, numbers and customers that were removed or erased since then come back. Import the file?",
                path.display()
            ))?;
        }
        match &mut journal {
            Some(journal) => rejects.keep(|line| journal.has_rejected(line))?,
            None if self.no_journal => rejects.replace()?,
            none => {
                *none = Some(Journal::create(&path, &target)?);
                if let Err(failure) = rejects.replace() {
                    // If an empty journal stayed, the next run would not ask about existing
                    // customers.
                    let _ = std::fs::remove_file(&path);
                    return Err(failure);
                }
            }
        }
        if let (Some(journal), Some(header)) = (&mut journal, &preview.header) {
            journal.finish(header.number, journal.hasher().hash(header), false)?;
        }
        Ok((input, Kept { rejects, journal }))
    }

    /// The target of the import.
    fn target(&self, connection: &Connection) -> Target {
        Target { client: self.client.as_str().to_owned(), address: connection.address() }
    }

    /// The input and its size, if it is a file that can be read twice.
    fn regular_file(&self) -> Result<Option<(File, u64)>, Failure> {
        if self.is_stdin() {
            return Ok(None);
        }
        let shown = self.file.display();
        let unreadable = |error| Failure(format!("{shown} cannot be read ({error})"));
        let metadata = std::fs::metadata(&self.file).map_err(unreadable)?;
        if metadata.is_dir() {
            return Err(Failure(format!("{shown} is a directory: name a file of CSV or JSON lines")));
        }
        if !metadata.is_file() {
            return Ok(None);
        }
        Ok(Some((File::open(&self.file).map_err(unreadable)?, metadata.len())))
    }

    /// The beginning of a stream, and the rest of it.
    fn beginning(&self) -> Result<(Vec<u8>, Box<dyn Read + Send>), Failure> {
        let mut stream: Box<dyn Read + Send> = if self.is_stdin() {
            Box::new(std::io::stdin())
        } else {
            let shown = self.file.display();
            Box::new(File::open(&self.file).map_err(|error| Failure(format!("{shown} cannot be read ({error})")))?)
        };
        let mut beginning = Vec::new();
        stream.by_ref().take(PREVIEW).read_to_end(&mut beginning).map_err(|error| unreadable(&error))?;
        Ok((beginning, stream))
    }

    /// Whether one of these customers exists.
    async fn has_one_of(&self, ccids: &[Ccid], connection: &Connection) -> Result<bool, Failure> {
        for ccid in ccids {
            if connection.item(items::customer_key(&self.client, ccid)).await?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn ask_about_changes(&self, changed: u64, journal: &Path) -> Result<(), Failure> {
        self.ask(&format!(
            "{} of {} changed since an earlier run finished them ({}). Numbers and customers on these lines that were removed or erased since then come back. Import these lines?",
            count(changed, "line"),
            self.file.display(),
            journal.display(),
        ))
    }

    fn ask(&self, question: &str) -> Result<(), Failure> {
        if self.is_stdin() && !self.yes {
            // The answer would have to come from the input itself.
            return Err(Failure(format!("{question} Add --yes to do so")));
        }
        output::confirm(question, "y", self.yes)
    }
}

impl Kept {
    /// The last step of a line. If the process is killed before this step, the next run imports the line again.
    pub(super) fn finish(&mut self, job: &Job, rejected: bool) -> Result<(), Failure> {
        let (Some(journal), Some(hash)) = (&mut self.journal, job.hash) else { return Ok(()) };
        journal.finish(job.number, hash, rejected)?;
        if journal.is_sync_due() { self.sync() } else { Ok(()) }
    }

    /// Syncs the files to disk, the rejects first: after a power failure, a reason without its line in the journal is
    /// better than the opposite.
    pub(super) fn sync(&mut self) -> Result<(), Failure> {
        self.rejects.sync()?;
        self.journal.as_mut().map_or(Ok(()), Journal::sync)
    }
}

fn buffered(file: &File) -> BufReader<&File> {
    BufReader::with_capacity(LONGEST, file)
}

/// The journal belongs to another stream. A stream cannot be read twice, so do not ask.
pub(super) fn another_input(journal: &Path) -> Failure {
    Failure(format!(
        "{} is the journal of another input, or the input has changed: name another with --journal",
        journal.display()
    ))
}
