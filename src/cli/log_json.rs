//! Log lines as JSON, with the field names of OpenTelemetry's log data model. The attributes have the names
//! of OpenTelemetry's semantic conventions. An attribute without such a convention has the same name as in
//! the text format.

use std::error::Error;
use std::fmt::{self, Write as _};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

use super::log_escape::JsonEscaped;
use super::log_limit::WarningLimit;
use super::timestamp;
use crate::error_chain::error_chain;

/// The target of the access log.
const ACCESS: &str = "tripgate::access";

/// The OpenTelemetry resource, which every line contains: the name and the version of the service.
const RESOURCE: &str =
    concat!(r#"{"service.name":"tripgate","service.version":""#, env!("CARGO_PKG_VERSION"), r#""}"#);

/// Formats an event as one line with a JSON object.
#[derive(Default)]
pub(super) struct JsonEvents(pub(super) WarningLimit);

impl<S, N> FormatEvent<S, N> for JsonEvents
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut out: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let meta = event.metadata();
        let Some(left_out) = self.0.admit(meta) else { return Ok(()) };
        let (severity, number) = match *meta.level() {
            Level::TRACE => ("TRACE", 1),
            Level::DEBUG => ("DEBUG", 5),
            Level::INFO => ("INFO", 9),
            Level::WARN => ("WARN", 13),
            Level::ERROR => ("ERROR", 17),
        };
        out.write_str(r#"{"timestamp":""#)?;
        timestamp::write_now(&mut out)?;
        write!(out, r#"","severity_text":"{severity}","severity_number":{number}"#)?;
        let mut record = Fields { out: out.by_ref(), part: Part::Record, is_first: false, result: Ok(()) };
        event.record(&mut record);
        record.result?;
        if meta.target() == ACCESS {
            out.write_str(r#","body":"request""#)?;
        }
        write!(out, r#","scope":{{"name":"{}"}},"resource":{RESOURCE},"attributes":{{"#, meta.target())?;
        let part = Part::Attributes(meta.target());
        let mut attributes = Fields { out: out.by_ref(), part, is_first: true, result: Ok(()) };
        event.record(&mut attributes);
        attributes.result?;
        let mut is_first = attributes.is_first;
        if left_out > 0 {
            write!(out, r#"{}"left_out":{left_out}"#, if is_first { "" } else { "," })?;
            is_first = false;
        }
        spans::<S, N>(context, &mut out, is_first)?;
        out.write_str("}}\n")
    }
}

/// Writes the spans around the event, the outermost span first. Only libraries create spans, at the level
/// `trace`.
fn spans<S, N>(context: &FmtContext<'_, S, N>, out: &mut Writer<'_>, is_first: bool) -> fmt::Result
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    let Some(scope) = context.event_scope() else { return Ok(()) };
    out.write_str(if is_first { r#""spans":["# } else { r#","spans":["# })?;
    for (index, span) in scope.from_root().enumerate() {
        write!(out, r#"{}{{"name":"{}""#, if index == 0 { "" } else { "," }, span.name())?;
        if let Some(fields) = span.extensions().get::<FormattedFields<N>>() {
            out.write_str(&fields.fields)?;
        }
        out.write_char('}')?;
    }
    out.write_char(']')
}

/// Formats the fields of a span as members of a JSON object, each after a comma.
pub(super) struct JsonFields;

impl<'w> FormatFields<'w> for JsonFields {
    fn format_fields<R: RecordFields>(&self, out: Writer<'w>, fields: R) -> fmt::Result {
        let mut fields_of_span = Fields { out, part: Part::Attributes(""), is_first: false, result: Ok(()) };
        fields.record(&mut fields_of_span);
        fields_of_span.result
    }

    fn add_fields(
        &self,
        current: &'w mut FormattedFields<Self>,
        fields: &tracing::span::Record<'_>,
    ) -> fmt::Result {
        self.format_fields(current.as_writer(), fields)
    }
}

/// The part of a log line that one pass over the fields of an event writes.
#[derive(Clone, Copy)]
enum Part {
    /// The fields of the log record itself.
    Record,
    /// The attributes of an event with this target.
    Attributes(&'static str),
}

struct Fields<'w> {
    out: Writer<'w>,
    part: Part,
    is_first: bool,
    result: fmt::Result,
}

impl Fields<'_> {
    /// Writes a field with its value, if it belongs to this part.
    fn put(&mut self, field: &Field, value: impl FnOnce(&mut Writer<'_>) -> fmt::Result) {
        let name = field.name();
        let name = name.strip_prefix("r#").unwrap_or(name);
        let name = match (self.part, record_field(name)) {
            (Part::Record, Some(name)) => name,
            (Part::Attributes(target), None) => attribute(target, name),
            _ => return,
        };
        let comma = if std::mem::take(&mut self.is_first) { "" } else { "," };
        let written = write!(self.out, r#"{comma}"{name}":"#).and_then(|()| value(&mut self.out));
        self.result = self.result.and(written);
    }

    fn put_text(&mut self, field: &Field, text: fmt::Arguments<'_>) {
        self.put(field, |out| {
            out.write_char('"')?;
            JsonEscaped(&mut *out).write_fmt(text)?;
            out.write_char('"')
        });
    }
}

impl Visit for Fields<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        // The database driver adds line breaks around a statement. If `db.statement` is empty, the field
        // `summary` contains the whole statement.
        let is_statement = field.name() == "db.statement";
        let value = if is_statement { value.trim() } else { value };
        if !(is_statement && value.is_empty()) {
            self.put_text(field, format_args!("{value}"));
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, |out| write!(out, "{value}"));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, |out| write!(out, "{value}"));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, |out| if value.is_finite() { write!(out, "{value}") } else { out.write_str("null") });
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, |out| write!(out, "{value}"));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.put_text(field, format_args!("{}", error_chain(value)));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put_text(field, format_args!("{value:?}"));
    }
}

/// Returns the name of a field of the log record, or `None` for an attribute.
fn record_field(name: &str) -> Option<&'static str> {
    match name {
        "message" => Some("body"),
        "event" => Some("event_name"),
        "trace_id" => Some("trace_id"),
        "span_id" => Some("span_id"),
        _ => None,
    }
}

/// Returns the name of an attribute.
fn attribute<'a>(target: &str, name: &'a str) -> &'a str {
    match name {
        "client_address" => "client.address",
        "user" => "user.id",
        "session" => "session.id",
        "method" => "http.request.method",
        "status" => "http.response.status_code",
        "route" => "http.route",
        "path" if target == ACCESS => "url.path",
        "path" | "file" => "file.path",
        "code" => "error.type",
        "causes" | "error" => "exception.message",
        "sql" | "db.statement" => "db.query.text",
        "summary" => "db.query.summary",
        "rows_returned" => "db.response.returned_rows",
        name => name,
    }
}
