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
        // An invalid value of `trusted_proxies` is reported separately.
        if settings.proxy_protocol
            && settings.trusted_proxies.is_empty()
            && self.written("trusted_proxies").is_none()
        {
            found.push(format!(
                "{}: on requires the addresses of the proxies in trusted_proxies, as in 10.0.0.0/8,127.0.0.1",
                self.written("proxy_protocol").unwrap_or("proxy_protocol"),
            ));
        }
        found.extend(self.unusable_passkeys(settings));
        self.raw.problems.extend(found);
    }

    /// Returns the name of a setting as the operator wrote it. An empty value is treated as absent.
    fn written(&self, name: &str) -> Option<&str> {
        let raw = self.raw.values.get(name)?;
        (!raw.value.is_empty()).then_some(raw.written.as_str())
    }

    /// Returns the problem if no browser can use the passkeys. Returns `None` if one of the settings that
    /// this check uses is invalid, because an invalid value is reported separately.
    fn unusable_passkeys(&self, settings: &Settings) -> Option<String> {
        let passkeys = &settings.passkeys;
        let is_valid = |name, is_parsed: bool| is_parsed || self.written(name).is_none();
        if !is_valid("public_url", settings.public_url.is_some())
            || !is_valid("passkey_rp_id", passkeys.rp_id.is_some())
            || !is_valid("passkey_origins", passkeys.origins.is_some())
        {
            return None;
        }
        let public_url = settings.public_url(settings.listen);
        let pages = self.written("passkey_origins").or(self.written("public_url")).unwrap_or("public_url");
        (!passkeys.is_usable(&public_url)).then(|| {
            format!(
                "{}: {} is neither the host of a page in {pages} nor a parent domain of it; browsers accept no other domain",
                self.written("passkey_rp_id").unwrap_or("passkey_rp_id"),
                passkeys.rp_id(&public_url),
            )
        })
    }
}
