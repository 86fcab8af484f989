//! What is wrong with the settings, in the operator's words. All problems are told at once, under
//! the names that the operator wrote; no text here ever holds a secret.

use std::fmt;

use super::settings::{PREFIX, SETTINGS, Setting, ValueKind};
use crate::secrets::{MASK, mask_url};

/// Longest value that is repeated in a message, in characters.
const ECHO_MAX: usize = 80;

/// Everything that is wrong with the settings; never empty.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    /// One finished line each.
    pub problems: Vec<String>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.problems.len();
        let noun = if count == 1 { "problem" } else { "problems" };
        write!(f, "{count} {noun} with the settings")?;
        for problem in &self.problems {
            write!(f, "\n  {problem}")?;
        }
        Ok(())
    }
}

/// The line for a bad value: who, what is wrong, what would be right.
pub(super) fn bad_value(written: &str, row: &Setting, value: &str, wrong: &str) -> String {
    let allowed = row.takes.allowed();
    let value = echo(row, value);
    format!("{written}: {value} {wrong}; allowed: {allowed}")
}

/// The line for a name that is no setting. `style` writes a known row as the operator would.
pub(super) fn unknown(written: &str, name: &str, style: impl Fn(&Setting) -> String) -> String {
    match nearest(name) {
        Some(row) => format!("{written}: there is no such setting; did you mean {}?", style(row)),
        None => {
            format!("{written}: there is no such setting; `tripgate --help` lists all of them")
        }
    }
}

/// The value as `tripgate config` shows it.
pub(super) fn shown(row: &Setting, value: &str) -> String {
    if row.takes.is_secret() { MASK.to_owned() } else { mask_url(value) }
}

fn echo(row: &Setting, value: &str) -> String {
    // A malformed database URL may hide its password where no masking would look for it.
    if matches!(row.takes, ValueKind::Secret | ValueKind::Database | ValueKind::Later) {
        return "the value".to_owned();
    }
    let shown = mask_url(value);
    if shown.chars().count() > ECHO_MAX {
        let start: String = shown.chars().take(ECHO_MAX).collect();
        return format!("{start:?}…");
    }
    format!("{shown:?}")
}

/// The known name that a typing error most likely meant.
fn nearest(name: &str) -> Option<&'static Setting> {
    let lower = name.to_ascii_lowercase().replace('-', "_");
    let bare = lower.strip_prefix(&PREFIX.to_ascii_lowercase()).unwrap_or(&lower);
    let (distance, row) =
        SETTINGS.iter().map(|row| (distance(bare, row.name), row)).min_by_key(|(distance, _)| *distance)?;
    (distance <= (bare.chars().count() / 3).max(1)).then_some(row)
}

/// The number of single-character edits between two names (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut costs: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.chars().enumerate() {
        let mut next = vec![i + 1];
        let mut last = i + 1;
        for ((right, above), diagonal) in b.iter().zip(costs.iter().skip(1)).zip(&costs) {
            let swap = diagonal + usize::from(left != *right);
            last = swap.min(above + 1).min(last + 1);
            next.push(last);
        }
        costs = next;
    }
    costs.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typing_error_is_recognised_and_nonsense_is_not() {
        let found = |name| nearest(name).map(|row| row.name);
        assert_eq!(found("lisen"), Some("listen"));
        assert_eq!(found("TRIPGATE_BCRYPT_COSTS"), Some("bcrypt_cost"));
        assert_eq!(found("log-fromat"), Some("log_format"));
        assert_eq!(found("elephant_in_the_room"), None);
        assert_eq!(found("TRIPGATE_FOO"), None);
    }

    #[test]
    fn distances_count_single_edits() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("same", "same"), 0);
    }
}
