//! A look at an import's input before anything is written: whether it can be read, what an earlier run has finished of it,
//! and a sample of its lines.

use std::io::BufRead;

use cdm_lambda::domain::{Ccid, ClientId};
use cdm_lambda::time::UnixMillis;

use super::journal::{Journal, State, States};
use crate::commands::import::lines::{Line, Lines};
use crate::commands::import::row::Format;
use crate::ui::Failure;

/// How many lines of the beginning are in the sample, and how many of all the others.
const SAMPLE: usize = 50;

/// Longer lines are left out of the sample, so that it stays small.
const LONGEST_SAMPLE: usize = 4096;

/// What was seen.
#[derive(Debug, Default)]
pub(crate) struct Preview {
    /// In how many lines' places the journal has another line.
    pub(crate) changed: u64,
    /// The customers of the sample.
    pub(crate) sample: Vec<Ccid>,
    /// The first line, where it is a header.
    pub(crate) header: Option<Line>,
}

impl Preview {
    /// Reads the input, or the part of it that is here. Lines before `from_line` are of no interest.
    ///
    /// # Errors
    /// The input or the journal cannot be read, or the first line is neither a header nor an entry.
    pub(crate) fn of(
        input: impl BufRead,
        client: &ClientId,
        from_line: u64,
        mut states: Option<States>,
    ) -> Result<Self, Failure> {
        let mut lines = Lines::of(input);
        let mut preview = Self::default();
        let mut format = None;
        let (mut first, mut others, mut seen) = (Vec::new(), Vec::new(), 0_usize);
        while let Some(line) = lines.next().map_err(|error| unreadable(&error))? {
            let is_first = format.is_none();
            let format = match &mut format {
                Some(format) => format,
                none => none.insert(Format::of(line.bytes.as_deref().unwrap_or_default())?),
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
            // Each of the others is as likely to be in the sample.
            seen += 1;
            if others.len() < SAMPLE {
                others.push(bytes);
            } else if let Some(place) = others.get_mut(fastrand::usize(..seen)) {
                *place = bytes;
            }
        }
        if let Some(format) = &mut format {
            let entries = first.iter().chain(&others).map(|line| format.entry(line, client, UnixMillis::now()));
            preview.sample = entries.flatten().map(|entry| entry.ccid).collect();
        }
        Ok(preview)
    }
}

/// Takes every line from `from_line` on in whose place the journal has another one for unfinished. What this run does not
/// import is left to be asked about by the next.
///
/// # Errors
/// The input or the journal cannot be read or written.
pub(crate) fn forget_changed(input: impl BufRead, from_line: u64, journal: &mut Journal) -> Result<(), Failure> {
    let (mut lines, mut states) = (Lines::of(input), journal.states()?);
    while let Some(line) = lines.next().map_err(|error| unreadable(&error))? {
        let (state, _) = states.next(&line)?;
        if state == State::Changed && line.number >= from_line {
            journal.forget(line.number)?;
        }
    }
    Ok(())
}

/// Why the input ends here.
pub(crate) fn unreadable(error: &std::io::Error) -> Failure {
    Failure(format!("the input cannot be read ({error})"))
}
