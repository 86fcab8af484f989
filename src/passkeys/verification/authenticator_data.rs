//! The authenticator data, which the authenticator signs (Web Authentication §6.1).

use super::cbor;
use super::rejection::Rejection;
use super::relying_party::Expected;

/// The length of the part before the credential and the extensions, in bytes.
const HEADER_BYTES: usize = 37;
/// The length in bytes of the AAGUID, which identifies the model of the authenticator.
const AAGUID_BYTES: usize = 16;

/// The flag "user present".
const UP: u8 = 1;
/// The flag "user verified".
const UV: u8 = 1 << 2;
/// The flag "backup eligible".
const BE: u8 = 1 << 3;
/// The flag "backed up".
const BS: u8 = 1 << 4;
/// The flag "attested credential data is included".
const AT: u8 = 1 << 6;
/// The flag "extensions are included".
const ED: u8 = 1 << 7;

/// Parsed authenticator data.
#[derive(Debug)]
pub(super) struct AuthenticatorData<'a> {
    rp_id_hash: &'a [u8],
    flags: u8,
    pub(super) sign_count: u32,
    /// The new credential; present only in a registration.
    pub(super) credential: Option<AttestedCredential<'a>>,
}

/// The credential in the response to a registration.
#[derive(Debug)]
pub(super) struct AttestedCredential<'a> {
    pub(super) id: &'a [u8],
    /// A `COSE_Key`.
    pub(super) public_key: &'a [u8],
}

impl<'a> AuthenticatorData<'a> {
    /// Parses authenticator data. Rejects input with bytes after the data.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, Rejection> {
        Self::read(bytes).ok_or(Rejection::AuthenticatorData)
    }

    fn read(bytes: &'a [u8]) -> Option<Self> {
        let (header, mut rest) = bytes.split_at_checked(HEADER_BYTES)?;
        let (rp_id_hash, header) = header.split_at_checked(32)?;
        let (&flags, sign_count) = header.split_first()?;
        let sign_count = u32::from_be_bytes(sign_count.try_into().ok()?);
        let mut credential = None;
        if flags & AT != 0 {
            let (new, after) = read_credential(rest)?;
            (credential, rest) = (Some(new), after);
        }
        if flags & ED != 0 {
            let (extensions, after) = cbor::decode_first(rest)?;
            extensions.as_map()?;
            rest = after;
        }
        rest.is_empty().then_some(Self { rp_id_hash, flags, sign_count, credential })
    }

    fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Returns whether the passkey can be synced or backed up.
    pub(super) fn is_backup_eligible(&self) -> bool {
        self.has(BE)
    }

    /// Returns whether the passkey is synced or backed up.
    pub(super) fn is_backed_up(&self) -> bool {
        self.has(BS)
    }

    /// Checks the relying party and the flags.
    pub(super) fn check(&self, expected: Expected<'_>) -> Result<(), Rejection> {
        // §7.1 step 14, §7.2 step 15.
        expected.check_rp_id_hash(self.rp_id_hash)?;
        // §7.1 step 15, §7.2 step 16.
        if !self.has(UP) {
            return Err(Rejection::UserPresence);
        }
        // §7.1 step 16, §7.2 step 17.
        if expected.user_verification && !self.has(UV) {
            return Err(Rejection::UserVerification);
        }
        // §7.1 step 17, §7.2 step 18.
        if self.has(BS) && !self.has(BE) {
            return Err(Rejection::BackupState);
        }
        Ok(())
    }
}

/// Reads attested credential data (§6.5.1). Returns the credential and the bytes after it.
fn read_credential(bytes: &[u8]) -> Option<(AttestedCredential<'_>, &[u8])> {
    let (_, rest) = bytes.split_at_checked(AAGUID_BYTES)?;
    let (length, rest) = rest.split_at_checked(2)?;
    let length = u16::from_be_bytes(length.try_into().ok()?);
    let (id, key_and_rest) = rest.split_at_checked(length.into())?;
    let (_, rest) = cbor::decode_first(key_and_rest)?;
    let (public_key, _) = key_and_rest.split_at_checked(key_and_rest.len() - rest.len())?;
    Some((AttestedCredential { id, public_key }, rest))
}
