//! What commands print: tables for people, JSON for programs, and questions before anything is destroyed.

use std::borrow::Cow;
use std::io::{self, BufRead as _, IsTerminal as _, Write};

use anstyle::{AnsiColor, Style};
use clap::ValueEnum;
use serde_json::Value;
use unicode_width::UnicodeWidthStr as _;

use crate::ui::Failure;

/// The form of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Output {
    /// Tables and sentences, for people.
    #[default]
    Table,
    /// JSON, one object a line, for programs.
    Json,
}

/// A column of a table: its title, and the member of a row's object that it shows.
pub(crate) type Column = (&'static str, &'static str);

const TITLE: Style = Style::new().bold();

impl Output {
    /// Prints a sentence for people, or for programs the object with the same content.
    ///
    /// # Errors
    /// The output is closed.
    pub(crate) fn done(self, sentence: &str, object: &Value) -> Result<(), Failure> {
        match self {
            Self::Table => print_text(sentence),
            Self::Json => print_object(object),
        }
    }

    /// Prints a list: for people a table, or `nothing` if it is empty; for programs one object per row.
    ///
    /// # Errors
    /// The output is closed.
    pub(crate) fn list(self, columns: &[Column], rows: &[Value], nothing: &str) -> Result<(), Failure> {
        match self {
            Self::Json => rows.iter().try_for_each(print_object),
            Self::Table if rows.is_empty() => print_text(nothing),
            Self::Table => print_text(&table(columns, rows)),
        }
    }

    /// Prints one object: for people one member per line.
    ///
    /// # Errors
    /// The output is closed.
    pub(crate) fn details(self, members: &[Column], object: &Value) -> Result<(), Failure> {
        if self == Self::Json {
            return print_object(object);
        }
        let width = members.iter().map(|(title, _)| title.width()).max().unwrap_or_default();
        let lines: Vec<_> = members
            .iter()
            .map(|(title, member)| {
                let padding = " ".repeat(width - title.width());
                format!("{TITLE}{title}{TITLE:#}{padding}  {}", cell(object, member))
            })
            .collect();
        print_text(&lines.join("\n"))
    }
}

/// Prints text for people, whatever the output form is. Its colors appear only on a terminal.
///
/// # Errors
/// The output is closed.
pub(crate) fn print_text(text: &str) -> Result<(), Failure> {
    written(writeln!(anstream::stdout(), "{text}"))
}

/// Prints an object on its own line.
///
/// # Errors
/// The output is closed.
pub(crate) fn print_object(object: &Value) -> Result<(), Failure> {
    written(writeln!(io::stdout(), "{object}"))
}

fn written(result: io::Result<()>) -> Result<(), Failure> {
    result.map_err(|error| match error.kind() {
        // The reader closed the pipe, as `head` does.
        io::ErrorKind::BrokenPipe => Failure(String::new()),
        kind => Failure(format!("the output cannot be written ({kind})")),
    })
}

/// Prints a line for people that is not a result: a hint, a warning, progress.
pub(crate) fn note(text: &str) {
    // If standard error is closed, nothing is lost.
    let _ = writeln!(anstream::stderr(), "{text}");
}

/// Prints the line of a failed command, if it has one.
pub fn complain(failure: &Failure) {
    if failure.0.is_empty() {
        return;
    }
    let red = Style::new().fg_color(Some(AnsiColor::Red.into())).bold();
    note(&format!("{red}cdm:{red:#} {failure}"));
}

/// Asks before something is destroyed. `expected` is what the operator must type.
///
/// # Errors
/// The operator typed something else, or standard input is closed.
pub(crate) fn confirm(question: &str, expected: &str, yes: bool) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    let hint = if expected == "y" { " [y/N]" } else { "" };
    let _ = write!(anstream::stderr(), "{question}{hint} ");
    let mut answer = String::new();
    // A read error counts as no answer.
    let _ = io::stdin().lock().read_line(&mut answer);
    if !(io::stdin().is_terminal() && answer.ends_with('\n')) {
        // End the line of the question.
        note("");
    }
    let answer = answer.trim();
    if answer == expected || (expected == "y" && ["Y", "yes"].contains(&answer)) {
        return Ok(());
    }
    Err(Failure("nothing was changed: you did not confirm. Add --yes to skip the question".to_owned()))
}

fn table(columns: &[Column], rows: &[Value]) -> String {
    let cells: Vec<Vec<_>> =
        rows.iter().map(|row| columns.iter().map(|(_, member)| cell(row, member)).collect()).collect();
    let widths: Vec<_> = columns
        .iter()
        .enumerate()
        .map(|(index, (title, _))| {
            let widest = cells.iter().filter_map(|row| row.get(index)).map(|cell| cell.width()).max();
            widest.unwrap_or_default().max(title.width())
        })
        .collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded = cells.zip(&widths).map(|(cell, width)| format!("{cell}{}", " ".repeat(width - cell.width())));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let mut lines = vec![format!("{TITLE}{}{TITLE:#}", line(&mut columns.iter().map(|(title, _)| *title)))];
    lines.extend(cells.iter().map(|row| line(&mut row.iter().map(String::as_str))));
    lines.join("\n")
}

fn cell(row: &Value, member: &str) -> String {
    match row.get(member) {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) if text.is_empty() => "-".to_owned(),
        Some(Value::String(text)) => shown(text).into_owned(),
        Some(other) => other.to_string(),
    }
}

/// `1 key`, `2 keys`.
pub(crate) fn count(number: u64, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// Text from the table, safe for a terminal: characters that move the cursor or break the line are escaped.
pub(crate) fn shown(text: &str) -> Cow<'_, str> {
    if text.chars().any(char::is_control) {
        text.chars()
            .flat_map(|character| {
                let escaped = character.is_control().then(|| character.escape_unicode());
                let plain = escaped.is_none().then_some(character);
                escaped.into_iter().flatten().chain(plain)
            })
            .collect::<String>()
            .into()
    } else {
        text.into()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tables_line_up_and_show_no_control_characters() {
        let rows = [json!({ "a": "x", "b": null, "c": 7 }), json!({ "a": "日本", "b": "tab\there", "c": 12 })];
        let drawn = table(&[("A", "a"), ("BEE", "b"), ("C", "c")], &rows);
        let plain = anstream::adapter::strip_str(&drawn).to_string();
        assert_eq!(plain, "A     BEE           C\nx     -             7\n日本  tab\\u{9}here  12");
    }
}
