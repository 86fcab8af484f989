//! The differences between two servers that use the same database.

use chrono::TimeDelta;
use uuid::Uuid;

use super::Replica;
use crate::metrics::ReplicaMismatch;

/// The maximum difference between two clocks that is not reported.
const CLOCK_TOLERANCE: TimeDelta = TimeDelta::seconds(2);

/// A difference between this server and another server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// What differs.
    pub kind: ReplicaMismatch,
    /// The id of the other server.
    pub other: Uuid,
    /// The description of the difference, with the name of the other server.
    pub detail: String,
}

/// Compares `own` with another server. `secrets` are the fingerprints of all master secrets that `own` knows:
/// while the secret is being changed, servers with the old and the new secret accept each other's secret.
pub(super) fn compare(own: &Replica, secrets: &[String], other: &Replica) -> Vec<Mismatch> {
    let name = other.name();
    let mut found = Vec::new();
    let mut add = |kind, detail| found.push(Mismatch { kind, other: other.id, detail });
    if !secrets.contains(&other.secret) {
        add(ReplicaMismatch::Secret, format!("{name} has another master secret"));
    }
    if other.public_url != own.public_url {
        let detail = format!("{name} has the public URL {}, not {}", other.public_url, own.public_url);
        add(ReplicaMismatch::PublicUrl, detail);
    }
    if other.schema != own.schema {
        let detail = format!("{name} has the schema {}, not {}", other.schema, own.schema);
        add(ReplicaMismatch::Schema, detail);
    }
    if other.version != own.version {
        let detail = format!("{name} has the version {}, not {}", other.version, own.version);
        add(ReplicaMismatch::Version, detail);
    }
    let difference = other.clock_offset - own.clock_offset;
    if difference.abs() > CLOCK_TOLERANCE {
        let seconds = difference.as_seconds_f64();
        add(ReplicaMismatch::Clock, format!("the clock of {name} differs by {seconds:+.1} s"));
    }
    found
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    fn server(secret: &str) -> Replica {
        Replica {
            id: Uuid::nil(),
            version: "1.0.0".to_owned(),
            host: "web1".to_owned(),
            address: "10.0.0.1:8080".to_owned(),
            secret: secret.to_owned(),
            public_url: "https://trips.example".to_owned(),
            schema: "m1".to_owned(),
            clock_offset: TimeDelta::zero(),
            started_at: DateTime::UNIX_EPOCH,
            seen_at: DateTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn each_difference_between_two_servers_is_found_and_described() {
        let own = server("one");
        let secrets = ["one".to_owned()];
        assert_eq!(compare(&own, &secrets, &server("one")), []);
        let other = Replica {
            version: "1.1.0".to_owned(),
            public_url: "http://10.0.0.1".to_owned(),
            schema: "m2".to_owned(),
            clock_offset: TimeDelta::milliseconds(-2001),
            ..server("two")
        };
        let found = compare(&own, &secrets, &other);
        let kinds: Vec<_> = found.iter().map(|mismatch| mismatch.kind).collect();
        assert_eq!(kinds, ReplicaMismatch::ALL);
        let details: Vec<&str> = found.iter().map(|mismatch| mismatch.detail.as_str()).collect();
        assert_eq!(
            details,
            [
                "web1 (10.0.0.1:8080) has another master secret",
                "web1 (10.0.0.1:8080) has the public URL http://10.0.0.1, not https://trips.example",
                "web1 (10.0.0.1:8080) has the schema m2, not m1",
                "web1 (10.0.0.1:8080) has the version 1.1.0, not 1.0.0",
                "the clock of web1 (10.0.0.1:8080) differs by -2.0 s",
            ]
        );
    }

    #[test]
    fn servers_that_know_each_others_secret_and_whose_clocks_differ_by_2_seconds_are_compatible() {
        let knowing = ["one".to_owned(), "two".to_owned()];
        let other = Replica { clock_offset: TimeDelta::seconds(2), ..server("two") };
        assert_eq!(compare(&server("one"), &knowing, &other), []);
    }
}
