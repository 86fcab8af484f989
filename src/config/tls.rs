//! The settings of HTTPS.

use std::path::PathBuf;

use super::{Reader, parse};

/// The files for HTTPS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificate chain, PEM.
    pub cert: PathBuf,
    /// Private key, PEM.
    pub key: PathBuf,
}

impl TlsFiles {
    /// Reads the two settings. Returns `None` if one of them is missing or not valid.
    pub(super) fn read(r: &mut Reader) -> Option<Self> {
        let cert = r.optional("tls_cert", parse::readable_file);
        let key = r.optional("tls_key", parse::readable_file);
        Some(Self { cert: cert?, key: key? })
    }
}
