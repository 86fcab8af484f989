//! Messages as they are sent (RFC 5322): headers, a text part and an HTML part.
//!
//! Header injection is impossible: an address with a control character is not valid, the library encodes every
//! character of a subject that is not printable ASCII (RFC 2047), and the bodies are encoded (RFC 2045). A domain
//! is sent as A-labels; a local part that is not ASCII needs a mail server with SMTPUTF8 (RFC 6531).

use std::time::SystemTime;

use chrono::{DateTime, Utc};
use lettre::address::Envelope;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MessageBuilder, MultiPart, SinglePart};
use lettre::{Address, Message};
use url::Url;
use uuid::Uuid;

use super::rendering::Rendered;

/// The name of the default sender, which is used if no sender is configured.
const NAME: &str = "Tripgate";

/// The text is not an address to which a mail can be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not an email address; valid forms are name@example.org and Name <name@example.org>")]
pub struct AddressError;

/// The sender of all mails.
#[derive(Debug, Clone)]
pub(super) struct Sender(Mailbox);

/// A message for one recipient.
#[derive(Debug)]
pub(super) struct Outgoing {
    /// The addresses of the sender and the recipient in the SMTP commands.
    pub(super) envelope: Envelope,
    /// The message.
    pub(super) bytes: Vec<u8>,
}

impl Sender {
    /// Parses the configured sender. If no sender is configured, the sender is `no-reply` at the host of the
    /// public URL.
    pub(super) fn new(from: Option<&str>, public_url: &str) -> Result<Self, AddressError> {
        if let Some(from) = from {
            return parse_mailbox(from).map(Self);
        }
        let url = Url::parse(public_url).ok();
        let domain = url.as_ref().and_then(Url::domain).unwrap_or("localhost");
        let address = Address::new("no-reply", domain).map_err(|_| AddressError)?;
        Ok(Self(Mailbox::new(Some(NAME.to_owned()), address)))
    }

    /// Returns the `Message-ID` of a mail (RFC 5322 §3.6.4).
    pub(super) fn message_id(&self, id: Uuid) -> String {
        format!("<{id}@{}>", self.0.email.domain())
    }

    /// Builds a message.
    pub(super) fn message(
        &self,
        to: &str,
        message_id: &str,
        date: DateTime<Utc>,
        content: Rendered,
    ) -> Result<Outgoing, MessageError> {
        let to = parse_address(to)?;
        let envelope = Envelope::new(Some(self.0.email.clone()), vec![to.clone()])?;
        let builder = Message::builder()
            .from(self.0.clone())
            .to(Mailbox::new(None, to))
            .subject(content.subject)
            .date(SystemTime::from(date))
            .message_id(Some(message_id.to_owned()));
        // These headers prevent automatic replies, such as out-of-office notices (RFC 3834).
        let builder = raw_header(builder, "Auto-Submitted", "auto-generated");
        let builder = raw_header(builder, "X-Auto-Response-Suppress", "All");
        let message = match content.html {
            Some(html) => builder.multipart(MultiPart::alternative_plain_html(content.text, html))?,
            None => builder.singlepart(SinglePart::plain(content.text))?,
        };
        Ok(Outgoing { envelope, bytes: message.formatted() })
    }
}

/// Why a message can't be built. A mail with this error can never be sent.
#[derive(Debug, thiserror::Error)]
pub(super) enum MessageError {
    #[error("the address of the recipient is invalid")]
    Recipient(#[from] AddressError),
    #[error("failed to encode the message")]
    Encoding(#[from] lettre::error::Error),
}

fn raw_header(builder: MessageBuilder, name: &'static str, value: &str) -> MessageBuilder {
    builder.raw_header(HeaderValue::new(HeaderName::new_from_ascii_str(name), value.to_owned()))
}

/// Parses `name@example.org` or `Name <name@example.org>`.
pub(super) fn parse_mailbox(text: &str) -> Result<Mailbox, AddressError> {
    if text.chars().any(char::is_control) {
        return Err(AddressError);
    }
    let Some((name, rest)) = text.split_once('<') else {
        return Ok(Mailbox::new(None, parse_address(text.trim())?));
    };
    let address = rest.trim().strip_suffix('>').ok_or(AddressError)?;
    let name = name.trim().trim_matches('"').trim();
    Ok(Mailbox::new((!name.is_empty()).then(|| name.to_owned()), parse_address(address)?))
}

/// Parses an address. Converts its domain to A-labels.
fn parse_address(text: &str) -> Result<Address, AddressError> {
    if text.chars().any(|c| c.is_control() || c == '<' || c == '>') {
        return Err(AddressError);
    }
    let (local, domain) = text.rsplit_once('@').ok_or(AddressError)?;
    let domain = identifiers::domain_to_ascii(domain).ok_or(AddressError)?;
    Address::new(local, domain).map_err(|_| AddressError)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::from_millis;

    fn build(to: &str, subject: &str, text: &str) -> Result<String, MessageError> {
        let sender = Sender::new(Some("Tripgäte <hello@müller.example>"), "https://x.example").unwrap();
        let content =
            Rendered { subject: subject.to_owned(), text: text.to_owned(), html: Some(format!("<p>{text}")) };
        let id = sender.message_id(Uuid::from_u128(7));
        let outgoing = sender.message(to, &id, from_millis(1_800_000_000_000), content)?;
        Ok(String::from_utf8(outgoing.bytes).unwrap())
    }

    #[test]
    fn a_message_has_the_headers_of_an_automatic_mail() {
        let message = build("ada@example.org", "Your code", "Code 1234").unwrap();
        let (headers, body) = message.split_once("\r\n\r\n").unwrap();
        for line in [
            "From: =?utf-8?b?VHJpcGfDpHRl?= <hello@xn--mller-kva.example>",
            "To: ada@example.org",
            "Subject: Your code",
            "Date: Fri, 15 Jan 2027 08:00:00 +0000",
            "Message-ID: <00000000-0000-0000-0000-000000000007@xn--mller-kva.example>",
            "Auto-Submitted: auto-generated",
            "MIME-Version: 1.0",
        ] {
            assert!(headers.lines().any(|header| header == line), "{line} in {headers}");
        }
        assert!(body.contains("text/plain") && body.contains("text/html"), "{body}");
    }

    #[test]
    fn no_value_can_add_a_header_to_a_message() {
        // S-48
        let message = build("ada@example.org", "Hi\r\nBcc: eve@evil.example", "x\r\n\r\nBcc: y").unwrap();
        let (headers, _) = message.split_once("\r\n\r\n").unwrap();
        assert!(!headers.lines().any(|line| line.starts_with("Bcc")), "{headers}");
        for to in [
            "ada@example.org\r\nBcc: eve@evil.example",
            "ada@example.org\n",
            "\"a\r\nb\"@example.org",
            "ada@example.org>",
            "ada@example.org> RCPT TO:<eve@evil.example",
            "ada",
            "ada@exam ple.org",
            "ada@",
        ] {
            assert!(build(to, "x", "x").is_err(), "{to:?}");
        }
    }

    #[test]
    fn a_domain_is_sent_in_punycode_and_a_local_part_unchanged() {
        let message = build("Ada@MÜNCHEN.de", "x", "x").unwrap();
        assert!(message.contains("To: Ada@xn--mnchen-3ya.de\r\n"), "{message}");
        let message = build("ädä@example.org", "x", "x").unwrap();
        assert!(message.contains("To: ädä@example.org\r\n"), "{message}");
    }

    #[test]
    fn the_sender_defaults_to_the_host_of_the_public_url() {
        let sender = |url| Sender::new(None, url).unwrap().0.to_string();
        assert_eq!(sender("https://trips.example/api"), "Tripgate <no-reply@trips.example>");
        assert_eq!(sender("http://127.0.0.1:8080"), "Tripgate <no-reply@localhost>");
        for bad in ["x", "A <b", "A <b@c.d>\r\n", "<>"] {
            assert!(Sender::new(Some(bad), "https://x.example").is_err(), "{bad:?}");
        }
    }
}
