//! Limits repeated warnings in the log: a fault that every request meets would write the same line each time.

use std::time::Instant;

use tracing::callsite::Identifier;
use tracing::{Level, Metadata};

use crate::repeated_warnings::RepeatedWarnings;

/// The field of warnings whose repetitions are counted where the warning is written.
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
