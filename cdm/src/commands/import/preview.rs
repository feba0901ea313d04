//! Inspects the input of an import before anything is written: whether it can be read, which lines an earlier run
//! finished, and a sample of its customers.

use std::io::BufRead;

use cdm_lambda::domain::{Ccid, ClientId};
use cdm_lambda::time::UnixMillis;

use super::journal::{Journal, State, States};
use crate::commands::import::lines::{Line, Lines};
use crate::commands::import::row::Format;
use crate::ui::Failure;

/// How many lines from the beginning, and how many random other lines, are in the sample.
const SAMPLE: usize = 50;

/// The sample skips longer lines, so that it stays small.
const LONGEST_SAMPLE: usize = 4096;

/// The result of the inspection.
#[derive(Debug, Default)]
pub(crate) struct Preview {
    /// At how many positions the journal has a different line.
    pub(crate) changed: u64,
    /// The customers of the sample.
    pub(crate) sample: Vec<Ccid>,
    /// The first line, if it is a header.
    pub(crate) header: Option<Line>,
}

impl Preview {
    /// Inspects the input, or the available part of it, from line `from_line` on.
    ///
    /// # Errors
    /// The input or the journal cannot be read, or the first line is neither a header nor a row.
    pub(crate) fn new(
        input: impl BufRead,
        client: &ClientId,
        from_line: u64,
        mut states: Option<States>,
    ) -> Result<Self, Failure> {
        let mut lines = Lines::new(input);
        let mut preview = Self::default();
        let mut format = None;
        let (mut first, mut others, mut seen) = (Vec::new(), Vec::new(), 0_usize);
        while let Some(line) = lines.next().map_err(|error| unreadable(&error))? {
            let is_first = format.is_none();
            let format = match &mut format {
                Some(format) => format,
                none => none.insert(Format::detect(line.bytes.as_deref().unwrap_or_default())?),
            };
            let is_header = is_first && matches!(format, Format::Csv { .. });
            let state = states.as_mut().map(|states| states.next(&line)).transpose()?;
            if is_header {
                preview.header = Some(line.clone());
            }
            if line.number < from_line && !is_header {
                continue;
            }
            if matches!(state, Some((State::Changed, _))) {
                preview.changed += 1;
            }
            let Some(bytes) = line.bytes.filter(|bytes| !is_header && bytes.len() <= LONGEST_SAMPLE) else {
                continue;
            };
            if first.len() < SAMPLE {
                first.push(bytes);
                continue;
            }
            // Reservoir sampling: every other line has the same chance.
            seen += 1;
            if others.len() < SAMPLE {
                others.push(bytes);
            } else if let Some(place) = others.get_mut(fastrand::usize(..seen)) {
                *place = bytes;
            }
        }
        if let Some(format) = &mut format {
            let rows = first.iter().chain(&others).map(|line| format.row(line, client, UnixMillis::now()));
            preview.sample = rows.flatten().map(|row| row.ccid).collect();
        }
        Ok(preview)
    }
}

/// Marks each line from `from_line` on as unfinished if the journal has a different line at its position. If this run is
/// interrupted, the next run imports the rest of these lines without a question, because the operator has agreed.
///
/// # Errors
/// The input or the journal cannot be read or written.
pub(crate) fn forget_changed(input: impl BufRead, from_line: u64, journal: &mut Journal) -> Result<(), Failure> {
    let (mut lines, mut states) = (Lines::new(input), journal.states()?);
    while let Some(line) = lines.next().map_err(|error| unreadable(&error))? {
        let (state, _) = states.next(&line)?;
        if state == State::Changed && line.number >= from_line {
            journal.forget(line.number)?;
        }
    }
    Ok(())
}

/// Describes why the input cannot be read.
pub(crate) fn unreadable(error: &std::io::Error) -> Failure {
    Failure(format!("the input cannot be read ({error})"))
}
