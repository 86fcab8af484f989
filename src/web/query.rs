//! Rejects query parameters that an operation does not have. If a misspelled filter were ignored, the
//! response would be the wrong list.
//!
//! The middleware finds these parameters in the path table. An operation that requires a credential reports
//! them after it has authenticated the caller, so a caller without a credential gets 401.

use poem::Request;

use super::problem::{FieldError, MAX_FIELD_ERRORS, Problem};

/// The maximum length of an unknown parameter's name in an error, in characters.
const MAX_NAME: usize = 64;

/// The unknown query parameters of a request.
#[derive(Debug, Clone)]
pub struct UnknownParameters(Vec<FieldError>);

impl UnknownParameters {
    /// Creates an error for each name in `names`, the unknown parameters of the request. `known` are the
    /// parameters that the operation has.
    pub fn new<'a>(names: impl Iterator<Item = &'a str>, known: &[&str]) -> Self {
        let detail = match known {
            [] => "This operation takes no query parameters.".to_owned(),
            known => format!("This query parameter is unknown. The accepted ones are: {}.", known.join(", ")),
        };
        let error = |name: &str| {
            // The error does not contain a long name.
            let is_short = name.chars().count() <= MAX_NAME;
            let pointer = if is_short { format!("/{name}") } else { String::new() };
            FieldError::new(pointer, "unknown_parameter", detail.clone())
        };
        // Keep one error more than a problem lists, so that the problem can report that there are more
        // errors.
        Self(names.take(MAX_FIELD_ERRORS + 1).map(error).collect())
    }

    /// Returns the problem that lists the unknown parameters.
    pub fn into_problem(self) -> Problem {
        Problem::invalid(self.0)
    }
}

/// Rejects the request if the middleware has found unknown query parameters.
///
/// # Errors
///
/// A problem that lists the unknown parameters.
pub(super) fn reject_unknown(request: &Request) -> Result<(), Problem> {
    request.data::<UnknownParameters>().map_or(Ok(()), |unknown| Err(unknown.clone().into_problem()))
}
