//! The languages that a recipient prefers.

use serde::{Deserialize, Serialize};

/// The maximum number of languages.
const LANGUAGES_MAX: usize = 8;

/// The languages of a recipient, the preferred language first: primary subtags in lower case (RFC 5646), such
/// as `de`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Languages(Vec<String>);

impl Languages {
    /// Returns the languages of the `Accept-Language` header (RFC 9110 §12.5.4). Ignores everything that is not a
    /// language.
    pub fn accepted(accept_language: Option<&str>) -> Self {
        let mut accepted: Vec<(f32, &str)> =
            accept_language.unwrap_or_default().split(',').take(32).filter_map(item).collect();
        // The sort is stable: items with the same weight stay in the order of the header.
        accepted.sort_by(|(one, _), (other, _)| other.total_cmp(one));
        let mut languages = Vec::new();
        for (_, tag) in accepted {
            if let Some(language) = primary_subtag(tag)
                && !languages.contains(&language)
                && languages.len() < LANGUAGES_MAX
            {
                languages.push(language);
            }
        }
        Self(languages)
    }

    /// Returns the languages, with the language of the account before the others.
    #[must_use]
    pub fn preferring(mut self, locale: Option<&str>) -> Self {
        if let Some(language) = locale.and_then(primary_subtag) {
            self.0.retain(|known| *known != language);
            self.0.insert(0, language);
            self.0.truncate(LANGUAGES_MAX);
        }
        self
    }

    /// Returns the languages in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

/// Returns the weight and the tag of an item of the header. An item with weight 0 is not accepted.
fn item(text: &str) -> Option<(f32, &str)> {
    let (tag, parameters) = text.split_once(';').unwrap_or((text, ""));
    let weight = match parameters.trim().strip_prefix("q=") {
        Some(weight) => weight.trim().parse().ok()?,
        None => 1.0,
    };
    (weight > 0.0).then_some((weight, tag))
}

fn primary_subtag(tag: &str) -> Option<String> {
    let first = tag.trim().split(['-', '_']).next()?;
    let is_language = (2..=8).contains(&first.len()) && first.bytes().all(|byte| byte.is_ascii_alphabetic());
    is_language.then(|| first.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_language_of_the_account_has_precedence_over_the_languages_of_the_request() {
        let languages = |locale, accept| Languages::accepted(accept).preferring(locale).0;
        assert_eq!(languages(Some("nl-BE"), Some("de, en;q=0.8")), ["nl", "de", "en"]);
        assert_eq!(languages(None, Some("fr;q=0.5, de-CH;q=0.9, *;q=0.1, en;q=0")), ["de", "fr"]);
        assert_eq!(languages(Some("EN_us"), Some("en")), ["en"]);
        for junk in ["", ",,;q=", "x", "12", "de;q=NaN", "de;q=x", "\r\nBcc: x"] {
            assert!(languages(None, Some(junk)).is_empty(), "{junk:?}");
        }
        let preferring = |locale| Languages::accepted(Some("de, nl;q=0.5")).preferring(locale).0;
        assert_eq!(preferring(Some("nl-BE")), ["nl", "de"]);
        assert_eq!(preferring(Some("fr")), ["fr", "de", "nl"]);
        assert_eq!(preferring(None), ["de", "nl"]);
        let many =
            (b'a'..=b'z').map(|letter| format!("a{}", char::from(letter))).collect::<Vec<_>>().join(",");
        assert_eq!(languages(None, Some(&many)).len(), LANGUAGES_MAX);
    }
}
