//! Limits repeated warnings in the log. Without this limit, a fault that affects every request would write
//! the same line each time.

use std::time::Instant;

use tracing::callsite::Identifier;
use tracing::{Level, Metadata};

use crate::repeated_warnings::RepeatedWarnings;

/// The field that marks a warning whose repetitions are already counted and limited where the warning is
/// logged. This limit never leaves out such a warning.
const LEFT_OUT: &str = "left_out";

/// Counts warnings by the place in the code that writes the warning. Lines of other levels are always
/// written.
#[derive(Debug, Default)]
pub(super) struct WarningLimit(RepeatedWarnings<Identifier>);

impl WarningLimit {
    /// Returns `None` if the event is left out. Otherwise returns the number of warnings of this place that
    /// were left out before this warning.
    pub(super) fn admit(&self, event: &Metadata<'_>) -> Option<u64> {
        if *event.level() != Level::WARN || event.fields().field(LEFT_OUT).is_some() {
            return Some(0);
        }
        self.0.admit(event.callsite(), Instant::now())
    }
}
