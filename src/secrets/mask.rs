//! What messages show in place of a secret.

/// Stands for every hidden value.
pub const MASK: &str = "********";

/// Hides the password of a URL, and values of its query that look like one. Works on the text
/// rather than on a parsed URL, so that a URL which does not parse is masked as well; when in
/// doubt it hides too much.
pub fn mask_url(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return text.to_owned();
    };
    // A path and nothing else.
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
    fn passwords_in_urls_are_hidden_wherever_they_stand() {
        for (given, masked) in [
            ("postgres://u:p@h/d", "postgres://u:********@h/d"),
            ("postgres://u:p@ss/w?rd@h/d", "postgres://u:********@h/d"),
            ("postgres://h/d?user=u&password=p", "postgres://h/d?user=u&password=********"),
            ("sqlite://data/tripgate.db", "sqlite://data/tripgate.db"),
            ("sqlite://a:b@c/tripgate.db", "sqlite://a:b@c/tripgate.db"),
            ("plain", "plain"),
        ] {
            assert_eq!(mask_url(given), masked);
        }
    }
}
