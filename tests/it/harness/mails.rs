//! Parses the mails that a server writes to its outbox directory if no mail server is configured.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{PUBLIC_URL, TestApp};

/// How long to wait for the delivery of the queued mails.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A mail as the recipient receives it.
#[derive(Debug, Clone)]
pub(crate) struct ReceivedMail {
    /// The names and decoded values of the header fields, in order.
    pub(crate) headers: Vec<(String, String)>,
    /// The text part.
    pub(crate) text: String,
    /// The HTML part, if there is one.
    pub(crate) html: Option<String>,
    /// The code, if the mail shows one.
    pub(crate) code: Option<String>,
    /// The link without the public URL: the path and the fragment.
    pub(crate) link: Option<String>,
}

impl ReceivedMail {
    /// Parses a message.
    pub(crate) fn parse(message: &str) -> Self {
        let (headers, body) = part(message);
        let (mut text, mut html) = (String::new(), None);
        match boundary(&headers) {
            None => text = decoded(&headers, body),
            Some(boundary) => {
                let parts: Vec<&str> = body.split(&format!("--{boundary}")).skip(1).collect();
                for piece in parts.iter().take_while(|piece| !piece.starts_with("--")) {
                    let (headers, body) = part(piece.trim_start_matches("\r\n"));
                    let content = decoded(&headers, body);
                    if field(&headers, "Content-Type").unwrap().starts_with("text/html") {
                        html = Some(content);
                    } else {
                        text = content;
                    }
                }
            }
        }
        let text = text.replace("\r\n", "\n");
        let code = text.lines().find_map(|line| line.strip_prefix("    ")).map(str::to_owned);
        let link = text.lines().find_map(|line| line.strip_prefix(PUBLIC_URL)).map(str::to_owned);
        Self { headers, text, html, code, link }
    }

    /// Returns the value of a header field.
    pub(crate) fn header(&self, name: &str) -> &str {
        field(&self.headers, name).unwrap_or_else(|| panic!("no {name} in {:?}", self.headers))
    }

    /// Returns the address of the recipient.
    pub(crate) fn to(&self) -> &str {
        self.header("To")
    }

    /// Returns the subject.
    pub(crate) fn subject(&self) -> &str {
        self.header("Subject")
    }

    /// Returns the code.
    #[track_caller]
    pub(crate) fn code(&self) -> &str {
        self.code.as_deref().unwrap_or_else(|| panic!("no code in {}", self.text))
    }

    /// Returns the token: the fragment of the link.
    #[track_caller]
    pub(crate) fn token(&self) -> &str {
        let link = self.link.as_deref().unwrap_or_else(|| panic!("no link in {}", self.text));
        link.split_once('#').unwrap().1
    }
}

impl TestApp {
    /// Waits until every due mail is delivered, and returns all mails, the oldest first.
    pub(crate) async fn mails(&self) -> Vec<ReceivedMail> {
        let begin = Instant::now();
        loop {
            let now = self.clock.now();
            let waiting = self.services().mail.list().await.unwrap();
            if waiting.iter().all(|mail| mail.next_attempt_at.is_none_or(|next| next > now)) {
                break;
            }
            assert!(begin.elapsed() < TIMEOUT, "mails were not delivered: {waiting:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        read(&self.settings().data_dir.join("outbox"))
    }

    /// Returns the newest mail to an address, after the delivery of all due mails.
    pub(crate) async fn mail_to(&self, address: &str) -> ReceivedMail {
        let mails = self.mails().await;
        let found = mails.iter().rev().find(|mail| mail.to() == address);
        found.unwrap_or_else(|| panic!("no mail to {address} in {mails:?}")).clone()
    }
}

/// Parses the mails in a directory. The names of the files are ordered by time.
pub(crate) fn read(dir: &Path) -> Vec<ReceivedMail> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "eml"));
    paths.sort();
    paths.iter().map(|path| ReceivedMail::parse(&fs::read_to_string(path).unwrap())).collect()
}

fn part(text: &str) -> (Vec<(String, String)>, &str) {
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let unfolded = head.replace("\r\n ", " ").replace("\r\n\t", " ");
    let header = |line: &str| {
        let (name, value) = line.split_once(": ").unwrap();
        (name.to_owned(), decoded_words(value))
    };
    (unfolded.split("\r\n").map(header).collect(), body)
}

fn field<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

fn boundary(headers: &[(String, String)]) -> Option<String> {
    let (_, rest) = field(headers, "Content-Type")?.split_once("boundary=")?;
    Some(rest.trim_matches('"').to_owned())
}

fn decoded(headers: &[(String, String)], body: &str) -> String {
    match field(headers, "Content-Transfer-Encoding") {
        Some("quoted-printable") => String::from_utf8(quoted_printable(body)).unwrap(),
        Some("base64") => {
            let text: String = body.split_whitespace().collect();
            String::from_utf8(STANDARD.decode(text).unwrap()).unwrap()
        }
        _ => body.to_owned(),
    }
}

/// Decodes quoted-printable text (RFC 2045 §6.7).
fn quoted_printable(body: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let text = body.replace("=\r\n", "");
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once('=') {
        bytes.extend_from_slice(before.as_bytes());
        bytes.push(u8::from_str_radix(&after[..2], 16).unwrap());
        rest = &after[2..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    bytes
}

/// Decodes the encoded words of a header field (RFC 2047). The server uses only base64.
fn decoded_words(value: &str) -> String {
    let joined = value.replace("?= =?", "?==?");
    let mut text = String::new();
    let mut rest = joined.as_str();
    while let Some((before, after)) = rest.split_once("=?utf-8?b?") {
        let (word, after) = after.split_once("?=").unwrap();
        text.push_str(before);
        text.push_str(&String::from_utf8(STANDARD.decode(word).unwrap()).unwrap());
        rest = after;
    }
    text + rest
}
