//! Verifies the response to a registration: Web Authentication Level 3, §7.1.

use coset::cbor::Value;

use super::authenticator_data::AuthenticatorData;
use super::cbor;
use super::client_data;
use super::credential::Attestation;
use super::public_key::PublicKey;
use super::rejection::Rejection;
use super::relying_party::Expected;

/// The maximum length of a credential id, in bytes.
const CREDENTIAL_ID_MAX: usize = 1023;

/// A passkey whose registration is verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::passkeys) struct NewCredential {
    pub(in crate::passkeys) id: Vec<u8>,
    /// A `COSE_Key`.
    pub(in crate::passkeys) public_key: Vec<u8>,
    pub(in crate::passkeys) sign_count: u32,
    pub(in crate::passkeys) is_backup_eligible: bool,
    pub(in crate::passkeys) is_backed_up: bool,
}

/// The attestation object (§6.5).
#[derive(Debug)]
struct AttestationObject {
    format: String,
    statement: Vec<(Value, Value)>,
    authenticator_data: Vec<u8>,
}

impl AttestationObject {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let object = cbor::decode(bytes)?.into_map().ok()?;
        let format = cbor::entry(&object, "fmt")?.as_text()?.to_owned();
        let statement = cbor::entry(&object, "attStmt")?.as_map()?.clone();
        let authenticator_data = cbor::entry(&object, "authData")?.as_bytes()?.clone();
        Some(Self { format, statement, authenticator_data })
    }
}

/// Verifies the response of the authenticator. The client and the parser of the response do steps 1 to 4. The
/// unique constraint of the database does step 26.
pub(in crate::passkeys) fn verify(
    response: &Attestation,
    expected: Expected<'_>,
) -> Result<NewCredential, Rejection> {
    // Steps 5 to 12 (the client data).
    let hash = client_data::check(&response.client_data, client_data::CREATE, expected)?;
    // Step 13 (the attestation object).
    let object = AttestationObject::parse(&response.object).ok_or(Rejection::AttestationObject)?;
    let data = AuthenticatorData::parse(&object.authenticator_data)?;
    // Steps 14 to 17 (the relying party and the flags). Steps 18 and 19 use the flags for decisions that this
    // server does not make.
    data.check(expected)?;
    // Step 20 (the algorithm).
    let credential = data.credential.as_ref().ok_or(Rejection::AuthenticatorData)?;
    let key = PublicKey::parse(credential.public_key).ok_or(Rejection::Algorithm)?;
    // Steps 21 to 24 (the attestation).
    check_attestation(&object, &key, &hash)?;
    // Step 25. The id must also equal the id that the client sends beside the response.
    if !(1..=CREDENTIAL_ID_MAX).contains(&credential.id.len()) || credential.id != response.id {
        return Err(Rejection::CredentialId);
    }
    // Step 27 (the new credential). Step 28: all extensions are ignored.
    Ok(NewCredential {
        id: credential.id.to_vec(),
        public_key: credential.public_key.to_vec(),
        sign_count: data.sign_count,
        is_backup_eligible: data.is_backup_eligible(),
        is_backed_up: data.is_backed_up(),
    })
}

/// Checks the attestation. The server requests no attestation, so browsers send the format `none`. They send
/// `packed` if the authenticator has created a self attestation, which does not identify its model (§5.1.3
/// step 22). Other formats would prove the model of the authenticator, which this server does not check.
fn check_attestation(object: &AttestationObject, key: &PublicKey, hash: &[u8]) -> Result<(), Rejection> {
    let statement = &object.statement;
    match object.format.as_str() {
        // §8.7: the format `none`.
        "none" if statement.is_empty() => Ok(()),
        "none" => Err(Rejection::AttestationStatement),
        // §8.2: an attestation with certificates (`x5c`) is not a self attestation.
        "packed" if cbor::entry(statement, "x5c").is_none() => {
            let algorithm = cbor::entry(statement, "alg").and_then(Value::as_integer);
            let signature = cbor::entry(statement, "sig").and_then(Value::as_bytes);
            let is_same = algorithm.is_some_and(|found| i128::from(found) == i128::from(key.algorithm()));
            let message = [object.authenticator_data.as_slice(), hash].concat();
            match signature {
                Some(signature) if is_same && key.verify(&message, signature) => Ok(()),
                _ => Err(Rejection::AttestationStatement),
            }
        }
        _ => Err(Rejection::AttestationFormat),
    }
}
