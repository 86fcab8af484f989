//! Rejects settings that are valid separately but contradict each other.

use super::{Reader, Settings};

impl Reader {
    /// Adds a problem for each contradiction.
    pub(super) fn check_contradictions(&mut self, settings: &Settings) {
        let mut found = Vec::new();
        if let (Some(secret), Some(file)) = (self.written("secret"), self.written("secret_file")) {
            found.push(format!("{secret} and {file}: set only one of them"));
        }
        for (one, other) in [("tls_cert", "tls_key"), ("tls_key", "tls_cert")] {
            if let (Some(written), None) = (self.written(one), self.written(other)) {
                found.push(format!("{written}: {other} is missing; HTTPS requires both"));
            }
        }
        if !settings.limits && !settings.listen.ip().to_canonical().is_loopback() {
            let name = |name| self.written(name).unwrap_or(name).to_owned();
            found.push(format!(
                "{}: off requires a loopback address in {}, as in 127.0.0.1:8080",
                name("limits"),
                name("listen"),
            ));
        }
        let (idle, absolute) = (settings.refresh_idle_secs, settings.refresh_absolute_secs);
        if idle > absolute {
            let name = |name| self.written(name).unwrap_or(name).to_owned();
            found.push(format!(
                "{}: {idle} is greater than {absolute}, the value of {}; allowed: at most that value",
                name("refresh_idle_secs"),
                name("refresh_absolute_secs"),
            ));
        }
        self.raw.problems.extend(found);
    }
}
