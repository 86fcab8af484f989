//! Parses source files: code without comments and strings, the paths it names, and its database queries.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// A file of the workspace: its path relative to the root of the workspace, with `/` as the separator, its text,
/// and its text without comments, string literals and character literals.
pub(super) struct Source {
    pub(super) path: String,
    pub(super) text: String,
    pub(super) code: String,
}

/// Returns all Rust files below a folder of the workspace.
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

/// Returns the text without comments, string literals and character literals.
pub(super) fn code_of(text: &str) -> String {
    let mut code = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(length) = raw_string_len(rest).filter(|_| !ends_with_word(&code)) {
            length
        } else if first == '"' {
            quoted(rest, '"').unwrap_or(rest.len())
        } else if first == '\'' {
            // A `'` opens a character literal if it is followed by one character or one escape sequence and
            // by another `'`. Otherwise it begins a lifetime.
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

fn ends_with_word(code: &str) -> bool {
    code.ends_with(|last: char| last.is_alphanumeric() || last == '_')
}

/// Returns the length of the raw string (`r"…"`, `r#"…"#`, `br"…"`) at the start, if there is one.
fn raw_string_len(rest: &str) -> Option<usize> {
    let behind = rest.strip_prefix('b').unwrap_or(rest).strip_prefix('r')?;
    let hashes = behind.len() - behind.trim_start_matches('#').len();
    let open = rest.len() - behind.len() + hashes;
    let body = rest[open..].strip_prefix('"')?;
    let close = format!("\"{}", "#".repeat(hashes));
    Some(open + 1 + body.find(&close)? + close.len())
}

/// Returns the length of the literal at the start, with both quotation marks.
fn quoted(rest: &str, mark: char) -> Option<usize> {
    let mut escaped = false;
    rest.char_indices().skip(1).find_map(|(at, character)| {
        let ends = character == mark && !escaped;
        escaped = character == '\\' && !escaped;
        ends.then_some(at + 1)
    })
}

/// Returns every identifier of the code.
pub(super) fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|word| !word.is_empty())
}

/// Returns every path that begins with this root, with groups expanded: `crate::{a, b::{c, d}}` becomes
/// `a`, `b::c` and `b::d`.
pub(super) fn paths(code: &str, root: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices(&format!("{root}::")) {
        if !ends_with_word(&code[..at]) && !code[..at].ends_with("::") {
            expand(&code[at + root.len() + 2..], "", &mut found);
        }
    }
    found
}

/// Adds the path or the group at the start of `code` to `found`, below `base`. Returns the rest of the code.
fn expand<'a>(code: &'a str, base: &str, found: &mut BTreeSet<String>) -> &'a str {
    let code = code.trim_start();
    if let Some(mut group) = code.strip_prefix('{') {
        loop {
            group = expand(group, base, found);
            // Only ` as name` can precede the next separator.
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
        // The name is empty after a trailing comma of the group.
        (_, "") if !rest.starts_with('*') => return rest,
        (base, "") => base.to_owned(),
        ("", name) => name.to_owned(),
        (base, name) => format!("{base}::{name}"),
    };
    if let Some(deeper) = rest.strip_prefix("::") {
        return expand(deeper, &path, found);
    }
    found.insert(path);
    rest
}

/// Returns the name and the parameters of each function that takes a transaction.
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
