//! The header `traceparent` (W3C Trace Context). An invalid value is ignored, as the specification requires.

use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

/// The length of a value of version 00.
const LENGTH: usize = 55;

/// Parses a value of the header: `00-<trace id>-<span id>-<flags>`. A later version may have further fields,
/// which are ignored.
pub fn parse_traceparent(value: &str) -> Option<SpanContext> {
    let (head, rest) = value.split_at_checked(LENGTH)?;
    let mut fields = head.split('-');
    let version = hex(fields.next()?, 2)?;
    let trace_id = u128::from_str_radix(hex(fields.next()?, 32)?, 16).ok()?;
    let span_id = u64::from_str_radix(hex(fields.next()?, 16)?, 16).ok()?;
    let flags = u8::from_str_radix(hex(fields.next()?, 2)?, 16).ok()?;
    let is_valid = match version {
        "ff" => false,
        "00" => rest.is_empty(),
        _ => rest.is_empty() || rest.starts_with('-'),
    };
    let flags = TraceFlags::new(flags) & TraceFlags::SAMPLED;
    let parsed = SpanContext::new(trace_id.into(), span_id.into(), flags, true, TraceState::NONE);
    (is_valid && parsed.is_valid()).then_some(parsed)
}

/// Formats the ids of a span, also for the header `traceresponse`.
pub fn format_traceparent(span: &SpanContext) -> String {
    let (trace_id, span_id): (TraceId, SpanId) = (span.trace_id(), span.span_id());
    format!("00-{trace_id}-{span_id}-{:02x}", span.trace_flags())
}

/// Returns the text if it consists of `length` hexadecimal digits in lower case.
fn hex(text: &str, length: usize) -> Option<&str> {
    let is_hex = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (text.len() == length && is_hex).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALID: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_valid_traceparent_header_contains_the_ids_and_the_sampled_flag_of_the_parent() {
        let parsed = parse_traceparent(VALID).unwrap();
        assert_eq!(format_traceparent(&parsed), VALID);
        assert!(parsed.is_sampled() && parsed.is_remote());
        let unsampled = VALID.replace("-01", "-00");
        assert_eq!(format_traceparent(&parse_traceparent(&unsampled).unwrap()), unsampled);
        // Unknown flags and the fields of a later version are ignored.
        for later in
            [VALID.replace("-01", "-ff"), VALID.replace("00-", "01-") + "-x", VALID.replace("00-", "cc-")]
        {
            assert_eq!(format_traceparent(&parse_traceparent(&later).unwrap()), VALID, "{later}");
        }
    }

    #[test]
    fn an_invalid_traceparent_header_is_ignored() {
        for invalid in [
            String::new(),
            "junk".to_owned(),
            "-".repeat(55),
            "ü".repeat(40),
            "x".repeat(8192),
            VALID.to_uppercase(),
            VALID.replace("00-", "ff-"),
            VALID.replace("00-", "0-"),
            VALID.replace("00-", "00"),
            format!("{VALID}-00"),
            format!("{VALID} "),
            format!(" {VALID}"),
            VALID.replace("-01", "-1"),
            VALID.replace("-01", "-+1"),
            VALID.replace("-01", "-0g"),
            VALID.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
            VALID.replace("b7ad6b7169203331", &"0".repeat(16)),
            VALID.replace("00-", "01-") + "x",
        ] {
            assert!(parse_traceparent(&invalid).is_none(), "{invalid}");
        }
    }
}
