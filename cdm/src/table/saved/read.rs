//! Reads a file of saved items, for `cdm undo`.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use serde_json::Value;

use super::{FORMAT, Header, NOT_WRITTEN, VERSION, WRITTEN};
use crate::table::change::Change;
use crate::table::dynamo_json;
use crate::ui::Failure;

/// What a file holds.
#[derive(Debug)]
pub(crate) struct Saved {
    pub(crate) header: Header,
    /// In the order in which the command saved them, without those that were certainly not written.
    pub(crate) changes: Vec<Change>,
    /// How many of them may or may not have been written.
    pub(crate) unknown: u64,
    /// Whether the last line is incomplete.
    pub(crate) is_cut_off: bool,
}

/// Reads a file of saved items.
///
/// # Errors
/// The file does not contain saved items, or has a newer format.
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
    let (mut changes, mut is_cut_off) = (Vec::<(Change, Option<bool>)>::new(), false);
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
        take(&line, &mut changes)
            .ok_or_else(|| Failure(format!("line {number} of {shown} is not a saved item: nothing was changed")))?;
    }
    changes.retain(|(_, is_written)| *is_written != Some(false));
    let unknown = changes.iter().filter(|(_, is_written)| is_written.is_none()).count() as u64;
    Ok(Saved { header, changes: changes.into_iter().map(|(change, _)| change).collect(), unknown, is_cut_off })
}

/// Reads a line: an item, or what became of earlier ones. Returns `None` if it is neither.
fn take(line: &[u8], changes: &mut Vec<(Change, Option<bool>)>) -> Option<()> {
    let line: Value = serde_json::from_slice(line).ok()?;
    for (word, is_written) in [(WRITTEN, true), (NOT_WRITTEN, false)] {
        if let Some(marked) = line.get(word) {
            let (first, last): (usize, usize) = serde_json::from_value(marked.clone()).ok()?;
            for (_, of_change) in changes.get_mut(first.checked_sub(1)?..last)? {
                *of_change = Some(is_written);
            }
            return Some(());
        }
    }
    changes.push((change(&line)?, None));
    Some(())
}

fn change(line: &Value) -> Option<Change> {
    let side = |name| match line.get(name)? {
        Value::Null => Some(None),
        item => Some(Some(dynamo_json::to_item(item)?)),
    };
    Change::new(side("before")?, side("after")?)
}
