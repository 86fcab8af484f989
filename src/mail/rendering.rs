//! The built-in templates of mails: texts in English, German and Dutch, and a layout for text and HTML.
//!
//! A template of a language produces the subject, followed by paragraphs that are separated by empty lines. A
//! paragraph `[code]` shows the code, and `[link] LABEL` shows the link as a button. No value contains a line break,
//! so no value can add a paragraph.

use askama::Template;
use chrono::{DateTime, Utc};

use super::{Languages, MailKind, Values};

/// The width of the text part, in characters.
const WIDTH: usize = 72;

/// The content of a mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rendered {
    pub(super) subject: String,
    pub(super) text: String,
    pub(super) html: Option<String>,
}

/// A language of the built-in templates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Language {
    English,
    German,
    Dutch,
}

impl Language {
    const ALL: [Self; 3] = [Self::English, Self::German, Self::Dutch];

    fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::German => "de",
            Self::Dutch => "nl",
        }
    }

    /// Returns the first preferred language that has templates, or English.
    fn choose(languages: &Languages) -> Self {
        let known = |tag| Self::ALL.into_iter().find(|language| language.tag() == tag);
        languages.iter().find_map(known).unwrap_or(Self::English)
    }
}

macro_rules! language {
    ($name:ident, $path:literal) => {
        #[derive(Template)]
        #[template(path = $path)]
        struct $name<'a> {
            kind: MailKind,
            v: &'a Shown,
        }
    };
}

language!(English, "mail_en.txt");
language!(German, "mail_de.txt");
language!(Dutch, "mail_nl.txt");

/// The values as the templates show them. An absent text is empty.
#[derive(Debug)]
struct Shown {
    minutes: u32,
    address: String,
    at: String,
    device: String,
    ip: String,
    count: u64,
}

impl From<&Values> for Shown {
    fn from(values: &Values) -> Self {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        Self {
            minutes: values.valid_minutes.unwrap_or(15),
            address: text(&values.address),
            at: values.at.map(time).unwrap_or_default(),
            device: text(&values.device),
            ip: text(&values.ip),
            count: values.count.unwrap_or_default(),
        }
    }
}

/// Returns a time as the mails show it.
pub(super) fn time(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M UTC").to_string()
}

/// A paragraph of a mail.
#[derive(Debug, PartialEq, Eq)]
enum Block {
    Paragraph(String),
    Code(String),
    Link { label: String, url: String },
}

#[derive(Template)]
#[template(path = "mail.html")]
struct Html<'a> {
    language: &'static str,
    subject: &'a str,
    blocks: &'a [Block],
}

/// Renders a mail with the built-in templates. The link in `values` is a whole URL.
pub(super) fn render(kind: MailKind, languages: &Languages, values: &Values) -> Rendered {
    let language = Language::choose(languages);
    let shown = Shown::from(values);
    let text = match language {
        Language::English => English { kind, v: &shown }.render(),
        Language::German => German { kind, v: &shown }.render(),
        Language::Dutch => Dutch { kind, v: &shown }.render(),
    };
    // The templates can't fail, because they write to a string.
    let text = text.unwrap_or_default();
    let mut parts = text.split("\n\n").map(str::trim).filter(|part| !part.is_empty());
    let subject = parts.next().unwrap_or_default();
    let blocks: Vec<Block> = parts.filter_map(|part| block(part, values)).collect();
    let html = Html { language: language.tag(), subject, blocks: &blocks }.render().ok();
    Rendered { subject: subject.to_owned(), text: plain(&blocks), html }
}

/// Returns the paragraph, or `None` if its code or link is absent.
fn block(part: &str, values: &Values) -> Option<Block> {
    if part == "[code]" {
        return values.code.clone().map(Block::Code);
    }
    match part.strip_prefix("[link] ") {
        Some(label) => values.link.clone().map(|url| Block::Link { label: label.to_owned(), url }),
        None => Some(Block::Paragraph(part.replace('\n', " "))),
    }
}

fn plain(blocks: &[Block]) -> String {
    let mut text = String::new();
    for block in blocks {
        if !text.is_empty() {
            text.push('\n');
        }
        match block {
            Block::Paragraph(paragraph) => text.push_str(&wrapped(paragraph)),
            Block::Code(code) => text.extend(["    ", code, "\n"]),
            Block::Link { label, url } => text.extend([label, ":\n", url, "\n"]),
        }
    }
    text
}

/// Breaks the lines of a paragraph between words.
fn wrapped(paragraph: &str) -> String {
    let mut text = String::new();
    let mut width = 0;
    for word in paragraph.split(' ') {
        let length = word.chars().count();
        if width > 0 && width + 1 + length > WIDTH {
            text.push('\n');
            width = 0;
        } else if width > 0 {
            text.push(' ');
            width += 1;
        }
        text.push_str(word);
        width += length;
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::from_millis;

    fn values() -> Values {
        Values {
            code: Some("12345678".to_owned()),
            link: Some("https://x.example/account/confirm#token&x".to_owned()),
            valid_minutes: Some(15),
            address: Some("new@example.org".to_owned()),
            at: Some(from_millis(1_800_000_000_000)),
            device: Some("<b>Pixel</b>".to_owned()),
            ip: Some("192.0.2.7".to_owned()),
            count: Some(120),
        }
    }

    #[test]
    fn every_kind_of_email_has_a_text_in_every_language() {
        for language in Language::ALL {
            let mut subjects = std::collections::BTreeSet::new();
            for kind in MailKind::ALL {
                let languages = Languages::default().preferring(Some(language.tag()));
                let Rendered { subject, text, html } = render(kind, &languages, &values());
                let html = html.unwrap();
                assert!(subject.len() > 5 && text.len() > 40, "{language:?} {kind}: {subject}: {text}");
                assert!(!subject.contains('\n') && !text.contains("[code]") && !text.contains("[link]"));
                assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
                assert!(html.contains(&format!("<html lang=\"{}\">", language.tag())), "{html}");
                assert!(html.contains("prefers-color-scheme: dark") && !html.contains("<img"), "{html}");
                assert!(subjects.insert(subject), "{language:?}: {kind} has the subject of another kind");
            }
        }
    }

    #[test]
    fn the_text_part_and_the_html_part_contain_the_code_and_the_link() {
        let with = |kind| render(kind, &Languages::default(), &values());
        for kind in [MailKind::ConfirmAddress, MailKind::ResetPassword] {
            let Rendered { text, html, .. } = with(kind);
            let html = html.unwrap();
            assert!(text.contains("\n    12345678\n"), "{text}");
            assert!(text.contains("\nhttps://x.example/account/confirm#token&x\n"), "{text}");
            assert!(html.contains(">12345678<"), "{html}");
            assert!(html.contains("href=\"https://x.example/account/confirm#token&#38;x\""), "{html}");
        }
        for kind in [MailKind::LoginCode, MailKind::ReauthenticateCode] {
            let Rendered { text, .. } = with(kind);
            assert!(text.contains("\n    12345678\n") && !text.contains("https://"), "{text}");
        }
        for kind in [MailKind::AddressChanged, MailKind::NewDevice, MailKind::AttackWarning] {
            let Rendered { text, html, .. } = with(kind);
            assert!(text.contains("https://x.example/") && !text.contains("12345678"), "{text}");
            assert!(!html.unwrap().contains("<b>"), "{text}");
        }
    }

    #[test]
    fn the_supported_language_with_the_highest_preference_is_chosen() {
        let chosen = |accept| Language::choose(&Languages::accepted(Some(accept)));
        assert_eq!(chosen("fr, nl;q=0.8, de;q=0.9"), Language::German);
        assert_eq!(chosen("fr"), Language::English);
        assert_eq!(chosen(""), Language::English);
    }
}
