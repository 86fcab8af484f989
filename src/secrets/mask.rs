//! Masks secrets in messages.

/// The text that replaces a hidden value.
pub const MASK: &str = "********";

/// Masks the password of a URL, and the values of query parameters whose names suggest a secret. Works on the
/// text and not on a parsed URL, so that it masks invalid URLs too. Masks a part if it is not clear whether
/// the part is secret.
pub fn mask_url(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return text.to_owned();
    };
    // An SQLite URL contains only a path, and no password.
    if scheme == "sqlite" {
        return text.to_owned();
    }
    let rest = match rest.rsplit_once('@') {
        Some((user, host)) => match user.split_once(':') {
            Some((name, _)) => format!("{name}:{MASK}@{host}"),
            None => rest.to_owned(),
        },
        None => rest.to_owned(),
    };
    let Some((place, query)) = rest.split_once('?') else {
        return format!("{scheme}://{rest}");
    };
    let query: Vec<String> = query.split('&').map(mask_pair).collect();
    format!("{scheme}://{place}?{}", query.join("&"))
}

fn mask_pair(pair: &str) -> String {
    let key = pair.split('=').next().unwrap_or_default();
    let lower = key.to_ascii_lowercase();
    let secret = ["pass", "pwd", "secret", "token"];
    if secret.iter().any(|word| lower.contains(word)) { format!("{key}={MASK}") } else { pair.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_masked_in_any_part_of_a_url() {
        for (url, masked) in [
            ("postgres://u:p@h/d", "postgres://u:********@h/d"),
            ("postgres://u:p@ss/w?rd@h/d", "postgres://u:********@h/d"),
            ("postgres://h/d?user=u&password=p", "postgres://h/d?user=u&password=********"),
            ("sqlite://data/tripgate.db", "sqlite://data/tripgate.db"),
            ("sqlite://a:b@c/tripgate.db", "sqlite://a:b@c/tripgate.db"),
            ("plain", "plain"),
        ] {
            assert_eq!(mask_url(url), masked);
        }
    }
}
