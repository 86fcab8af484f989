//! Why a response of an authenticator is rejected: one case for each step of the verification.

/// The step of the verification that failed. The brackets name the steps of Web Authentication Level 3: first
/// of §7.1 (registration), then, after a semicolon, of §7.2 (authentication).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The challenge is unknown, was used, has expired, or was issued for another ceremony or user [§13.4.3].
    #[error("the challenge is unknown, was used, has expired, or was issued for another ceremony or user")]
    UnknownChallenge,
    /// The user has no passkey with this credential id [§7.2 steps 5 and 6].
    #[error("the user has no passkey with this credential id")]
    UnknownCredential,
    /// The user handle is missing or belongs to another account [§7.2 step 6].
    #[error("the user handle is missing or is that of another account")]
    UserHandle,
    /// `clientDataJSON` is not JSON with the required fields [steps 5 and 6; 8 and 9].
    #[error("clientDataJSON is malformed")]
    ClientData,
    /// The type in the client data is not the type of the ceremony [step 7; 10].
    #[error("the type in clientDataJSON is not that of the ceremony")]
    Type,
    /// The challenge in the client data is not the challenge that was issued [step 8; 11].
    #[error("the challenge in clientDataJSON is not the one that was issued")]
    Challenge,
    /// The origin is not in the setting `passkey_origins` [step 9; 12].
    #[error("the origin in clientDataJSON is not one of passkey_origins")]
    Origin,
    /// The page was embedded in a page of another origin [steps 10 and 11; 13 and 14].
    #[error("the page was embedded in a page of another origin")]
    CrossOrigin,
    /// The attestation object is not the CBOR map that the specification defines [step 13].
    #[error("the attestation object is malformed")]
    AttestationObject,
    /// The authenticator data is malformed [§6.1].
    #[error("the authenticator data is malformed")]
    AuthenticatorData,
    /// `rpIdHash` is the hash of another relying party [step 14; 15].
    #[error("rpIdHash is not the SHA-256 of passkey_rp_id")]
    RpIdHash,
    /// The user was not present [step 15; 16].
    #[error("the flag UP (user present) is not set")]
    UserPresence,
    /// The user was not verified [step 16; 17].
    #[error("the flag UV (user verified) is not set")]
    UserVerification,
    /// The passkey is backed up although it is not eligible for backup [step 17; 18].
    #[error("the flag BS (backed up) is set without the flag BE (backup eligible)")]
    BackupState,
    /// The eligibility for backup has changed since the registration [§7.2 step 19].
    #[error("the flag BE (backup eligible) has changed since the registration")]
    BackupEligibility,
    /// The public key has none of the offered algorithms, or is not valid [step 20].
    #[error("the public key has none of the offered algorithms, or is not valid")]
    Algorithm,
    /// The format of the attestation is neither `none` nor `packed` with self attestation [steps 21 and 24].
    #[error("the attestation format is neither none nor packed with self attestation")]
    AttestationFormat,
    /// The attestation statement is not valid [step 22].
    #[error("the attestation statement is not valid")]
    AttestationStatement,
    /// The credential id is empty, too long, or differs from `rawId` [step 25].
    #[error("the credential id is empty, has more than 1023 bytes, or differs from rawId")]
    CredentialId,
    /// The signature is not valid [§7.2 step 21].
    #[error("the signature is not valid")]
    Signature,
    /// The signature counter has not grown, so the authenticator may have been cloned [§7.2 step 22].
    #[error("the signature counter has not grown: the authenticator may have been cloned")]
    Counter,
}

impl Rejection {
    /// Returns the sentence for the user. The sentence does not reveal whether a passkey is registered.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::UnknownChallenge | Self::Challenge => "This request has expired. Please try again.",
            Self::Origin | Self::CrossOrigin | Self::RpIdHash => {
                "Passkeys of this service cannot be used in this app or on this page."
            }
            Self::UserPresence | Self::UserVerification => {
                "Please confirm the passkey with your fingerprint, face, PIN or pattern."
            }
            Self::Algorithm | Self::AttestationFormat | Self::AttestationStatement => {
                "Passkeys of this kind are not supported. Please use another device or password manager."
            }
            _ => "This passkey is not valid here. Please try again, or use another method.",
        }
    }
}
