//! The purposes of the keys that are derived from the master secret.

/// The purpose of a derived key.
#[derive(Debug, Clone, Copy)]
pub enum Purpose {
    /// Encrypting private keys at rest.
    KeyRing,
    /// Authenticating refresh tokens.
    RefreshTokens,
    /// Authenticating page cursors.
    Cursors,
    /// Authenticating share links.
    Shares,
    /// Authenticating mailed codes and links.
    Flows,
    /// Encrypting queued mails.
    Outbox,
    /// Hashing the addresses of mailboxes.
    Mailboxes,
    /// Hashing personal access tokens.
    PersonalTokens,
    /// Encrypting the hashes of personal access tokens for HTTP Digest authentication.
    DigestHashes,
    /// Authenticating the nonces of HTTP Digest authentication.
    DigestNonces,
    /// Encrypting the secrets of authenticator apps at rest.
    TotpSecrets,
    /// Identifying the master secret in backups and in the rows that describe running servers.
    Fingerprint,
    /// Encrypting backups.
    Backups,
    /// Hashing names and addresses for the throttle.
    Throttle,
    /// Authenticating device tokens.
    DeviceTokens,
}

impl Purpose {
    /// Returns the text that distinguishes the key from the keys for other purposes.
    pub(super) fn label(self) -> &'static [u8] {
        match self {
            Self::Backups => b"tripgate backups v1",
            Self::KeyRing => b"tripgate key ring v1",
            Self::RefreshTokens => b"tripgate refresh tokens v1",
            Self::Cursors => b"tripgate cursors v1",
            Self::Shares => b"tripgate shares v1",
            Self::Flows => b"tripgate flows v1",
            Self::Outbox => b"tripgate outbox v1",
            Self::Mailboxes => b"tripgate mailboxes v1",
            Self::PersonalTokens => b"tripgate personal tokens v1",
            Self::DigestHashes => b"tripgate digest hashes v1",
            Self::DigestNonces => b"tripgate digest nonces v1",
            Self::TotpSecrets => b"tripgate totp secrets v1",
            Self::Fingerprint => b"tripgate fingerprint v1",
            Self::Throttle => b"tripgate throttle v1",
            Self::DeviceTokens => b"tripgate device tokens v1",
        }
    }
}
