//! Medians, quantiles, number formats and Markdown tables.

use std::time::Duration;

use serde_json::{Value, json};

/// Measurements of the same quantity.
#[derive(Debug, Clone, Default)]
pub struct Series(Vec<f64>);

impl Series {
    pub fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    pub fn extend(&mut self, values: impl IntoIterator<Item = f64>) {
        self.0.extend(values);
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value at this share of the sorted measurements.
    pub fn quantile(&self, share: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
        let index = ((sorted.len() as f64 - 1.0).max(0.0) * share).round() as usize;
        sorted.get(index).copied().unwrap_or(f64::NAN)
    }

    /// Adds all measurements of another series.
    pub fn append(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    pub fn mean(&self) -> f64 {
        self.0.iter().sum::<f64>() / self.0.len() as f64
    }

    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// The median of the ratios to the other series' measurement of the same round, which had the same conditions.
    pub fn ratio_to(&self, other: &Self) -> f64 {
        Self(self.0.iter().zip(&other.0).map(|(a, b)| a / b).collect()).median()
    }

    /// `12.3 (12.0-12.9)`: the median, and the range of the middle half.
    pub fn shown(&self) -> String {
        if self.is_empty() {
            return "-".to_owned();
        }
        format!("{} ({}-{})", plain(self.median()), plain(self.quantile(0.25)), plain(self.quantile(0.75)))
    }

    pub fn json(&self) -> Value {
        json!({
            "median": rounded(self.median()),
            "p25": rounded(self.quantile(0.25)),
            "p75": rounded(self.quantile(0.75)),
            "p99": rounded(self.quantile(0.99)),
            "count": self.0.len(),
        })
    }
}

fn rounded(value: f64) -> f64 {
    (value * 10_000.0).round() / 10_000.0
}

/// A number for a table: at most two decimals, and none from 100 on.
pub fn plain(value: f64) -> String {
    match value.abs() {
        v if !v.is_finite() => "-".to_owned(),
        v if v >= 99.5 => thousands(value),
        v if v >= 9.95 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// An integer with separators: `12,345`.
pub fn thousands(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if value <= -0.5 { format!("-{text}") } else { text }
}

/// A number of instructions in millions or thousands.
pub fn instructions(count: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let count = count as f64;
    if count >= 1e6 { format!("{} M", plain(count / 1e6)) } else { format!("{} k", plain(count / 1e3)) }
}

/// A Markdown table.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let line = |cells: Vec<&str>| format!("| {} |\n", cells.join(" | "));
    let mut text = line(head.to_vec());
    text += &line(head.iter().enumerate().map(|(index, _)| if index == 0 { "---" } else { "---:" }).collect());
    for row in rows {
        text += &line(row.iter().map(String::as_str).collect());
    }
    text
}

/// Milliseconds.
pub fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Microseconds.
pub fn us(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}
