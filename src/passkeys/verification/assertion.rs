//! Verifies the response to an authentication: Web Authentication Level 3, §7.2.

use super::authenticator_data::AuthenticatorData;
use super::client_data;
use super::credential::Assertion;
use super::public_key::PublicKey;
use super::rejection::Rejection;
use super::relying_party::Expected;

/// The stored state of a passkey that the verification needs.
#[derive(Debug, Clone)]
pub(in crate::passkeys) struct KnownCredential {
    /// A `COSE_Key`.
    pub(in crate::passkeys) public_key: Vec<u8>,
    pub(in crate::passkeys) is_backup_eligible: bool,
}

/// The new state of a passkey.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::passkeys) struct Used {
    pub(in crate::passkeys) sign_count: u32,
    pub(in crate::passkeys) is_backed_up: bool,
}

/// Verifies the response of the authenticator. The caller has found the passkey by the user and the
/// credential id (steps 5 and 6). The caller also compares the counter (step 22), in the statement that
/// stores the new state (step 24), because two responses may be verified at the same time.
pub(in crate::passkeys) fn verify(
    response: &Assertion,
    known: &KnownCredential,
    expected: Expected<'_>,
) -> Result<Used, Rejection> {
    // Steps 8 to 14, and step 20 (the client data).
    let hash = client_data::check(&response.client_data, client_data::GET, expected)?;
    let data = AuthenticatorData::parse(&response.authenticator_data)?;
    // §6.1: an assertion has no attested credential data.
    if data.credential.is_some() {
        return Err(Rejection::AuthenticatorData);
    }
    // Steps 15 to 18 (the relying party and the flags).
    data.check(expected)?;
    // Step 19 (the eligibility for backup).
    if data.is_backup_eligible() != known.is_backup_eligible {
        return Err(Rejection::BackupEligibility);
    }
    // Step 21 (the signature).
    let key = PublicKey::parse(&known.public_key).ok_or(Rejection::Algorithm)?;
    let message = [response.authenticator_data.as_slice(), &hash].concat();
    if !key.verify(&message, &response.signature) {
        return Err(Rejection::Signature);
    }
    // Step 23: all extensions are ignored.
    Ok(Used { sign_count: data.sign_count, is_backed_up: data.is_backed_up() })
}
