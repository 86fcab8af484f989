//! The metrics that `packaging/` and the documents name exist, and the systemd unit and the Dockerfile
//! contain the expected commands.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;
use tripgate::metrics;

fn read(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// Returns the names of metrics in an expression.
fn names(expression: &str) -> BTreeSet<String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    expression
        .split(|c| !is_name(c))
        .filter(|word| {
            ["tripgate_", "http_server_", "process_"].iter().any(|prefix| word.starts_with(prefix))
        })
        .map(|word| {
            let base = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| word.strip_suffix(suffix));
            base.unwrap_or(word).to_owned()
        })
        .collect()
}

fn expressions(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(text) if name == "expr" => found.extend(names(text)),
                    other => expressions(other, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| expressions(item, found)),
        _ => {}
    }
}

#[test]
fn every_metric_of_the_dashboard_and_the_alerts_exists() {
    let text = metrics::render();
    // If a metric has no series before its first event, the output lacks it, but the documentation lists it.
    let documented = read("docs/operations.md");
    let exists = |name: &str| {
        text.lines().any(|line| line.split(' ').nth(2) == Some(name))
            || documented.contains(&format!("`{name}`"))
    };
    let mut dashboard = BTreeSet::new();
    expressions(&serde_json::from_str(&read("packaging/grafana.json")).unwrap(), &mut dashboard);
    let alerts = names(&read("packaging/alerts.yml"));
    assert!(dashboard.len() >= 15 && alerts.len() >= 8, "{dashboard:?} {alerts:?}");
    for name in dashboard.union(&alerts) {
        assert!(exists(name), "{name} does not exist");
    }
}

#[test]
fn every_documented_metric_exists() {
    let text = metrics::render();
    let documents = read("docs/operations.md");
    let table = documents.split_once("### Metrics").unwrap().1.split_once("### ").unwrap().0;
    let documented = table.lines().filter(|line| line.starts_with("| `")).flat_map(names);
    // The only metric that has no series at the start.
    let later = "http_server_request_duration_seconds";
    for name in documented.filter(|name| !name.ends_with('_') && name != later) {
        assert!(text.contains(&format!("# TYPE {name} ")), "{name} does not exist");
    }
}

#[test]
fn the_systemd_unit_and_the_container_image_contain_the_expected_commands() {
    let unit = read("packaging/tripgate.service");
    for line in ["Type=notify", "ExecStart=/usr/bin/tripgate serve", "ExecReload=kill -HUP $MAINPID"] {
        assert!(unit.lines().any(|known| known == line), "{line}");
    }
    let image = read("Dockerfile");
    for line in ["FROM scratch", "USER 65532:65532", "VOLUME /data"] {
        assert!(image.lines().any(|known| known == line), "{line}");
    }
    assert!(image.contains("HEALTHCHECK") && image.contains("\"health\""), "{image}");
}
