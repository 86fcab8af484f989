//! Errors in the settings. All problems are reported at once, under the names that the operator wrote. No
//! message contains a secret.

use std::fmt;

use super::settings::{PREFIX, SETTINGS, Setting, ValueKind};
use crate::secrets::{MASK, mask_url};

/// Maximum number of characters of a value that a message contains.
const MAX_ECHO: usize = 80;

/// All problems with the settings. Never empty.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    /// One line for each problem.
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

/// Formats the problem of an invalid value: the name, the value, the reason, and the allowed values.
pub(super) fn invalid_value(name: &str, setting: &Setting, value: &str, reason: &str) -> String {
    let allowed = setting.kind.allowed();
    let value = echo(setting, value);
    format!("{name}: {value} {reason}; allowed: {allowed}")
}

/// Formats the problem of an unknown name. `key` returns the name of a setting in the spelling of the source
/// that the operator has used.
pub(super) fn unknown(written: &str, name: &str, key: impl Fn(&Setting) -> String) -> String {
    match nearest(name) {
        Some(setting) => format!("{written}: there is no such setting; did you mean {}?", key(setting)),
        None => {
            format!("{written}: there is no such setting; `tripgate --help` lists all of them")
        }
    }
}

/// Returns the value as `tripgate config` shows it.
pub(super) fn displayed(setting: &Setting, value: &str) -> String {
    if setting.kind.is_secret() { MASK.to_owned() } else { mask_url(value) }
}

fn echo(setting: &Setting, value: &str) -> String {
    // Show no part of these values, because masking can miss the password in a malformed URL.
    if matches!(setting.kind, ValueKind::Secret | ValueKind::Database | ValueKind::Smtp) {
        return "the value".to_owned();
    }
    let masked = mask_url(value);
    if masked.chars().count() > MAX_ECHO {
        let start: String = masked.chars().take(MAX_ECHO).collect();
        return format!("{start:?}…");
    }
    format!("{masked:?}")
}

/// Returns the setting whose name is closest, if `name` is likely a misspelling of it.
fn nearest(name: &str) -> Option<&'static Setting> {
    let lower = name.to_ascii_lowercase().replace('-', "_");
    let bare = lower.strip_prefix(&PREFIX.to_ascii_lowercase()).unwrap_or(&lower);
    let (distance, setting) = SETTINGS
        .iter()
        .map(|setting| (distance(bare, setting.name), setting))
        .min_by_key(|(distance, _)| *distance)?;
    (distance <= (bare.chars().count() / 3).max(1)).then_some(setting)
}

/// Returns the number of single-character edits between two names (Levenshtein distance).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut costs: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.chars().enumerate() {
        let mut next = vec![i + 1];
        let mut last = i + 1;
        for ((right, above), diagonal) in b.iter().zip(costs.iter().skip(1)).zip(&costs) {
            let replaced = diagonal + usize::from(left != *right);
            last = replaced.min(above + 1).min(last + 1);
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
    fn a_misspelled_setting_name_is_recognized_and_an_unrelated_name_is_not() {
        let found = |name| nearest(name).map(|setting| setting.name);
        assert_eq!(found("lisen"), Some("listen"));
        assert_eq!(found("TRIPGATE_BCRYPT_COSTS"), Some("bcrypt_cost"));
        assert_eq!(found("log-fromat"), Some("log_format"));
        assert_eq!(found("elephant_in_the_room"), None);
        assert_eq!(found("TRIPGATE_FOO"), None);
    }

    #[test]
    fn the_distance_between_two_names_is_the_number_of_single_character_edits() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("same", "same"), 0);
    }
}
