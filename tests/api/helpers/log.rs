//! The log of this test binary. Each line is searched for every value that a test has sent.

use std::io;
use std::sync::{Mutex, Once};

use tracing::level_filters::LevelFilter;

static CAPTURED: Mutex<Captured> = Mutex::new(Captured { sent: Vec::new(), lines: Vec::new(), leaks: Vec::new() });

struct Captured {
    sent: Vec<String>,
    lines: Vec<String>,
    leaks: Vec<String>,
}

/// Turns on the log at its finest level.
pub(crate) fn capture() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        tracing::subscriber::set_global_default(cdm_lambda::telemetry::subscriber(LevelFilter::TRACE, || Searched))
            .unwrap();
    });
}

/// Adds values that must not be in any later line. Ignores values that are so short that a line can hold them by chance.
pub(crate) fn sent(values: Vec<String>) {
    let mut captured = CAPTURED.lock().unwrap();
    for value in values {
        if value.len() >= 8 && !captured.sent.contains(&value) {
            captured.sent.push(value);
        }
    }
}

/// Asserts that no line so far holds a value that was sent.
pub(crate) fn assert_private() {
    let leaks = CAPTURED.lock().unwrap().leaks.clone();
    assert_eq!(leaks, Vec::<String>::new(), "the log must not hold values that were sent");
}

/// The lines so far that contain `text`.
pub(crate) fn lines_with(text: &str) -> Vec<serde_json::Value> {
    let captured = CAPTURED.lock().unwrap();
    let lines = captured.lines.iter().filter(|line| line.contains(text));
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
}

struct Searched;

impl io::Write for Searched {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut captured = CAPTURED.lock().unwrap();
        let text = String::from_utf8(line.to_vec()).unwrap();
        if captured.sent.iter().any(|value| text.contains(value.as_str())) {
            captured.leaks.push(text.clone());
        }
        captured.lines.push(text);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
