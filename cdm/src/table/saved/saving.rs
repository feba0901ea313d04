//! The file during a command: every item is saved before it is written, and marked afterwards.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cdm_lambda::time::UnixMillis;
use clap::Args;
use serde_json::{Value, json};

use super::{FORMAT, Header, NOT_WRITTEN, VERSION, WRITTEN};
use crate::table::change::{self, Change, MustHave, WriteFailure};
use crate::table::connection::{Connection, TableAddress};
use crate::table::dynamo_json;
use crate::ui::Failure;
use crate::ui::output::note;

/// Where a command saves the items that it repairs.
#[derive(Debug, Clone, Args)]
pub(crate) struct SaveTo {
    /// Save the old items in this new file. Without it, they are saved in a file of the current folder, named
    /// by command and time.
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
}

/// Whether and where a command saves the items that it removes.
#[derive(Debug, Clone, Args)]
pub(crate) struct Save {
    #[command(flatten)]
    to: SaveTo,
    /// Do not save what is removed, as an erasure requires. The command cannot be undone.
    #[arg(long, conflicts_with = "save")]
    no_save: bool,
}

impl SaveTo {
    /// The file, which is created when the first item is saved.
    pub(crate) fn open(self, address: TableAddress, command: &str) -> Saving {
        let saving = Saving::without_file(address, command);
        let named = || {
            let time = saving.header.time.replace([':', '-', '.'], "");
            format!("cdm-{}-{time}.jsonl", command.replace(" --", "-").replace(' ', "-")).into()
        };
        Saving { path: Some(self.save.unwrap_or_else(named)), ..saving }
    }
}

impl Save {
    /// The file, which is created when the first item is saved. Without a file if nothing is to be saved.
    pub(crate) fn open(self, address: TableAddress, command: &str) -> Saving {
        let saving = Saving { may_be_erasure: true, ..self.to.open(address, command) };
        if self.no_save { Saving { path: None, ..saving } } else { saving }
    }
}

/// The file during a command.
#[derive(Debug)]
pub(crate) struct Saving {
    /// `None` if nothing is saved.
    path: Option<PathBuf>,
    /// The command may be an erasure that someone requested. Then no copy may be kept.
    may_be_erasure: bool,
    header: Header,
    file: Option<File>,
    /// How many items were saved.
    items: u64,
    /// How many of them were certainly not written.
    not_written: u64,
    /// The numbers of the items that were not yet tried.
    planned: BTreeSet<u64>,
    /// The command has reported the file, or could not save items in it. Its parts that still run must stop.
    is_over: bool,
}

/// The file, shared by the parts of a command that run at the same time.
pub(crate) type Shared = Arc<Mutex<Saving>>;

/// Locks the file.
pub(crate) fn lock(saving: &Shared) -> MutexGuard<'_, Saving> {
    saving.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes saved changes together, and records in the file what became of them. Returns `false` if an item is no
/// longer as it was read. `items` are their numbers in the file.
///
/// # Errors
/// What failed, in one line.
pub(crate) async fn write(
    connection: &Connection,
    saving: &Shared,
    items: Range<u64>,
    changes: &[Change],
    must_have: &[MustHave],
) -> Result<bool, Failure> {
    lock(saving).begin(&items)?;
    let written = change::apply(connection, changes, must_have).await;
    let is_written = match &written {
        Ok(is_written) => Some(*is_written),
        Err(WriteFailure { is_certain, .. }) => is_certain.then_some(false),
    };
    if let Some(is_written) = is_written {
        lock(saving).mark(&items, is_written)?;
    }
    Ok(written?)
}

impl Saving {
    /// Nothing is saved.
    pub(crate) fn without_file(address: TableAddress, command: &str) -> Self {
        Self {
            path: None,
            may_be_erasure: false,
            header: Header {
                format: FORMAT.to_owned(),
                version: VERSION,
                address,
                command: command.to_owned(),
                time: UnixMillis::now().to_rfc3339(),
            },
            file: None,
            items: 0,
            not_written: 0,
            planned: BTreeSet::new(),
            is_over: false,
        }
    }

    pub(crate) fn shared(self) -> Shared {
        Arc::new(Mutex::new(self))
    }

    /// Saves the changes, and returns their numbers in the file. They are on disk when it returns.
    ///
    /// # Errors
    /// The file cannot be created or written, or already exists. Then nothing may be changed.
    pub(crate) fn save(&mut self, changes: &[Change]) -> Result<Range<u64>, Failure> {
        self.goes_on()?;
        let numbers = self.items + 1..self.items + 1 + changes.len() as u64;
        let Some(path) = &self.path else { return Ok(numbers) };
        if changes.is_empty() {
            return Ok(numbers);
        }
        let failed = |error: std::io::Error| unusable(path, &error);
        let mut lines = String::new();
        let file = if let Some(file) = &mut self.file {
            file
        } else {
            lines = serde_json::to_string(&self.header).unwrap_or_default() + "\n";
            self.file.insert(create(path).map_err(failed)?)
        };
        for change in changes {
            let side = |item: &Option<_>| item.as_ref().map_or(Value::Null, dynamo_json::from_item);
            lines += &json!({ "before": side(&change.before), "after": side(&change.after) }).to_string();
            lines.push('\n');
        }
        let appended = append(file, &lines).and_then(|()| file.sync_all()).map_err(failed);
        // After a failed write, the numbers of further items would be uncertain.
        self.is_over = appended.is_err();
        appended?;
        self.items = numbers.end - 1;
        self.planned.extend(numbers.clone());
        Ok(numbers)
    }

    /// Saves the changes of a command that has not written anything. If that fails, no file is left.
    pub(crate) fn save_or_report(&mut self, changes: &[Change]) -> Result<Range<u64>, Failure> {
        let saved = self.save(changes);
        self.report_on(saved)
    }

    fn goes_on(&self) -> Result<(), Failure> {
        if self.is_over { Err(Failure("the old items can no longer be saved".to_owned())) } else { Ok(()) }
    }

    /// From now on it is unknown whether these items are written, until they are marked.
    fn begin(&mut self, items: &Range<u64>) -> Result<(), Failure> {
        self.goes_on()?;
        for item in items.clone() {
            self.planned.remove(&item);
        }
        Ok(())
    }

    /// Records what became of these items. The record need not be on disk: without it, the items only count as
    /// unknown.
    fn mark(&mut self, items: &Range<u64>, is_written: bool) -> Result<(), Failure> {
        let (Some(path), Some(file)) = (&self.path, &mut self.file) else { return Ok(()) };
        let word = if is_written { WRITTEN } else { NOT_WRITTEN };
        let line = json!({ word: [items.start, items.end - 1] }).to_string() + "\n";
        append(file, &line).map_err(|error| unusable(path, &error))?;
        if !is_written {
            self.not_written += items.end - items.start;
        }
        Ok(())
    }

    /// Ends the command: items that were not tried are not written. Deletes the file if nothing was written.
    fn settle(&mut self) {
        self.is_over = true;
        let is_none_tried = self.planned.len() as u64 == self.items;
        let mut planned = std::mem::take(&mut self.planned).into_iter().peekable();
        while let Some(first) = planned.next() {
            let mut end = first + 1;
            while planned.next_if_eq(&end).is_some() {
                end += 1;
            }
            // Without the mark they count as unknown.
            let _ = self.mark(&(first..end), false);
        }
        if let (Some(path), Some(_)) = (&self.path, &self.file)
            && (is_none_tried || self.not_written == self.items)
        {
            let _ = std::fs::remove_file(path);
            self.file = None;
        }
    }

    /// The path of the file, once an item was saved.
    pub(crate) fn file(&self) -> Option<&Path> {
        self.path.as_deref().filter(|_| self.file.is_some())
    }

    /// Whether items are saved.
    pub(crate) fn keeps(&self) -> bool {
        self.path.is_some()
    }

    /// Reports where the items are saved, or that they are not. This is the last use of the file: if nothing was
    /// written, it is deleted.
    pub(crate) fn report(&mut self) {
        self.settle();
        match self.file() {
            Some(file) => {
                let file = file.display();
                let erasure =
                    if self.may_be_erasure { " For an erasure, delete the file, or use --no-save." } else { "" };
                note(&format!(
                    "The old items are in {file}, which only you can read; they are personal data. `cdm undo {file}` puts \
                     them back.{erasure}"
                ));
            }
            None if !self.keeps() => note("No copy was kept: this cannot be undone."),
            None => {}
        }
    }

    /// Returns the result. If the command failed, first reports the file with the items that it may have changed.
    pub(crate) fn report_on<T>(&mut self, result: Result<T, Failure>) -> Result<T, Failure> {
        if result.is_err() && self.file().is_some() {
            self.report();
        }
        result
    }
}

fn unusable(path: &Path, error: &std::io::Error) -> Failure {
    let shown = path.display();
    Failure(match error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            format!("{shown} already exists: name a new file with --save")
        }
        _ => format!("the old items cannot be kept in {shown} ({error}): name another file with --save"),
    })
}

/// Appends whole lines, or nothing.
fn append(file: &mut File, lines: &str) -> std::io::Result<()> {
    let length = file.metadata()?.len();
    file.write_all(lines.as_bytes()).inspect_err(|_| {
        let _ = file.set_len(length);
    })
}

/// Creates a file that only the operator can read, and syncs its directory entry.
fn create(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    let file = options.open(path)?;
    #[cfg(unix)]
    {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
        File::open(folder)?.sync_all()?;
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::super::read;
    use super::*;

    fn address() -> TableAddress {
        TableAddress { table: "a-table".to_owned(), endpoint: "us-east-1".to_owned() }
    }

    #[test]
    fn what_was_saved_is_read_and_no_file_is_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("saved.jsonl");
        let item =
            |text: &str| dynamo_json::to_item(&json!({ "pk": { "S": "P" }, "sk": { "S": "S" }, "a": { "S": text } }));
        let changes = [
            Change::new(item("1"), item("2")).unwrap(),
            Change::new(item("2"), None).unwrap(),
            Change::new(None, item("3")).unwrap(),
        ];
        let mut saving = SaveTo { save: Some(path.clone()) }.open(address(), "check --fix");
        assert_eq!(saving.save(&changes[..1]).unwrap(), 1..2);
        assert_eq!(saving.save(&changes[1..]).unwrap(), 2..4);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        let saved = read(&path).unwrap();
        assert_eq!((saved.header.address, saved.header.command.as_str()), (address(), "check --fix"));
        assert_eq!((saved.changes.as_slice(), saved.unknown, saved.is_cut_off), (&changes[..], 3, false));

        let text = std::fs::read(&path).unwrap();
        let failure = SaveTo { save: Some(path.clone()) }.open(address(), "check --fix").save(&changes).unwrap_err();
        assert!(failure.0.contains("already exists"), "{failure}");
        assert_eq!(std::fs::read(&path).unwrap(), text);

        // Wherever the file is cut off, its complete lines are read.
        let second_line = text.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        for end in second_line..text.len() {
            std::fs::write(&path, &text[..end]).unwrap();
            let saved = read(&path).unwrap();
            assert_eq!(saved.changes, changes[..saved.changes.len()]);
            assert_eq!(saved.is_cut_off, text[end - 1] != b'\n');
        }
        for bad in [
            "",
            "{}\n",
            "not JSON\n",
            "{\"format\":\"x\",\"version\":1,\"table\":\"t\",\"endpoint\":\"e\",\"command\":\"c\",\"time\":\"t\"}\n",
        ] {
            std::fs::write(&path, bad).unwrap();
            assert!(read(&path).unwrap_err().0.contains("is not a file of saved items"), "{bad}");
        }
    }

    #[test]
    fn what_became_of_each_item_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("saved.jsonl");
        let item = |text: &str| dynamo_json::to_item(&json!({ "pk": { "S": text }, "sk": { "S": "S" } }));
        let changes: Vec<_> = ["1", "2", "3", "4"].map(|text| Change::new(item(text), None).unwrap()).to_vec();
        let open = || SaveTo { save: Some(path.clone()) }.open(address(), "client delete");
        let mut saving = open();
        saving.save(&changes).unwrap();
        saving.begin(&(1..4)).unwrap();
        saving.mark(&(1..2), true).unwrap();
        saving.mark(&(2..3), false).unwrap();
        // The third item is being written when the command ends, and the fourth was not tried.
        saving.report();
        let saved = read(&path).unwrap();
        assert_eq!((saved.changes, saved.unknown), (vec![changes[0].clone(), changes[2].clone()], 1));
        assert!(saving.save(&changes).is_err() && saving.begin(&(3..4)).is_err());

        // A line about items that do not exist makes the file invalid.
        let text = std::fs::read_to_string(&path).unwrap();
        for bad in ["[4,5]", "[0,1]", "[3,2,1]", "[4,2]", "1"] {
            std::fs::write(&path, format!("{text}{{\"written\":{bad}}}\n")).unwrap();
            assert!(read(&path).unwrap_err().0.contains("is not a saved item"), "{bad}");
        }

        std::fs::remove_file(&path).unwrap();
        let mut saving = open();
        saving.save(&changes).unwrap();
        saving.begin(&(2..4)).unwrap();
        saving.mark(&(2..4), false).unwrap();
        saving.report();
        assert!(!path.exists() && saving.file().is_none());
    }

    /// As on a full disk: the second write to the file fails, and so does every line about what was saved.
    #[test]
    fn a_file_of_items_that_were_not_tried_does_not_stay() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("saved.jsonl");
        let item = |text: &str| dynamo_json::to_item(&json!({ "pk": { "S": text }, "sk": { "S": "S" } }));
        let change = |text| Change::new(item(text), None).unwrap();
        for saved_before in [0, 1] {
            let mut saving = SaveTo { save: Some(path.clone()) }.open(address(), "check --fix");
            saving.save_or_report(&vec![change("1"); saved_before]).unwrap();
            saving.file.get_or_insert_with(|| create(&path).unwrap());
            // A file that is open for reading only cannot be written.
            saving.file = Some(File::open(&path).unwrap());
            assert!(saving.save_or_report(&[change("2")]).is_err());
            assert!(!path.exists() && saving.file().is_none());
        }
    }

    #[test]
    fn without_a_copy_there_is_no_file() {
        let save = Save { to: SaveTo { save: None }, no_save: true };
        let mut saving = save.open(address(), "customer delete");
        let item = dynamo_json::to_item(&json!({ "pk": { "S": "P" }, "sk": { "S": "S" } }));
        saving.save(&[Change::new(item, None).unwrap()]).unwrap();
        assert!(saving.file().is_none() && !saving.keeps());
    }
}
