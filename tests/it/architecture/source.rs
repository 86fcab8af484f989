//! Reads sources: files without their comments and texts, the paths they name, the queries they have.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// A file of the workspace: its path from the root, with `/`, and what it says.
pub(super) struct Source {
    pub(super) path: String,
    pub(super) text: String,
    pub(super) code: String,
}

/// All Rust files in a folder of the workspace.
pub(super) fn sources(under: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut folders = vec![root.join(under)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|kind| kind == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                let parts = path.strip_prefix(root).unwrap().iter();
                let parts: Vec<&str> = parts.map(|part| part.to_str().unwrap()).collect();
                found.push(Source { path: parts.join("/"), code: code_of(&text), text });
            }
        }
    }
    assert!(!found.is_empty(), "there are no sources under {under}");
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// The text without its comments, strings and characters.
pub(super) fn code_of(text: &str) -> String {
    let mut code = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(length) = raw_text(rest).filter(|_| !ends_in_a_word(&code)) {
            length
        } else if first == '"' {
            quoted(rest, '"').unwrap_or(rest.len())
        } else if first == '\'' {
            // Without an end close by it is a lifetime.
            let escaped = rest.starts_with("'\\");
            let end = quoted(rest, '\'').filter(|_| escaped || rest.chars().nth(2) == Some('\''));
            end.unwrap_or(0)
        } else {
            0
        };
        if skipped == 0 {
            code.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            code.push(' ');
            rest = &rest[skipped..];
        }
    }
    code
}

fn ends_in_a_word(code: &str) -> bool {
    code.ends_with(|last: char| last.is_alphanumeric() || last == '_')
}

/// The length of `r"…"`, `r#"…"#`, `br"…"` at the start.
fn raw_text(rest: &str) -> Option<usize> {
    let behind = rest.strip_prefix('b').unwrap_or(rest).strip_prefix('r')?;
    let hashes = behind.len() - behind.trim_start_matches('#').len();
    let open = rest.len() - behind.len() + hashes;
    let body = rest[open..].strip_prefix('"')?;
    let close = format!("\"{}", "#".repeat(hashes));
    Some(open + 1 + body.find(&close)? + close.len())
}

/// The length of what stands between two such marks, with them.
fn quoted(rest: &str, mark: char) -> Option<usize> {
    let mut escaped = false;
    rest.char_indices().skip(1).find_map(|(at, character)| {
        let ends = character == mark && !escaped;
        escaped = character == '\\' && !escaped;
        ends.then_some(at + 1)
    })
}

/// Every name in it.
pub(super) fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|word| !word.is_empty())
}

/// Every path that begins with this root, with its groups unfolded: `crate::{a, b::{c, d}}` is
/// `a`, `b::c` and `b::d`.
pub(super) fn paths(code: &str, root: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices(&format!("{root}::")) {
        if !ends_in_a_word(&code[..at]) && !code[..at].ends_with("::") {
            unfold(&code[at + root.len() + 2..], "", &mut found);
        }
    }
    found
}

/// Reads one path or group, told from where; gives what is left behind it.
fn unfold<'a>(code: &'a str, base: &str, found: &mut BTreeSet<String>) -> &'a str {
    let code = code.trim_start();
    if let Some(mut group) = code.strip_prefix('{') {
        loop {
            group = unfold(group, base, found);
            // What stands before the next mark is ` as name`, or nothing.
            let Some(mark) = group.find([',', '}']) else { return "" };
            let last = group[mark..].starts_with('}');
            group = &group[mark + 1..];
            if last {
                return group;
            }
        }
    }
    let end = code.find(|c: char| !(c.is_alphanumeric() || c == '_'));
    let (name, rest) = code.split_at(end.unwrap_or(code.len()));
    let path = match (base, name) {
        // A comma behind the last one of a group.
        (_, "") if !rest.starts_with('*') => return rest,
        (base, "") => base.to_owned(),
        ("", name) => name.to_owned(),
        (base, name) => format!("{base}::{name}"),
    };
    if let Some(deeper) = rest.strip_prefix("::") {
        return unfold(deeper, &path, found);
    }
    found.insert(path);
    rest
}

/// The parameters of each function that takes a transaction: its name, and what stands between the
/// parentheses.
pub(super) fn queries(code: &str) -> Vec<(String, String)> {
    let code = code.split_whitespace().collect::<Vec<_>>().join(" ");
    code.split(" fn ")
        .skip(1)
        .filter_map(|function| {
            let (name, behind) = function.split_once('(')?;
            let (parameters, _) = behind.split_once(") ->").or_else(|| behind.split_once(") {"))?;
            let name = name.split('<').next().unwrap_or_default();
            parameters.contains("&Tx").then(|| (name.to_owned(), parameters.to_owned()))
        })
        .collect()
}
