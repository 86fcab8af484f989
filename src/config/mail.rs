//! The settings of mails.

use std::net::IpAddr;
use std::path::PathBuf;

use email_address::{EmailAddress, Options};
use percent_encoding::percent_decode_str;
use url::Url;

use super::parse::{self, Parsed};
use super::settings::ValueKind;
use super::{Reader, Secret};

/// How mails are sent.
#[derive(Clone, Debug)]
pub struct MailSettings {
    /// The mail server. If it is not set, mails are written to files.
    pub smtp: Option<SmtpServer>,
    /// Sender of mails, as configured.
    pub from: Option<String>,
    /// File with additional certificates (PEM) that are trusted for the mail server.
    pub ca_file: Option<PathBuf>,
    /// Seconds to wait for a response of the mail server.
    pub timeout_secs: u32,
    /// Directory with templates that replace the built-in templates.
    pub templates: Option<PathBuf>,
    /// Maximum number of mails per day.
    pub per_day: u32,
    /// Whether a login on a new device is reported by mail.
    pub new_device: bool,
}

/// A mail server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmtpServer {
    /// How the connection is encrypted.
    pub security: SmtpSecurity,
    /// Host name or IP address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// User and password, if the server requires them.
    pub credentials: Option<(String, Secret)>,
}

/// How a connection to a mail server is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SmtpSecurity {
    /// TLS from the first byte (`smtps://`).
    Tls,
    /// STARTTLS, which the server must offer (`smtp://`).
    StartTls,
    /// No encryption, for a server on the same machine (`smtp+plain://`).
    Plain,
}

/// Reads the settings of mails.
pub(super) fn read(r: &mut Reader) -> MailSettings {
    MailSettings {
        smtp: r.optional("smtp_url", server),
        from: r.optional("mail_from", mailbox),
        ca_file: r.optional("smtp_ca_file", parse::readable_file),
        timeout_secs: r.required("smtp_timeout_secs", 0, parse::number),
        templates: r.optional("templates", parse::path),
        per_day: r.required("mail_per_day", 0, parse::number),
        new_device: r.required("new_device_mail", true, parse::boolean),
    }
}

fn server(text: &str, _: &ValueKind) -> Parsed<SmtpServer> {
    let url = Url::parse(text).map_err(|error| format!("is not a URL ({error})"))?;
    let (security, port) = match url.scheme() {
        "smtps" => (SmtpSecurity::Tls, 465),
        "smtp" => (SmtpSecurity::StartTls, 587),
        "smtp+plain" => (SmtpSecurity::Plain, 25),
        _ => return Err("has a scheme that is not supported".to_owned()),
    };
    if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
        return Err("has a path, a query or a fragment".to_owned());
    }
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or("names no host")?;
    let host = host.trim_matches(['[', ']']).to_ascii_lowercase();
    if host.chars().any(|c| !c.is_ascii_graphic() || c == '%') {
        return Err("names an invalid host".to_owned());
    }
    if security == SmtpSecurity::Plain && !is_loopback(&host) {
        return Err("is not encrypted, so its host must be localhost or a loopback address".to_owned());
    }
    let decoded = |text: &str| {
        let text = percent_decode_str(text).decode_utf8().map_err(|_| "is not UTF-8".to_owned())?;
        if text.chars().any(char::is_control) {
            return Err("contains a control character".to_owned());
        }
        Ok(text.into_owned())
    };
    let credentials = match (url.username(), url.password()) {
        ("", None) => None,
        ("", Some(_)) => return Err("has a password without a user".to_owned()),
        (_, None) => return Err("has a user without a password".to_owned()),
        (user, Some(password)) => Some((decoded(user)?, Secret::new(decoded(password)?))),
    };
    Ok(SmtpServer { security, host, port: url.port().unwrap_or(port), credentials })
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Returns the text if it is an address, as in `a@example.org` or `Name <a@example.org>`.
fn mailbox(text: &str, _: &ValueKind) -> Parsed<String> {
    let text = text.trim();
    let address = match text.split_once('<') {
        Some((_, rest)) => rest.strip_suffix('>').unwrap_or_default(),
        None => text,
    };
    let options = Options::default().without_domain_literal().without_display_text();
    if text.chars().any(char::is_control) || EmailAddress::parse_with_options(address, options).is_err() {
        return Err("is not an email address".to_owned());
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: ValueKind = ValueKind::Smtp;

    #[test]
    fn the_scheme_of_a_mail_server_selects_the_encryption_and_the_port() {
        let parsed = |text| server(text, &ANY).map(|s| (s.security, s.host, s.port)).unwrap();
        assert_eq!(parsed("smtps://Mail.example"), (SmtpSecurity::Tls, "mail.example".to_owned(), 465));
        assert_eq!(parsed("smtp://m.example/"), (SmtpSecurity::StartTls, "m.example".to_owned(), 587));
        assert_eq!(parsed("smtp+plain://[::1]:2525"), (SmtpSecurity::Plain, "::1".to_owned(), 2525));
        assert_eq!(parsed("smtp+plain://localhost"), (SmtpSecurity::Plain, "localhost".to_owned(), 25));
        let server = server("smtps://us%40er:p%3Ass%2B@m.example", &ANY).unwrap();
        assert_eq!(server.credentials, Some(("us@er".to_owned(), Secret::new("p:ss+"))));
    }

    #[test]
    fn a_mail_server_without_encryption_must_be_local_and_a_malformed_url_is_rejected() {
        for url in ["smtp+plain://m.example", "smtp+plain://10.0.0.1", "smtp+plain://localhost.example"] {
            assert!(server(url, &ANY).unwrap_err().contains("loopback"), "{url}");
        }
        for url in [
            "http://m.example",
            "smtp:m.example",
            "smtp://",
            "m.example",
            "smtp://m.example/path",
            "smtp://m.example?x=1",
            "smtp://user@m.example",
            "smtp://u:p%0D%0ARSET@m.example",
        ] {
            assert!(server(url, &ANY).is_err(), "{url}");
        }
    }

    #[test]
    fn the_sender_of_emails_is_an_address_with_or_without_a_name() {
        for valid in ["a@b.example", "Trips <a@b.example>"] {
            assert_eq!(mailbox(valid, &ANY).unwrap(), valid);
        }
        for invalid in ["", "a", "Trips a@b.example", "Trips <a@b.example", "a@b.example\r\nBcc: c@d.example"]
        {
            assert!(mailbox(invalid, &ANY).is_err(), "{invalid:?}");
        }
    }
}
