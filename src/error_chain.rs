//! Formats an error and its sources as one line, for the log and for messages to the operator.

use std::error::Error;

/// Returns the error and its sources, outermost first. Omits a source if the previous text already ends with
/// it, because some libraries include the source in their own text.
pub fn error_chain(error: &(dyn Error + 'static)) -> String {
    let mut texts: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        if !texts.last().is_some_and(|last| last.ends_with(&text)) {
            texts.push(text);
        }
        next = error.source();
    }
    texts.join(": ")
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
    fn every_cause_in_an_error_chain_appears_once() {
        let inner = std::fmt::Error;
        assert_eq!(error_chain(&Outer(Middle(inner))), format!("outer: middle: {inner}"));
    }
}
