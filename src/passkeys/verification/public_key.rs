//! The public key of a passkey: a `COSE_Key` (RFC 9052 §7) of one of three algorithms, and the verification of its
//! signatures.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
};
use coset::cbor::Value;
use coset::iana::{Algorithm, Ec2KeyParameter, EllipticCurve, KeyType, OkpKeyParameter, RsaKeyParameter};
use coset::{AsCborValue, CoseKey, Label, RegisteredLabel, RegisteredLabelWithPrivate};

use super::cbor;

/// The accepted algorithms (RFC 9053, RFC 8812), in the order of preference: ES256, `EdDSA` and RS256.
pub const ALGORITHMS: [i64; 3] = [Algorithm::ES256 as i64, Algorithm::EdDSA as i64, Algorithm::RS256 as i64];
/// The length of a coordinate on P-256 and of a key on Ed25519, in bytes.
const COORDINATE_BYTES: usize = 32;
/// The accepted lengths of an RSA modulus, in bytes: 2048 to 4096 bits. A longer modulus would make each
/// verification expensive.
const MODULUS_BYTES: std::ops::RangeInclusive<usize> = 256..=512;

/// A public key.
#[derive(Debug)]
pub(super) struct PublicKey {
    algorithm: i64,
    key: ParsedPublicKey,
}

impl PublicKey {
    /// Parses a `COSE_Key` in the form that Web Authentication §5.8.5 requires: the algorithm is present, the
    /// curve matches the algorithm, and a point is not compressed.
    pub(super) fn parse(cose: &[u8]) -> Option<Self> {
        let key = CoseKey::from_cbor_value(cbor::decode(cose)?).ok()?;
        let Some(RegisteredLabelWithPrivate::Assigned(algorithm)) = key.alg else { return None };
        let RegisteredLabel::Assigned(kind) = key.kty else { return None };
        let key = match (algorithm, kind) {
            (Algorithm::ES256, KeyType::EC2) => p256(&key)?,
            (Algorithm::EdDSA, KeyType::OKP) => ed25519(&key)?,
            (Algorithm::RS256, KeyType::RSA) => rsa(&key)?,
            _ => return None,
        };
        Some(Self { algorithm: algorithm as i64, key })
    }

    /// Returns the identifier of the algorithm.
    pub(super) fn algorithm(&self) -> i64 {
        self.algorithm
    }

    /// Returns whether the signature of the message is valid.
    pub(super) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        self.key.verify_sig(message, signature).is_ok()
    }
}

fn parameter(key: &CoseKey, label: i64) -> Option<&Value> {
    key.params.iter().find(|(found, _)| *found == Label::Int(label)).map(|(_, value)| value)
}

fn bytes(key: &CoseKey, label: i64) -> Option<&[u8]> {
    parameter(key, label)?.as_bytes().map(Vec::as_slice)
}

fn is_curve(key: &CoseKey, label: i64, curve: EllipticCurve) -> bool {
    let found = parameter(key, label).and_then(Value::as_integer);
    found.is_some_and(|found| i128::from(found) == curve as i128)
}

fn p256(key: &CoseKey) -> Option<ParsedPublicKey> {
    if !is_curve(key, Ec2KeyParameter::Crv as i64, EllipticCurve::P_256) {
        return None;
    }
    let coordinate = |label| bytes(key, label).filter(|bytes| bytes.len() == COORDINATE_BYTES);
    let (x, y) = (coordinate(Ec2KeyParameter::X as i64)?, coordinate(Ec2KeyParameter::Y as i64)?);
    // The byte 4 marks an uncompressed point (SEC 1 §2.3.3). The library checks that the point is on the
    // curve.
    ParsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, [&[4], x, y].concat()).ok()
}

fn ed25519(key: &CoseKey) -> Option<ParsedPublicKey> {
    if !is_curve(key, OkpKeyParameter::Crv as i64, EllipticCurve::Ed25519) {
        return None;
    }
    let x = bytes(key, OkpKeyParameter::X as i64).filter(|x| x.len() == COORDINATE_BYTES)?;
    ParsedPublicKey::new(&ED25519, x).ok()
}

fn rsa(key: &CoseKey) -> Option<ParsedPublicKey> {
    let (n, e) = (bytes(key, RsaKeyParameter::N as i64)?, bytes(key, RsaKeyParameter::E as i64)?);
    if !MODULUS_BYTES.contains(&n.len()) {
        return None;
    }
    RsaPublicKeyComponents { n, e }.to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256).ok()
}
