//! The file that keeps the old items of a command that removes or rewrites something, for `cdm undo`.
//!
//! JSON lines. The first line says which format, table, command and time it is of; each further line is one item, as it
//! stood (`before`) and as the command leaves it (`after`), in DynamoDB's own JSON; `null` is no item. Every line is on
//! disk before its item is written, so the file may say more than was done and never less.

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};

use cdm_lambda::time::UnixMillis;
use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::change::Change;
use crate::output::note;
use crate::{Failure, dynamo_json};

const FORMAT: &str = "cdm saved items";
const VERSION: u32 = 1;

/// Where a command keeps the items that it repairs.
#[derive(Debug, Clone, Args)]
pub struct SaveTo {
    /// Keep the old items in this file, which must be new. Without it, in a file of this folder that is named by command
    /// and time.
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
}

/// Where a command keeps the items that it removes, if it does.
#[derive(Debug, Clone, Args)]
pub struct Save {
    #[command(flatten)]
    to: SaveTo,
    /// Keep no copy of what is removed, as an erasure wants it. There is no undo.
    #[arg(long, conflicts_with = "save")]
    no_save: bool,
}

impl SaveTo {
    /// The file, which is made when the first item is saved.
    pub(crate) fn open(self, table: &str, command: &str) -> Saving {
        let now = UnixMillis::now().to_rfc3339();
        let named =
            format!("cdm-{}-{}.jsonl", command.replace(" --", "-").replace(' ', "-"), now.replace([':', '-', '.'], ""));
        let header = Header {
            format: FORMAT.to_owned(),
            version: VERSION,
            table: table.to_owned(),
            command: command.to_owned(),
            time: now,
        };
        Saving { path: Some(self.save.unwrap_or_else(|| named.into())), header, file: None }
    }
}

impl Save {
    /// The file, which is made when the first item is saved; nothing where no copy is wanted.
    pub(crate) fn open(self, table: &str, command: &str) -> Saving {
        let saving = self.to.open(table, command);
        if self.no_save { Saving { path: None, ..saving } } else { saving }
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Header {
    format: String,
    version: u32,
    /// The table that the items are of.
    pub(crate) table: String,
    /// The command that saved them.
    pub(crate) command: String,
    /// When it ran, RFC 3339.
    pub(crate) time: String,
}

/// The file while a command runs.
#[derive(Debug)]
pub(crate) struct Saving {
    /// `None` where no copy is kept.
    path: Option<PathBuf>,
    header: Header,
    file: Option<File>,
}

impl Saving {
    /// Adds the changes. When it returns, they are on disk.
    ///
    /// # Errors
    /// The file cannot be made or written, or one of that name is there already: nothing may be changed then.
    pub(crate) fn save(&mut self, changes: &[Change]) -> Result<(), Failure> {
        let Some(path) = &self.path else { return Ok(()) };
        if changes.is_empty() {
            return Ok(());
        }
        let shown = path.display();
        let failed = |error: std::io::Error| {
            Failure(match error.kind() {
                std::io::ErrorKind::AlreadyExists => {
                    format!("{shown} is there already and was left as it is: name a new file with --save")
                }
                _ => format!("the old items cannot be kept in {shown} ({error}): name another file with --save"),
            })
        };
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
        file.write_all(lines.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)
    }

    /// Where the items are, once one was saved.
    pub(crate) fn file(&self) -> Option<&Path> {
        self.path.as_deref().filter(|_| self.file.is_some())
    }

    /// Whether copies are kept.
    pub(crate) fn keeps(&self) -> bool {
        self.path.is_some()
    }

    /// Says where the items are, or that there is no copy of them. `erased` where what was removed may be an erasure
    /// that someone asked for, of which no copy may stay.
    pub(crate) fn tell(&self, erased: bool) {
        match self.file() {
            Some(file) => {
                let file = file.display();
                let erasure = if erased { " For an erasure, delete the file, or use --no-save." } else { "" };
                note(&format!(
                    "The old items are in {file}, which you alone can read; they are personal data. `cdm undo {file}` puts \
                     them back.{erasure}"
                ));
            }
            None if !self.keeps() => note("No copy was kept: this cannot be undone."),
            None => {}
        }
    }

    /// What the command came to. Where it failed half-way, says where the items are that it may have changed.
    pub(crate) fn told_of<T>(&self, result: Result<T, Failure>) -> Result<T, Failure> {
        if result.is_err() && self.file().is_some() {
            self.tell(true);
        }
        result
    }

    /// Deletes the file: nothing was changed.
    pub(crate) fn discard(self) {
        if let (Some(path), Some(_)) = (&self.path, &self.file) {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// A new file for the operator's eyes alone, whose name is on disk, too.
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

/// What a file holds.
#[derive(Debug)]
pub(crate) struct Saved {
    pub(crate) header: Header,
    /// In the order in which the command wrote them.
    pub(crate) changes: Vec<Change>,
    /// Whether the command was cut off while it wrote the last line, whose items it then has not changed.
    pub(crate) is_cut_off: bool,
}

/// Reads a file of saved items.
///
/// # Errors
/// It is none, or one of a later version.
pub(crate) fn read(path: &Path) -> Result<Saved, Failure> {
    let shown = path.display();
    let file = File::open(path).map_err(|error| Failure(format!("{shown} cannot be read ({error})")))?;
    let not_ours = || Failure(format!("{shown} is not a file of saved items: name the one that the command named"));
    let mut reader = BufReader::new(file);
    let mut first = String::new();
    reader.read_line(&mut first).map_err(|_| not_ours())?;
    let header: Header = serde_json::from_str(&first).map_err(|_| not_ours())?;
    if header.format != FORMAT {
        return Err(not_ours());
    }
    if header.version != VERSION {
        return Err(Failure(format!(
            "{shown} has version {}, and this program reads {VERSION}: use the program that wrote it",
            header.version
        )));
    }
    let (mut changes, mut is_cut_off) = (Vec::new(), false);
    let mut line = Vec::new();
    for number in 2.. {
        line.clear();
        if reader.read_until(b'\n', &mut line).map_err(|error| Failure(format!("{shown} cannot be read ({error})")))?
            == 0
        {
            break;
        }
        if line.last() != Some(&b'\n') {
            is_cut_off = true;
            break;
        }
        let change = parse(&line)
            .ok_or_else(|| Failure(format!("line {number} of {shown} is not a saved item: nothing was changed")))?;
        changes.push(change);
    }
    Ok(Saved { header, changes, is_cut_off })
}

fn parse(line: &[u8]) -> Option<Change> {
    let line: Value = serde_json::from_slice(line).ok()?;
    let side = |name| match line.get(name)? {
        Value::Null => Some(None),
        item => Some(Some(dynamo_json::to_item(item)?)),
    };
    Change::new(side("before")?, side("after")?)
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let mut saving = SaveTo { save: Some(path.clone()) }.open("a-table", "check --fix");
        saving.save(&changes[..1]).unwrap();
        saving.save(&changes[1..]).unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        let saved = read(&path).unwrap();
        assert_eq!((saved.header.table.as_str(), saved.header.command.as_str()), ("a-table", "check --fix"));
        assert_eq!((saved.changes.as_slice(), saved.is_cut_off), (&changes[..], false));

        let text = std::fs::read(&path).unwrap();
        let failure = SaveTo { save: Some(path.clone()) }.open("a-table", "check --fix").save(&changes).unwrap_err();
        assert!(failure.0.contains("is there already"), "{failure}");
        assert_eq!(std::fs::read(&path).unwrap(), text);

        // Cut off anywhere: what is whole is read.
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
            "{\"format\":\"x\",\"version\":1,\"table\":\"t\",\"command\":\"c\",\"time\":\"t\"}\n",
        ] {
            std::fs::write(&path, bad).unwrap();
            assert!(read(&path).unwrap_err().0.contains("is not a file of saved items"), "{bad}");
        }
    }

    #[test]
    fn without_a_copy_there_is_no_file() {
        let save = Save { to: SaveTo { save: None }, no_save: true };
        let mut saving = save.open("a-table", "customer delete");
        let item = dynamo_json::to_item(&json!({ "pk": { "S": "P" }, "sk": { "S": "S" } }));
        saving.save(&[Change::new(item, None).unwrap()]).unwrap();
        assert!(saving.file().is_none() && !saving.keeps());
    }
}
