//! The file with the old items of a command that removes or rewrites items, for `cdm undo`.
//!
//! It contains JSON lines. The first line names the format, the table, the command and the time. Each further line
//! is one item as it was (`before`) and as the command leaves it (`after`), in DynamoDB's JSON; `null` means that
//! there is no item. Every line is on disk before its item is written.
//!
//! After a write, a line says what became of the items: `{"written":[2,4]}` for the second to the fourth item of
//! the file, or `{"not_written":[2,4]}`. Whether an item without such a line was written is unknown: the command was
//! killed, or DynamoDB's response was lost.

mod read;
mod saving;

use serde::{Deserialize, Serialize};

pub(crate) use self::read::read;
pub(crate) use self::saving::{Save, SaveTo, Saving, Shared, lock, write};
use crate::table::connection::TableAddress;

const FORMAT: &str = "cdm saved items";
const VERSION: u32 = 2;

/// The members of a line about other lines.
const WRITTEN: &str = "written";
const NOT_WRITTEN: &str = "not_written";

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Header {
    format: String,
    version: u32,
    /// The table that the items belong to.
    #[serde(flatten)]
    pub(crate) address: TableAddress,
    /// The command that saved them.
    pub(crate) command: String,
    /// When it ran, RFC 3339.
    pub(crate) time: String,
}
