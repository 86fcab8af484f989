//! The documents: their links, the security requirements they list, and the length of the README.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else {
            found.push(path);
        }
    }
}

/// Returns the numbers of the requirements that a text cites. `AES-256` is not a requirement.
fn requirements(text: &str) -> BTreeSet<u32> {
    let mut found = BTreeSet::new();
    for (at, _) in text.match_indices("S-") {
        if text[..at].ends_with(|before: char| before.is_ascii_alphanumeric()) {
            continue;
        }
        let digits: String = text[at + 2..].chars().take_while(char::is_ascii_digit).collect();
        found.extend(digits.parse::<u32>());
    }
    found
}

#[test]
fn the_security_document_lists_exactly_the_cited_requirements() {
    let mut paths = Vec::new();
    files(&root().join("tests"), &mut paths);
    files(&root().join("src"), &mut paths);
    let mut cited = BTreeSet::new();
    for path in paths {
        if path.extension().is_some_and(|kind| ["rs", "py", "mjs", "sh"].iter().any(|known| kind == *known)) {
            cited.extend(requirements(&fs::read_to_string(&path).unwrap()));
        }
    }
    let listed = requirements(&fs::read_to_string(root().join("docs/security.md")).unwrap());
    assert_eq!(cited, listed);
}

#[test]
fn every_relative_link_of_a_document_points_to_a_file() {
    let mut documents = vec![root().join("README.md"), root().join("CONTRIBUTING.md")];
    files(&root().join("docs"), &mut documents);
    documents.retain(|path| path.extension().is_some_and(|kind| kind == "md"));
    for document in documents {
        let text = fs::read_to_string(&document).unwrap();
        for link in text.split("](").skip(1) {
            let target = link.split([')', '#']).next().unwrap();
            if !target.is_empty() && !target.contains(':') {
                let file = document.parent().unwrap().join(target);
                assert!(file.exists(), "{} links to {target}, which does not exist", document.display());
            }
        }
    }
}

#[test]
fn the_readme_has_at_most_200_lines() {
    let lines = fs::read_to_string(root().join("README.md")).unwrap().lines().count();
    assert!(lines <= 200, "README.md has {lines} lines");
}
