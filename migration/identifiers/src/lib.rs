//! The canonical form of email addresses and usernames. Two spellings are the same identifier if their
//! canonical forms are equal.
//!
//! The server and the migration step that fills the column of canonical forms use this crate. A change of the
//! form therefore needs a new migration step that computes the column again.
//!
//! The canonical form of an address is computed in these steps:
//!
//! 1. White space around the address is removed. Full-width and half-width characters become ordinary
//!    characters, because input methods for Chinese, Japanese and Korean produce them (RFC 8265 §3.3.1).
//! 2. A quoted local part whose content is a dot-atom loses its quotes: RFC 5321 §4.1.2 defines both forms as
//!    the same mailbox.
//! 3. The local part is compared without case: it is normalized to NFD, case-folded with full case folding,
//!    and normalized to NFC (canonical caseless matching, Unicode D145). A character with a compatibility
//!    decomposition is never expanded, because `ﬁ` and `fi` are two mailboxes.
//! 4. The domain becomes A-labels in lower case (UTS 46, non-transitional).
//!
//! A username has no `@`. Only steps 1 and 3 apply to a username.

use std::borrow::Cow;
use std::iter::once;

use icu_casemap::CaseMapper;
use icu_properties::CodePointSetData;
use icu_properties::props::DefaultIgnorableCodePoint;
use idna::AsciiDenyList;
use idna::uts46::{DnsLength, Hyphens, Uts46};
use unicode_normalization::UnicodeNormalization;

/// Returns the canonical form of an email address or a username. Never fails: a text that is not a valid
/// identifier has a canonical form too. The form contains an `@` if the text contains one.
pub fn canonical(text: &str) -> String {
    let text: String = text.trim().chars().flat_map(ordinary_width).collect();
    match text.rsplit_once('@') {
        None => fold(&text),
        Some((local, domain)) => {
            let domain = domain_to_ascii(domain).unwrap_or_else(|| fold(domain));
            format!("{}@{domain}", fold(&unquote(local)))
        }
    }
}

/// Returns the A-labels of a domain in lower case, or `None` if it is not a valid domain name.
pub fn domain_to_ascii(domain: &str) -> Option<String> {
    let (deny, length) = (AsciiDenyList::STD3, DnsLength::Verify);
    let ascii = Uts46::new().to_ascii(domain.as_bytes(), deny, Hyphens::CheckFirstLast, length);
    ascii.ok().map(Cow::into_owned)
}

/// Returns whether the text contains a code point that fonts don't show (Unicode
/// `Default_Ignorable_Code_Point`), such as a zero width joiner, a Hangul filler or a bidi control.
pub fn has_invisible(text: &str) -> bool {
    let invisible = CodePointSetData::new::<DefaultIgnorableCodePoint>();
    text.chars().any(|character| invisible.contains(character))
}

/// Converts full-width and half-width characters to ordinary characters.
fn ordinary_width(character: char) -> impl Iterator<Item = char> {
    let is_width_variant = ('\u{FF01}'..='\u{FFEE}').contains(&character);
    let mapped = is_width_variant.then(|| once(character).nfkc());
    let other = (!is_width_variant).then_some(character);
    mapped.into_iter().flatten().chain(other)
}

/// Folds the case of a text.
fn fold(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    let mapper = CaseMapper::new();
    let mut folded = String::with_capacity(text.len());
    for character in text.nfd() {
        let has_compatibility_form = !once(character).nfkd().eq(once(character));
        if has_compatibility_form {
            folded.push(mapper.simple_fold(character));
        } else {
            folded.push_str(&mapper.fold_string(character.encode_utf8(&mut [0; 4])));
        }
    }
    folded.nfc().collect()
}

/// Removes the quotes of a quoted local part if they are unnecessary, and removes unnecessary backslashes.
fn unquote(local: &str) -> Cow<'_, str> {
    let quoted = local.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let Some(quoted) = quoted else { return Cow::Borrowed(local) };
    let mut content = String::with_capacity(quoted.len());
    let mut characters = quoted.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => content.extend(characters.next()),
            other => content.push(other),
        }
    }
    if is_dot_atom(&content) {
        return Cow::Owned(content);
    }
    Cow::Owned(format!("\"{}\"", content.replace('\\', "\\\\").replace('"', "\\\"")))
}

/// Returns whether a local part needs no quotes (RFC 5321 §4.1.2, RFC 6531 §3.3).
fn is_dot_atom(text: &str) -> bool {
    let is_atext = |character: char| {
        !character.is_ascii()
            || character.is_ascii_alphanumeric()
            || "!#$%&'*+-/=?^_`{|}~".contains(character)
    };
    text.split('.').all(|atom| !atom.is_empty() && atom.chars().all(is_atext))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn same(spellings: &[&str]) {
        let first = canonical(spellings[0]);
        for spelling in spellings {
            assert_eq!(canonical(spelling), first, "{spelling}");
        }
    }

    #[test]
    fn different_spellings_of_one_mailbox_have_the_same_canonical_form() {
        //
        same(&["ada@example.org", "ADA@Example.ORG", " ada@example.org\t", "\"ada\"@example.org"]);
        same(&["a.b@example.org", "\"a.b\"@example.org", "\"\\a.\\b\"@EXAMPLE.org"]);
        same(&["\"a b\"@example.org", "\"A\\ b\"@example.org"]);
        same(&[
            "b@münchen.de",
            "b@MÜNCHEN.de",
            "b@xn--mnchen-3ya.de",
            "b@mu\u{308}nchen.de",
            "b@münchen。de",
        ]);
        same(&["ΟΔΟΣ@example.org", "οδος@example.org", "οδοσ@example.org"]);
        same(&["straße@example.org", "STRASSE@example.org", "Strasse@example.org", "STRAẞE@example.org"]);
        same(&["é@example.org", "E\u{301}@example.org"]);
        same(&["ada@example.org", "ＡＤＡ@example.org", "ada＠example.org"]);
        same(&["grace12", "Grace12", "GRACE12 ", "ｇrace12"]);
    }

    #[test]
    fn different_mailboxes_have_different_canonical_forms() {
        //
        for (one, other) in [
            ("ﬁona@example.org", "fiona@example.org"),
            ("a²@example.org", "a2@example.org"),
            ("ⓐda@example.org", "ada@example.org"),
            ("ı@example.org", "i@example.org"),
            ("a.b@example.org", "ab@example.org"),
            ("\"a b\"@example.org", "ab@example.org"),
            ("\"a..b\"@example.org", "a..b@example.org"),
            ("a@straße.de", "a@strasse.de"),
            ("a@x.example.org", "a@example.org"),
            ("ad\u{115F}a@example.org", "ada@example.org"),
        ] {
            assert_ne!(canonical(one), canonical(other), "{one}");
        }
    }

    #[test]
    fn invisible_code_points_in_an_address_are_found() {
        //
        for text in ["a\u{115F}", "a\u{3164}", "a\u{200D}", "a\u{AD}", "a\u{202E}", "a\u{FEFF}", "a\u{FE0F}"]
        {
            assert!(has_invisible(text), "{text:?}");
        }
        assert!(!has_invisible("ada@münchen.de Οδός 漢字"));
    }

    #[test]
    fn a_domain_name_that_dns_does_not_allow_has_no_ascii_form() {
        for domain in ["", "a..b", "-a.de", "a_b.de", "a b.de", ".de", &"x".repeat(64), "xn--a.de"] {
            assert_eq!(domain_to_ascii(domain), None, "{domain}");
        }
        assert_eq!(domain_to_ascii("１.2.3.4").as_deref(), Some("1.2.3.4"));
    }

    proptest! {
        #[test]
        fn canonicalizing_a_canonical_address_does_not_change_it(text in "\\PC{0,12}(@\\PC{0,12})?") {
            let form = canonical(&text);
            prop_assert_eq!(canonical(&form), form);
        }

        #[test]
        fn addresses_that_differ_only_in_case_have_the_same_canonical_form(local in "[a-zäöüéñčřωσш.]{1,12}") {
            let address = format!("{local}@example.org");
            prop_assert_eq!(canonical(&address), canonical(&address.to_uppercase()));
        }
    }
}
