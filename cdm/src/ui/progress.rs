//! The progress of a long command: a bar on a terminal, otherwise a line now and then.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::ui::output::note;

/// How often a line is printed without a terminal.
const EVERY: Duration = Duration::from_secs(10);

pub(crate) struct Progress {
    /// The number of bytes, if known.
    total: Option<u64>,
    began: Instant,
    reported: Instant,
    /// On a terminal.
    bar: Option<ProgressBar>,
}

impl Progress {
    pub(crate) fn new(total: Option<u64>) -> Self {
        let now = Instant::now();
        let bar = std::io::stderr().is_terminal().then(|| {
            let (bar, template) = match total {
                Some(total) => (ProgressBar::new(total), "{bar:30} {percent:>3} %  {msg}, {eta} left"),
                None => (ProgressBar::no_length(), "{spinner} {msg}"),
            };
            bar.with_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        Self { total, began: now, reported: now, bar }
    }

    /// `lines` are done, and `bytes` of the input are read, which include lines in progress.
    pub(crate) fn report(&mut self, lines: u64, bytes: u64) {
        let now = Instant::now();
        if let Some(bar) = &self.bar {
            bar.set_message(rate(lines, now - self.began));
            bar.set_position(bytes);
        } else if now - self.reported >= EVERY {
            self.reported = now;
            note(&plain(lines, bytes, self.total, now - self.began));
        }
    }

    /// Removes the bar before something else is printed.
    pub(crate) fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn rate(lines: u64, took: Duration) -> String {
    let per_second = u128::from(lines) * 1000 / took.as_millis().max(1);
    format!("{lines} lines, {per_second}/s")
}

fn plain(lines: u64, bytes: u64, total: Option<u64>, took: Duration) -> String {
    let rate = rate(lines, took);
    let Some(total) = total.filter(|total| *total > 0 && bytes > 0) else {
        return rate;
    };
    let [done, left] = [bytes, total.saturating_sub(bytes)].map(u128::from);
    let seconds_left = took.as_millis() * left / done / 1000;
    format!("{rate}, {} %, {seconds_left} s left", done * 100 / u128::from(total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_line_has_rate_and_time_left() {
        let ten = Duration::from_secs(10);
        assert_eq!(plain(5000, 250, Some(1000), ten), "5000 lines, 500/s, 25 %, 30 s left");
        assert_eq!(plain(5000, 1000, Some(1000), ten), "5000 lines, 500/s, 100 %, 0 s left");
        assert_eq!(plain(5000, 250, None, ten), "5000 lines, 500/s");
        assert_eq!(plain(0, 0, Some(0), Duration::ZERO), "0 lines, 0/s");
    }
}
