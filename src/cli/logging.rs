//! The log: lines on standard error, as text or as JSON (`log_json.rs`), written by a separate thread. Both
//! formats escape control characters, so data from a client can't forge a line or control a terminal. Both
//! limit repeated warnings.

use std::error::Error;
use std::fmt::{self, Write as _};
use std::io::{self, IsTerminal as _};
use std::mem;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::format::{Format, FormatFields, Full, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, Subscriber as Log};
use tracing_subscriber::registry::LookupSpan;

use super::log_escape::Escaped;
use super::log_json::{JsonEvents, JsonFields};
use super::log_limit::WarningLimit;
use super::log_writer::{self, FlushGuard};
use super::timestamp;
use crate::config::{LogFormat, Settings};
use crate::error_chain::error_chain;

/// Starts the log for the whole process. Dropping the guard writes the lines that are still buffered.
pub(super) fn start(settings: &Settings) -> Result<FlushGuard, String> {
    let (writer, guard) =
        log_writer::start(io::stderr()).map_err(|error| format!("failed to start the log: {error}"))?;
    let ansi = io::stderr().is_terminal();
    let log = subscriber(&settings.log, settings.log_format, ansi, writer)?;
    tracing::subscriber::set_global_default(log).map_err(|_| "the log is already started".to_owned())?;
    Ok(guard)
}

fn subscriber<W>(
    filter: &str,
    format: LogFormat,
    ansi: bool,
    writer: W,
) -> Result<Box<dyn Subscriber + Send + Sync>, String>
where
    W: io::Write + Clone + Send + Sync + 'static,
{
    // These libraries log internals at the level `info`. A filter that names them overrides these defaults.
    let filter = format!("sqlx=warn,sea_orm_migration=warn,{filter}");
    let filter =
        EnvFilter::builder().parse(filter).map_err(|error| format!("invalid log filter: {error}"))?;
    let log = Log::builder().with_env_filter(filter);
    Ok(match format {
        LogFormat::Text => Box::new(
            log.with_ansi(ansi)
                .fmt_fields(PlainFields)
                .event_format(PlainEvents::default())
                .with_writer(move || writer.clone())
                .finish(),
        ),
        LogFormat::Json => Box::new(
            log.with_ansi(false)
                .fmt_fields(JsonFields)
                .event_format(JsonEvents::default())
                .with_writer(move || writer.clone())
                .finish(),
        ),
    })
}

/// Formats events in the same way as [`Full`]. A faster path formats events outside of spans and without
/// colors. Nearly all events are of this kind.
#[derive(Default)]
struct PlainEvents {
    full: Format<Full>,
    limit: WarningLimit,
}

impl<S, N> FormatEvent<S, N> for PlainEvents
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let meta = event.metadata();
        let Some(left_out) = self.limit.admit(meta) else { return Ok(()) };
        if writer.has_ansi_escapes() || context.event_scope().is_some() {
            self.full.format_event(context, writer.by_ref(), event)?;
            return if left_out > 0 { writeln!(writer, "left_out={left_out}") } else { Ok(()) };
        }
        timestamp::write_now(&mut writer)?;
        writer.write_str(match *meta.level() {
            Level::TRACE => " TRACE ",
            Level::DEBUG => " DEBUG ",
            Level::INFO => "  INFO ",
            Level::WARN => "  WARN ",
            Level::ERROR => " ERROR ",
        })?;
        writer.write_str(meta.target())?;
        writer.write_str(": ")?;
        context.format_fields(writer.by_ref(), event)?;
        if left_out > 0 {
            write!(writer, " left_out={left_out}")?;
        }
        writer.write_char('\n')
    }
}

/// Formats fields as `name=value`, with escaped values. Replaces the formatter of `tracing_subscriber`, which
/// does not escape line breaks in the message, and escapes nothing in a field recorded by `Display`.
struct PlainFields;

impl<'w> FormatFields<'w> for PlainFields {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'w>, fields: R) -> fmt::Result {
        let mut line = Line { writer, is_first: true, result: Ok(()) };
        fields.record(&mut line);
        line.result
    }
}

struct Line<'w> {
    writer: Writer<'w>,
    is_first: bool,
    result: fmt::Result,
}

impl Line<'_> {
    /// Writes a field and escapes its value.
    fn put(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        self.put_safe(field, |writer| Escaped(writer).write_fmt(value));
    }

    /// Writes a field whose value contains nothing to escape.
    fn put_safe(&mut self, field: &Field, value: impl FnOnce(&mut Writer<'_>) -> fmt::Result) {
        let written = self.label(field).and_then(|()| value(&mut self.writer));
        self.result = self.result.and(written);
    }

    fn label(&mut self, field: &Field) -> fmt::Result {
        if !mem::take(&mut self.is_first) {
            self.writer.write_char(' ')?;
        }
        let name = field.name();
        if name == "message" {
            return Ok(());
        }
        self.writer.write_str(name.strip_prefix("r#").unwrap_or(name))?;
        self.writer.write_char('=')
    }
}

impl Visit for Line<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        let is_plain = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
        if field.name() == "message" {
            self.put(field, format_args!("{value}"));
        } else if value.bytes().all(is_plain) {
            // This path applies to nearly every value, and is much faster than escaping.
            self.put_safe(field, |writer| {
                writer.write_char('"')?;
                writer.write_str(value)?;
                writer.write_char('"')
            });
        } else {
            self.put(field, format_args!("{value:?}"));
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put_safe(field, |writer| write!(writer, "{value}"));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        let chain = error_chain(value);
        self.put(field, format_args!("{chain:?}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format_args!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::{Value, json};

    use super::*;
    use crate::cli::log_escape::is_unsafe;

    #[derive(Clone, Default)]
    struct MemoryLog(Arc<Mutex<Vec<u8>>>);

    impl io::Write for MemoryLog {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    const MALICIOUS: &str = "a\r\nERROR forged \u{1b}[2J\u{9b}2J\u{7f}\u{202e}z";

    fn log_output(format: LogFormat, ansi: bool, act: impl Fn()) -> String {
        let output = MemoryLog::default();
        let writer = output.clone();
        let log = subscriber("trace", format, ansi, writer).unwrap();
        tracing::subscriber::with_default(log, act);
        let bytes = output.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    fn log_malicious_values() {
        let error = io::Error::other(MALICIOUS);
        let span = tracing::info_span!("call", path = %MALICIOUS, agent = MALICIOUS);
        let _entered = span.enter();
        tracing::info!(
            display = %MALICIOUS,
            text = MALICIOUS,
            debug = ?MALICIOUS,
            error = &error as &dyn Error,
            "{MALICIOUS}"
        );
    }

    #[test]
    fn the_value_of_a_log_field_can_neither_forge_a_line_nor_control_a_terminal() {
        for format in [LogFormat::Text, LogFormat::Json] {
            let text = log_output(format, false, log_malicious_values);
            assert_eq!(text.lines().count(), 1, "{text:?}");
            assert!(text.contains("forged"), "{text:?}");
            let line = text.trim_end_matches('\n');
            assert!(!line.chars().any(is_unsafe), "{text:?}");
        }
        let coloured = log_output(LogFormat::Text, true, log_malicious_values);
        assert!(coloured.contains('\u{1b}') && !coloured.contains("\u{1b}[2J"));
    }

    #[test]
    fn a_json_log_line_contains_the_exact_value_of_a_field() {
        let text = log_output(LogFormat::Json, false, || tracing::info!(display = %MALICIOUS, "hello"));
        let line: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line.pointer("/attributes/display").unwrap(), MALICIOUS);
        assert_eq!(line.get("body").unwrap(), "hello");
    }

    #[test]
    fn a_json_log_line_uses_the_field_names_of_opentelemetry() {
        let text = log_output(LogFormat::Json, false, || {
            tracing::info!(target: "tripgate::access", client_address = %"::1", status = 200_u16, path = "/a", n = -1);
            tracing::warn!(target: "tripgate::audit", event = "logged_in", user = %7, yes = true);
            let span = tracing::info_span!("call", status = tracing::field::Empty, agent = MALICIOUS);
            span.record("status", 3);
            span.in_scope(|| tracing::error!(code = "x", causes = "y", half = 0.5, trace_id = "a", "failed"));
            tracing::trace!("nothing");
        });
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let resource = json!({ "service.name": "tripgate", "service.version": env!("CARGO_PKG_VERSION") });
        for line in &lines {
            assert!(line["timestamp"].as_str().unwrap().ends_with('Z'), "{line}");
            assert_eq!(line["resource"], resource);
        }
        let severities: Vec<_> = lines
            .iter()
            .map(|line| (line["severity_text"].clone(), line["severity_number"].clone()))
            .collect();
        assert_eq!(json!(severities), json!([["INFO", 9], ["WARN", 13], ["ERROR", 17], ["TRACE", 1]]));
        let attributes: Vec<_> = lines.iter().map(|line| line["attributes"].clone()).collect();
        let access =
            json!({ "client.address": "::1", "http.response.status_code": 200, "url.path": "/a", "n": -1 });
        let span = json!([{ "name": "call", "agent": MALICIOUS, "http.response.status_code": 3 }]);
        let failure = json!({ "error.type": "x", "exception.message": "y", "half": 0.5, "spans": span });
        assert_eq!(attributes, [access, json!({ "user.id": "7", "yes": true }), failure, json!({})]);
        assert_eq!(lines[0]["scope"], json!({ "name": "tripgate::access" }));
        assert_eq!((&lines[1]["event_name"], &lines[1]["body"]), (&json!("logged_in"), &Value::Null));
        assert_eq!((&lines[2]["body"], &lines[2]["trace_id"]), (&json!("failed"), &json!("a")));
    }

    #[test]
    fn warnings_over_the_limit_are_omitted_and_errors_are_not() {
        for format in [LogFormat::Text, LogFormat::Json] {
            let text = log_output(format, false, || {
                for number in 0..30 {
                    tracing::warn!(number, "repeated");
                    tracing::error!(number, "failed");
                    tracing::warn!(number, left_out = 0, "counted by the caller");
                }
                tracing::warn!("another one");
            });
            let count = |words: &str| text.lines().filter(|line| line.contains(words)).count();
            assert_eq!(
                [count("repeated"), count("failed"), count("counted by the caller")],
                [20, 30, 30],
                "{text}"
            );
            assert_eq!(count("another one"), 1);
        }
    }

    #[test]
    fn a_text_log_line_has_the_message_followed_by_the_fields() {
        let text = log_output(LogFormat::Text, false, || {
            tracing::info!(display = %"a", text = "b", n = 3, "hello \"you\"");
        });
        assert!(text.ends_with(": hello \"you\" display=a text=\"b\" n=3\n"), "{text:?}");
        assert!(log_output(LogFormat::Text, false, || ()).is_empty());
    }

    #[test]
    fn the_fast_formatter_writes_the_same_lines_as_tracing_subscriber() {
        let output = MemoryLog::default();
        let writer = output.clone();
        let library = Log::builder()
            .with_max_level(Level::TRACE)
            .with_ansi(false)
            .fmt_fields(PlainFields)
            .with_writer(move || writer.clone())
            .finish();
        let act = || {
            tracing::info!(target: "tripgate::access", path = "/a", status = 200_u16, r#type = 7_u64);
            tracing::error!(text = "a \"b\"", n = -3, yes = true, none = Option::<u8>::None, "failed");
            tracing::warn!("w");
            tracing::debug!(a = 1);
            tracing::trace!(b = %2);
        };
        tracing::subscriber::with_default(library, act);
        let expected = String::from_utf8(output.0.lock().unwrap().clone()).unwrap();
        let actual = log_output(LogFormat::Text, false, act);
        let after_time = |text: &str| -> Vec<String> {
            text.lines().map(|line| line.split_once('Z').unwrap().1.to_owned()).collect()
        };
        assert_eq!(after_time(&actual), after_time(&expected));
        assert_eq!(actual.lines().count(), 5);
    }
}
