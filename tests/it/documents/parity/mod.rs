//! The features of the four systems that Tripgate replaces, as numbered rows: each feature is proven by a test, or
//! is postponed to a later version with a reason.

mod rows;
mod secret;
mod trips;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use rows::{ROWS, Row};

/// The number of rows.
const COUNT: u16 = 97;

#[test]
fn every_feature_of_the_replaced_systems_is_listed_exactly_once() {
    let listed: Vec<u16> = ROWS.iter().map(|(number, _)| *number).collect();
    let expected: Vec<u16> = (1..=COUNT).collect();
    assert_eq!(listed, expected);
}

#[test]
fn every_test_named_in_the_list_of_features_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (number, row) in ROWS {
        let Row::Proven(pointers) = row else { continue };
        assert!(!pointers.is_empty(), "row {number} has no test");
        for pointer in *pointers {
            let (file, name) = pointer.split_once("::").unwrap();
            let source = fs::read_to_string(root.join(file)).unwrap_or_default();
            let declared = source.lines().collect::<Vec<_>>().windows(2).any(|lines| {
                let test = ["#[test]", "#[tokio::test]"].contains(&lines[0].trim());
                test && lines[1].contains(&format!("fn {name}("))
            });
            assert!(declared, "row {number} points to {pointer}, which is not a test");
        }
    }
}

#[test]
fn every_postponed_feature_has_a_reason() {
    let reasons: BTreeSet<&str> = ROWS
        .iter()
        .filter_map(|(_, row)| if let Row::Later(reason) = row { Some(*reason) } else { None })
        .collect();
    assert!(reasons.iter().all(|reason| reason.len() > 20), "{reasons:?}");
}
