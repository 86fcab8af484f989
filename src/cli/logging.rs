//! The log: lines on standard error, as text or as JSON, written by a thread of their own. Nothing
//! that a client sent can forge a line or command a terminal: control characters leave escaped, in
//! either form.

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

use super::log_writer::{self, FlushGuard};
use super::timestamp;
use crate::config::{LogFormat, Settings};
use crate::error_chain::chain;

/// Starts the log for the whole process. Lines still under way are written when the guard is
/// dropped.
pub(super) fn start(settings: &Settings) -> Result<FlushGuard, String> {
    let (writer, guard) =
        log_writer::to(io::stderr()).map_err(|error| format!("the log can't be started: {error}"))?;
    let ansi = io::stderr().is_terminal();
    let log = subscriber(&settings.log, settings.log_format, ansi, writer)?;
    tracing::subscriber::set_global_default(log).map_err(|_| "the log can't be started twice".to_owned())?;
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
    // The libraries beneath us tell at `info` what is our own affair; whoever names them gets them.
    let filter = format!("sqlx=warn,sea_orm_migration=warn,{filter}");
    let filter = EnvFilter::builder().parse(filter).map_err(|error| format!("bad log filter: {error}"))?;
    let log = Log::builder().with_env_filter(filter);
    Ok(match format {
        LogFormat::Text => Box::new(
            log.with_ansi(ansi)
                .fmt_fields(PlainFields)
                .event_format(PlainEvents::default())
                .with_writer(move || writer.clone())
                .finish(),
        ),
        LogFormat::Json => {
            Box::new(log.json().flatten_event(true).with_writer(move || Ascii(writer.clone())).finish())
        }
    })
}

/// Writes a text with every character escaped that could end the line or command a terminal.
struct Escaped<W>(W);

impl<W: fmt::Write> fmt::Write for Escaped<W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if !text.chars().any(is_unsafe) {
            return self.0.write_str(text);
        }
        text.chars().try_for_each(|c| {
            if is_unsafe(c) { write!(self.0, "{}", c.escape_default()) } else { self.0.write_char(c) }
        })
    }
}

/// Control characters, line separators and marks that turn the direction of text.
fn is_unsafe(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The text with unsafe characters escaped, for one line of output.
pub(super) fn escaped(text: &str) -> String {
    let mut out = Escaped(String::new());
    // Writing to a String can't fail.
    let _ = out.write_str(text);
    out.0
}

/// Writes an event as [`Full`] does. What nearly every line is, an event outside of spans that goes to
/// no terminal, is put together by hand.
#[derive(Default)]
struct PlainEvents(Format<Full>);

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
        if writer.has_ansi_escapes() || context.event_scope().is_some() {
            return self.0.format_event(context, writer, event);
        }
        let meta = event.metadata();
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
        writer.write_char('\n')
    }
}

/// Formats fields as `name=value`. The formatter of `tracing_subscriber` escapes the message, but
/// neither line ends in it nor anything in a field recorded by `Display`.
struct PlainFields;

impl<'w> FormatFields<'w> for PlainFields {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'w>, fields: R) -> fmt::Result {
        let mut line = Line { writer, first: true, result: Ok(()) };
        fields.record(&mut line);
        line.result
    }
}

struct Line<'w> {
    writer: Writer<'w>,
    first: bool,
    result: fmt::Result,
}

impl Line<'_> {
    /// Writes a field whose value may be anything.
    fn put(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        self.put_safe(field, |writer| Escaped(writer).write_fmt(value));
    }

    /// Writes a field whose value holds nothing that needs escaping.
    fn put_safe(&mut self, field: &Field, value: impl FnOnce(&mut Writer<'_>) -> fmt::Result) {
        let written = self.label(field).and_then(|()| value(&mut self.writer));
        self.result = self.result.and(written);
    }

    fn label(&mut self, field: &Field) -> fmt::Result {
        if !mem::take(&mut self.first) {
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
            // Nearly every value, and much faster than looking for what to escape in it.
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
        let chain = chain(value);
        self.put(field, format_args!("{chain:?}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format_args!("{value:?}"));
    }
}

/// Escapes what JSON leaves as it is although a terminal may act on it: DEL, C1 controls and marks
/// of direction, all of which stand inside of strings only.
struct Ascii<W>(W);

impl<W: io::Write> io::Write for Ascii<W> {
    /// A line comes in one piece.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        let mut line = String::with_capacity(text.len());
        for c in text.chars() {
            if c != '\n' && is_unsafe(c) {
                let _ = write!(line, "\\u{:04x}", u32::from(c));
            } else {
                line.push(c);
            }
        }
        self.0.write_all(line.as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    const EVIL: &str = "a\r\nERROR forged \u{1b}[2J\u{9b}2J\u{7f}\u{202e}z";

    fn written(format: LogFormat, ansi: bool, act: impl Fn()) -> String {
        let page = Page::default();
        let writer = page.clone();
        let log = subscriber("trace", format, ansi, writer).unwrap();
        tracing::subscriber::with_default(log, act);
        let bytes = page.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    fn attack() {
        let error = io::Error::other(EVIL);
        let span = tracing::info_span!("call", path = %EVIL, agent = EVIL);
        let _entered = span.enter();
        tracing::info!(shown = %EVIL, text = EVIL, debug = ?EVIL, error = &error as &dyn Error, "{EVIL}");
    }

    #[test]
    fn a_field_can_neither_forge_a_line_nor_command_a_terminal() {
        for format in [LogFormat::Text, LogFormat::Json] {
            let text = written(format, false, attack);
            assert_eq!(text.lines().count(), 1, "{text:?}");
            assert!(text.contains("forged"), "{text:?}");
            let line = text.trim_end_matches('\n');
            assert!(!line.chars().any(is_unsafe), "{text:?}");
        }
        let coloured = written(LogFormat::Text, true, attack);
        assert!(coloured.contains('\u{1b}') && !coloured.contains("\u{1b}[2J"));
    }

    #[test]
    fn a_json_line_stays_json_and_keeps_the_value() {
        let text = written(LogFormat::Json, false, || tracing::info!(shown = %EVIL, "hello"));
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line.get("shown").unwrap(), EVIL);
        assert_eq!(line.get("message").unwrap(), "hello");
    }

    #[test]
    fn a_text_line_reads_plainly() {
        let text = written(LogFormat::Text, false, || {
            tracing::info!(shown = %"a", text = "b", n = 3, "hello \"you\"");
        });
        assert!(text.ends_with(": hello \"you\" shown=a text=\"b\" n=3\n"), "{text:?}");
        assert!(written(LogFormat::Text, false, || ()).is_empty());
    }

    #[test]
    fn what_is_put_together_by_hand_is_what_the_library_writes() {
        let page = Page::default();
        let writer = page.clone();
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
        let theirs = String::from_utf8(page.0.lock().unwrap().clone()).unwrap();
        let ours = written(LogFormat::Text, false, act);
        let after_time = |text: &str| -> Vec<String> {
            text.lines().map(|line| line.split_once('Z').unwrap().1.to_owned()).collect()
        };
        assert_eq!(after_time(&ours), after_time(&theirs));
        assert_eq!(ours.lines().count(), 5);
    }
}
