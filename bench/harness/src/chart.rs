//! One picture for the README, in colours that do on light and dark pages alike.

use std::fmt::Write as _;

use crate::report::plain;

pub struct Panel {
    pub title: &'static str,
    /// What, and how much of it.
    pub bars: Vec<(&'static str, f64)>,
}

const WIDTH: f64 = 760.0;
const LABEL: f64 = 200.0;
const LONGEST: f64 = 470.0;
const ROW: f64 = 24.0;

/// Bars as long as what they stand for, panel under panel.
pub fn bars(panels: &[Panel]) -> String {
    let mut body = String::new();
    let mut y = 0.0;
    for panel in panels {
        y += 24.0;
        // Writing to a string cannot fail.
        let _ = writeln!(body, r#"<text class="title" x="0" y="{y}">{}</text>"#, panel.title);
        y += 10.0;
        let most = panel.bars.iter().map(|(_, value)| *value).fold(f64::MIN_POSITIVE, f64::max);
        for (label, value) in &panel.bars {
            let length = (value / most * LONGEST).max(1.0);
            let class = if label.starts_with("this") { "own" } else { "other" };
            let (text_y, value_x) = (y + 16.0, LABEL + length + 6.0);
            let shown = plain(*value);
            let _ = writeln!(
                body,
                r#"<text class="label" x="{}" y="{text_y}">{label}</text><rect class="{class}" x="{LABEL}" y="{}" width="{length:.1}" height="{}"/><text x="{value_x:.1}" y="{text_y}">{shown}</text>"#,
                LABEL - 8.0,
                y + 3.0,
                ROW - 6.0,
            );
            y += ROW;
        }
    }
    let height = y + 8.0;
    let described: Vec<_> = panels
        .iter()
        .map(|panel| {
            let bars: Vec<_> = panel.bars.iter().map(|(label, value)| format!("{label} {}", plain(*value))).collect();
            format!("{}: {}", panel.title, bars.join(", "))
        })
        .collect();
    format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img">
<desc>{}</desc>
<style>
text {{ font: 13px system-ui, sans-serif; fill: #57606a; }}
.title {{ font-weight: 600; }}
.label {{ text-anchor: end; }}
.own {{ fill: #2f81f7; }}
.other {{ fill: #8b949e; }}
@media (prefers-color-scheme: dark) {{ text {{ fill: #adbac7; }} }}
</style>
{body}</svg>
"#,
        described.join(". ")
    )
}
