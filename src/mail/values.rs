//! The values that the template of a mail contains.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// The maximum length of a text value, in characters.
const TEXT_MAX: usize = 254;

/// The values of a mail. Each kind of mail uses some of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Values {
    /// A code that the user enters in the app.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub code: Option<String>,
    /// A link: the path and fragment below the public URL, such as `/account/reset#TOKEN`. The public URL comes
    /// from the settings, never from a request.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub link: Option<String>,
    /// How long the code or link is valid, in minutes.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub valid_minutes: Option<u32>,
    /// An email address that the text of the mail contains, such as the new address of the account.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub address: Option<String>,
    /// When the reported event happened.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub at: Option<DateTime<Utc>>,
    /// The name of the device and its user agent.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub device: Option<String>,
    /// The IP address of the client.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ip: Option<String>,
    /// The number of reported events.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub count: Option<u64>,
}

impl Values {
    /// Returns the values without control characters and with texts of limited length, so that no value can add
    /// a line to a mail.
    pub(super) fn sanitized(&self) -> Self {
        let text = |text: &Option<String>| text.as_deref().map(one_line);
        Self {
            code: text(&self.code),
            // The length of a link is not limited, because a token can be longer than other texts. Only
            // graphic ASCII characters are kept, because a link with other characters could not be opened.
            link: self.link.as_deref().map(|link| link.chars().filter(char::is_ascii_graphic).collect()),
            valid_minutes: self.valid_minutes,
            address: text(&self.address),
            at: self.at,
            device: text(&self.device),
            ip: text(&self.ip),
            count: self.count,
        }
    }
}

/// Returns the text as one line of limited length: every sequence of spaces and control characters becomes a
/// space.
fn one_line(text: &str) -> String {
    let is_separator = |c: char| c.is_whitespace() || c.is_control();
    let words: Vec<&str> = text.split(is_separator).filter(|word| !word.is_empty()).collect();
    words.join(" ").chars().take(TEXT_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_in_an_email_is_reduced_to_one_line_without_control_characters() {
        // S-48
        let values = Values {
            device: Some("Pixel\r\nBcc: eve@evil.example\r\n\r\n[link] x\u{0}\u{85}\u{2028}y".to_owned()),
            link: Some("/account/reset#a\r\nb c".to_owned()),
            address: Some("x".repeat(1000)),
            ..Values::default()
        };
        let clean = values.sanitized();
        assert_eq!(clean.device.unwrap(), "Pixel Bcc: eve@evil.example [link] x y");
        assert_eq!(clean.link.unwrap(), "/account/reset#abc");
        assert_eq!(clean.address.unwrap().len(), TEXT_MAX);
    }
}
