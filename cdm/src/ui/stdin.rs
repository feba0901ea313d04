//! Values from standard input, so that they do not appear in the shell's history or in the list of processes.

use std::borrow::Cow;
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

/// The value of an argument. `-` means the next line of standard input. clap reads the arguments in their order, so
/// the lines are used in the same order.
///
/// # Errors
/// Standard input has no more lines.
pub(crate) fn value<'a>(text: &'a str, what: &str) -> Result<Cow<'a, str>, String> {
    if text == "-" { line(what).map(Cow::Owned) } else { Ok(Cow::Borrowed(text)) }
}

/// The next line of standard input, without its end. On a terminal it asks for the line.
///
/// # Errors
/// There is no line.
pub(crate) fn line(what: &str) -> Result<String, String> {
    if io::stdin().is_terminal() {
        let _ = write!(anstream::stderr(), "{what}: ");
    }
    let mut line = String::new();
    match io::stdin().lock().read_line(&mut line) {
        Ok(0) => Err(format!("must be on standard input, which has no more lines: write the {what} to it")),
        Ok(_) => Ok(line.trim_end_matches(['\r', '\n']).to_owned()),
        Err(_) => Err("must be a line of standard input, which cannot be read as UTF-8".to_owned()),
    }
}
