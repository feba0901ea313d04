//! Lines of a file of any size, in bounded memory.

use std::io::{self, BufRead};

/// The longest line that is kept. A customer with 50 numbers and every field needs a quarter of it.
pub(crate) const LONGEST: usize = 64 * 1024;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    /// Counted from 1.
    pub(crate) number: u64,
    /// The position in the file after the line, in bytes.
    pub(crate) end: u64,
    /// The text without the line end. `None` if it is longer than [`LONGEST`]; the rest of the line was
    /// skipped.
    pub(crate) bytes: Option<Vec<u8>>,
}

/// Reads and numbers lines.
#[derive(Debug)]
pub(crate) struct Lines<R> {
    from: R,
    number: u64,
    end: u64,
}

impl<R: BufRead> Lines<R> {
    pub(crate) fn new(from: R) -> Self {
        Self { from, number: 0, end: 0 }
    }

    /// Returns `None` at the end.
    pub(crate) fn next(&mut self) -> io::Result<Option<Line>> {
        let (mut bytes, mut is_long, mut is_line) = (Vec::new(), false, false);
        loop {
            let buffer = match self.from.fill_buf() {
                Ok(buffer) => buffer,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if buffer.is_empty() {
                break;
            }
            is_line = true;
            let (part, taken, ends) = match buffer.iter().position(|byte| *byte == b'\n') {
                Some(place) => (buffer.get(..place).unwrap_or_default(), place + 1, true),
                None => (buffer, buffer.len(), false),
            };
            is_long = is_long || bytes.len() + part.len() > LONGEST;
            if is_long {
                bytes = Vec::new();
            } else {
                bytes.extend_from_slice(part);
            }
            self.from.consume(taken);
            self.end += taken as u64;
            if ends {
                break;
            }
        }
        if !is_line {
            return Ok(None);
        }
        self.number += 1;
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
        Ok(Some(Line { number: self.number, end: self.end, bytes: (!is_long).then_some(bytes) }))
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    fn read(bytes: &[u8], buffer: usize) -> Vec<(u64, u64, Option<String>)> {
        let mut lines = Lines::new(BufReader::with_capacity(buffer, bytes));
        let mut all = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            all.push((line.number, line.end, line.bytes.map(|bytes| String::from_utf8(bytes).unwrap())));
        }
        all
    }

    #[test]
    fn lines_end_at_a_newline_or_the_end() {
        let text = |text: &str| Some(text.to_owned());
        for buffer in [1, 3, 4096] {
            assert_eq!(read(b"", buffer), []);
            assert_eq!(read(b"a\r\n\nbc", buffer), [(1, 3, text("a")), (2, 4, text("")), (3, 6, text("bc"))]);
            assert_eq!(read(b"a\n", buffer), [(1, 2, text("a"))]);
        }
    }

    #[test]
    fn a_line_without_end_takes_no_memory() {
        let mut bytes = vec![b'a'; LONGEST];
        bytes.push(b'\n');
        bytes.extend(vec![b'b'; 10 * LONGEST]);
        bytes.extend(b"\nc");
        let lines = read(&bytes, 4096);
        assert_eq!(lines[0].2.as_ref().map(String::len), Some(LONGEST));
        assert_eq!(lines[1], (2, 11 * LONGEST as u64 + 2, None));
        assert_eq!(lines[2].2.as_deref(), Some("c"));
    }
}
