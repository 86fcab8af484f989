//! The `Authorization: Digest` header and its challenge (RFC 7616).

use crate::personal_tokens::digest::{ALGORITHM, DigestResponse, REALM};

/// The maximum length of the header's value, in bytes.
const MAX_BYTES: usize = 4096;

/// Returns the value of a `WWW-Authenticate` header. `is_stale` means that the client's Digest response was
/// correct but its nonce is no longer valid, so the client can repeat the request without asking the user.
pub(super) fn challenge(nonce: &str, is_stale: bool) -> String {
    let stale = if is_stale { ", stale=true" } else { "" };
    format!(
        r#"Digest realm="{REALM}", qop="auth", algorithm={ALGORITHM}, nonce="{nonce}", charset=UTF-8{stale}"#
    )
}

/// Parses the text after the scheme. Returns `None` if the text is malformed or repeats a field.
pub(super) fn parse(text: &str) -> Option<DigestResponse> {
    if text.len() > MAX_BYTES || !text.is_ascii() {
        return None;
    }
    let mut response = DigestResponse::default();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=')?;
        let (value, after) = value(after)?;
        rest = match after.trim_start().split_once(',') {
            Some(("", next)) => next.trim_start(),
            None if after.trim().is_empty() => "",
            _ => return None,
        };
        let field = match name.trim().to_ascii_lowercase().as_str() {
            "username" => &mut response.username,
            "realm" => &mut response.realm,
            "uri" => &mut response.uri,
            "algorithm" => &mut response.algorithm,
            "nonce" => &mut response.nonce,
            "nc" => &mut response.nc,
            "cnonce" => &mut response.cnonce,
            "qop" => &mut response.qop,
            "response" => &mut response.response,
            "userhash" if value == "false" => continue,
            // Hashed or encoded user names are not supported. The user name is the id of a token, which is
            // ASCII and not personal data.
            "userhash" | "username*" => return None,
            _ => continue,
        };
        if !field.is_empty() {
            return None;
        }
        *field = value;
    }
    Some(response)
}

/// Returns a token or a quoted string (RFC 9110 §5.6), and the text after it.
fn value(text: &str) -> Option<(String, &str)> {
    let text = text.trim_start();
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
        let (token, rest) = text.split_at_checked(end)?;
        return (!token.is_empty() && !token.contains('"')).then(|| (token.to_owned(), rest));
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, quoted.get(at + 1..)?)),
            '\\' => value.push(characters.next()?.1),
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_parameters_of_a_digest_header_may_have_any_order_and_spacing() {
        let text = r#"username="a\"b", realm="tripgate",uri="/x?a=1,2" , algorithm=SHA-256, nonce="n", nc=00000001,
            cnonce="c", qop=auth, response="r", opaque="o", userhash=false"#;
        let parsed = parse(text).unwrap();
        assert_eq!((parsed.username.as_str(), parsed.uri.as_str()), (r#"a"b"#, "/x?a=1,2"));
        assert_eq!(
            (parsed.nc.as_str(), parsed.qop.as_str(), parsed.response.as_str()),
            ("00000001", "auth", "r")
        );
    }

    #[test]
    fn malformed_digest_headers_are_rejected() {
        // S-94
        for text in [
            "x",
            "nc=",
            "nc=1 qop=auth",
            r#"nc="1"#,
            "nc=1, nc=2",
            r#"nc=1"2""#,
            "userhash=true",
            "username*=x",
            "é=1",
            r#"nc="1"x, qop=auth"#,
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn parsing_any_text_as_a_digest_header_never_panics(text in "\\PC{0,100}") {
            drop(parse(&text));
        }
    }
}
