//! What led to an error, as one line: for the log and for whoever starts the server.

use std::error::Error;

/// The error and everything that caused it, outermost first. Libraries that write their source into
/// their own text don't say it twice.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut told: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        if !told.last().is_some_and(|last| last.ends_with(&text)) {
            told.push(text);
        }
        next = error.source();
    }
    told.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] Middle);

    #[derive(Debug, thiserror::Error)]
    #[error("middle: {0}")]
    struct Middle(#[source] std::fmt::Error);

    #[test]
    fn every_cause_is_told_once() {
        let inner = std::fmt::Error;
        assert_eq!(chain(&Outer(Middle(inner))), format!("outer: middle: {inner}"));
    }
}
