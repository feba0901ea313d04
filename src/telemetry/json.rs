//! Log lines: one JSON object per line on standard output, with the event's fields at its top level.
//!
//! No line may contain a key, a phone number, a ccid or a body. So no value of a request is ever formatted with `{:?}`,
//! and the SDK and the runtime, whose finer lines show requests, log nothing below WARN, whatever the level is.
//!
//! A request's line also carries its metrics, in `CloudWatch`'s embedded metric format, so metrics need no extra call. A
//! library for that format would write additional lines.

use std::fmt;

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer as _};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;

use crate::sources::{Machine, Sources};
use crate::time::UnixMillis;

/// The namespace of the metrics.
const NAMESPACE: &str = "CdmPhones";

/// Each set of dimensions, and the fields that are metrics under it. Every series is billed by the hour, so a metric has
/// only the dimensions that an operator needs.
const METRICS: [(&[&str], &[&str]); 3] = [
    (&["FunctionName", "operation", "code"], &["Requests"]),
    (&["FunctionName", "operation"], &["RoundTrips", "Retries", "Conflicts", "Throttles"]),
    (&["FunctionName"], &["Errors5xx", "SlowRequests", "ColdStarts", "KeyCacheHits"]),
];

/// The target of the request lines. They are written at every level, because they carry the metrics.
pub(super) const REQUEST: &str = "cdm::request";

/// The subscriber that writes every request line, and this function's other lines from `level` up, through `writer`.
pub fn subscriber<W>(level: LevelFilter, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    subscriber_with_sources(level, writer, Machine)
}

/// Like [`subscriber`], with the time of another clock in its lines.
pub fn subscriber_with_sources<W>(
    level: LevelFilter,
    writer: W,
    sources: impl Sources + 'static,
) -> impl Subscriber + Send + Sync
where
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    lines(of_at_least(level).with_target(REQUEST, LevelFilter::INFO), writer, sources)
}

/// The subscriber that writes errors only, including the lines of failed requests. The dev server uses it, because it
/// shows requests in another form.
pub fn errors<W>(writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    lines(of_at_least(LevelFilter::ERROR), writer, Machine)
}

fn of_at_least(level: LevelFilter) -> Targets {
    Targets::new().with_default(level.min(LevelFilter::WARN)).with_target("cdm", level)
}

fn lines<W>(targets: Targets, writer: W, sources: impl Sources + 'static) -> impl Subscriber + Send + Sync
where
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt::layer().event_format(JsonLine(sources)).with_writer(writer);
    tracing_subscriber::registry().with(targets).with(lines)
}

struct JsonLine<C>(C);

impl<C, S, N> FormatEvent<S, N> for JsonLine<C>
where
    C: Sources,
    S: Subscriber + for<'span> LookupSpan<'span>,
    N: for<'field> FormatFields<'field> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let line = line(event, self.0.now()).map_err(|_| fmt::Error)?;
        writer.write_str(std::str::from_utf8(&line).map_err(|_| fmt::Error)?)
    }
}

fn line(event: &Event<'_>, now: UnixMillis) -> serde_json::Result<Vec<u8>> {
    let mut line = Vec::with_capacity(1024);
    let mut serializer = serde_json::Serializer::new(&mut line);
    let mut map = serializer.serialize_map(None)?;
    // Without these two, Lambda assumes the level INFO and the time of arrival.
    map.serialize_entry("timestamp", &now.to_rfc3339())?;
    map.serialize_entry("level", event.metadata().level().as_str())?;
    let mut fields = Fields { map, recorded: Vec::new(), failed: None };
    event.record(&mut fields);
    if let Some(error) = fields.failed {
        return Err(error);
    }
    let mut map = fields.map;
    let directives = directives(&fields.recorded);
    if !directives.is_empty() {
        map.serialize_entry("_aws", &Embedded { timestamp: now.millis(), directives })?;
    }
    map.end()?;
    line.push(b'\n');
    Ok(line)
}

/// The `_aws` member, which turns fields of the line into metrics.
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>
#[derive(Serialize)]
struct Embedded {
    #[serde(rename = "Timestamp")]
    timestamp: u64,
    #[serde(rename = "CloudWatchMetrics")]
    directives: Vec<Directive>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Directive {
    namespace: &'static str,
    dimensions: [&'static [&'static str]; 1],
    metrics: Vec<Metric>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Metric {
    name: &'static str,
    unit: &'static str,
}

fn directives(recorded: &[&'static str]) -> Vec<Directive> {
    METRICS
        .into_iter()
        .map(|(dimensions, names)| Directive {
            namespace: NAMESPACE,
            dimensions: [dimensions],
            metrics: names
                .iter()
                .filter(|name| recorded.contains(name))
                .map(|name| Metric { name, unit: "Count" })
                .collect(),
        })
        .filter(|directive| !directive.metrics.is_empty())
        .collect()
}

/// Writes an event's fields. The serializer escapes line breaks and quotes, so a value cannot forge a field or a line.
struct Fields<M> {
    map: M,
    /// The names of the integer fields. Only these can be metrics.
    recorded: Vec<&'static str>,
    failed: Option<serde_json::Error>,
}

impl<M: SerializeMap<Error = serde_json::Error>> Fields<M> {
    fn put(&mut self, name: &'static str, value: &(impl Serialize + ?Sized)) {
        if let Err(error) = self.map.serialize_entry(name, value) {
            self.failed = Some(error);
        }
    }
}

impl<M: SerializeMap<Error = serde_json::Error>> Visit for Fields<M> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field.name(), value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.recorded.push(field.name());
        self.put(field.name(), &value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field.name(), &value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field.name(), &value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field.name(), &format!("{value:?}"));
    }
}

/// Makes a panic log its place only, because its message may contain a value of the request.
pub fn hide_panic_messages() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(target: "cdm", place, "the function panicked");
    }));
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::panic::{catch_unwind, set_hook, take_hook};
    use std::sync::Arc;

    use super::*;

    #[test]
    fn the_errors_subscriber_writes_errors_only() {
        let (mut reader, writer) = std::io::pipe().unwrap();
        tracing::subscriber::with_default(errors(Arc::new(writer)), || {
            tracing::info!(target: REQUEST, "an answered request");
            tracing::error!(target: REQUEST, "a failed request");
            tracing::warn!(target: "cdm", "a warning");
        });
        let mut lines = String::new();
        reader.read_to_string(&mut lines).unwrap();
        assert!(lines.contains("a failed request") && lines.lines().count() == 1, "{lines}");
    }

    #[test]
    fn a_panic_logs_its_place_only() {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let log = subscriber(LevelFilter::TRACE, Arc::new(writer));
        // The hook applies to the whole process, so restore it as soon as the panic is over.
        let before = take_hook();
        hide_panic_messages();
        let panicked = tracing::subscriber::with_default(log, || catch_unwind(|| panic!("6105551212 in a message")));
        set_hook(before);
        assert!(panicked.is_err());
        let mut lines = String::new();
        reader.read_to_string(&mut lines).unwrap();
        let line: serde_json::Value = serde_json::from_str(&lines).unwrap();
        assert_eq!(line["message"], "the function panicked");
        assert!(line["place"].as_str().unwrap().starts_with("src/telemetry/json.rs:"), "{line}");
        assert!(!lines.contains("6105551212"), "{lines}");
    }
}
