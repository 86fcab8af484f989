//! What other services read: the public keys, and where the rest is found.

use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Object, OpenApi};
use serde::Serialize;

use super::{Alg, KeyParameters, PublicKey, Scope};
use crate::tokens::Tokens;
use crate::web::conditional::{IfNoneMatch, etag};
use crate::web::examples;
use crate::web::json::Json;
use crate::web::{API, Tag};

/// A key is shown long before it signs, so what was read five minutes ago will do.
const KEEP: &str = "public, max-age=300";

/// A public key (RFC 7517). Which of the other members it has depends on `kty`.
#[derive(Debug, Object, Serialize)]
#[oai(rename = "Jwk", skip_serializing_if_is_none)]
struct JwkBody {
    /// The name that tokens give as their `kid`.
    kid: String,
    /// The algorithm that this key is for: `ES256`, `EdDSA` or `RS256`; the list may grow. Accept no other.
    alg: String,
    /// Always `sig`.
    #[oai(rename = "use")]
    #[serde(rename = "use")]
    purpose: String,
    /// The family: `EC`, `OKP` or `RSA`; the list may grow.
    kty: String,
    /// The curve, of `EC` and `OKP`.
    #[serde(skip_serializing_if = "Option::is_none")]
    crv: Option<String>,
    /// The x coordinate of `EC`, the whole key of `OKP`.
    #[serde(skip_serializing_if = "Option::is_none")]
    x: Option<String>,
    /// The y coordinate of `EC`.
    #[serde(skip_serializing_if = "Option::is_none")]
    y: Option<String>,
    /// The modulus of `RSA`.
    #[serde(skip_serializing_if = "Option::is_none")]
    n: Option<String>,
    /// The exponent of `RSA`.
    #[serde(skip_serializing_if = "Option::is_none")]
    e: Option<String>,
}

impl Example for KeySetBody {
    /// The key of RFC 7517 Appendix A.1 and the one of RFC 7515 Appendix A.3.
    fn example() -> Self {
        let key = |kid: &str, x: &str, y: &str| PublicKey {
            kid: kid.to_owned(),
            alg: Alg::Es256,
            parameters: KeyParameters::Ec { x: x.to_owned(), y: y.to_owned() },
        };
        let signing = key(
            "019cadb7e4a97000",
            "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
            "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
        );
        let next = key(
            "019cadb7e4b27000",
            "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
        );
        Self { keys: vec![signing.into(), next.into()] }
    }
}

impl From<PublicKey> for JwkBody {
    fn from(key: PublicKey) -> Self {
        let text = |text: &str| Some(text.to_owned());
        let (kty, crv, x, y, n, e) = match key.parameters {
            KeyParameters::Ec { x, y } => ("EC", text("P-256"), Some(x), Some(y), None, None),
            KeyParameters::Ed { x } => ("OKP", text("Ed25519"), Some(x), None, None, None),
            KeyParameters::Rsa { n, e } => ("RSA", None, None, None, Some(n), Some(e)),
        };
        let (alg, purpose, kty) = (key.alg.name().to_owned(), "sig".to_owned(), kty.to_owned());
        Self { kid: key.kid, alg, purpose, kty, crv, x, y, n, e }
    }
}

/// The public keys (RFC 7517 §5).
#[derive(Debug, Object, Serialize)]
#[oai(rename = "KeySet")]
struct KeySetBody {
    /// Those that sign, those that will and those whose tokens are still good.
    keys: Vec<JwkBody>,
}

/// The answer to a request for the keys.
#[derive(ApiResponse)]
enum KeySetAnswer {
    /// The keys.
    #[oai(status = 200)]
    Ok(
        Json<KeySetBody>,
        /// Names just these keys.
        #[oai(header = "ETag")]
        String,
        /// How long they may be kept.
        #[oai(header = "Cache-Control")]
        String,
    ),
    /// They are still those that `If-None-Match` names.
    #[oai(status = 304)]
    Unchanged(
        /// Names just these keys.
        #[oai(header = "ETag")]
        String,
        /// How long they may be kept.
        #[oai(header = "Cache-Control")]
        String,
    ),
}

/// What other services need to know of this server (RFC 8414 §2).
#[derive(Debug, Object, Serialize)]
#[oai(rename = "ServerMetadata")]
struct MetadataBody {
    /// The `iss` of every token.
    issuer: String,
    /// Where the public keys are.
    jwks_uri: String,
    /// Where a service asks whether a token is still good (RFC 7662).
    introspection_endpoint: String,
    /// How it says who it is.
    introspection_endpoint_auth_methods_supported: Vec<String>,
    /// Where a service ends a token (RFC 7009).
    revocation_endpoint: String,
    /// How it says who it is.
    revocation_endpoint_auth_methods_supported: Vec<String>,
    /// What tokens may be used for.
    scopes_supported: Vec<String>,
    /// None: there is no authorization endpoint.
    response_types_supported: Vec<String>,
    /// None: there is no token endpoint; people log in over the API.
    grant_types_supported: Vec<String>,
}

impl MetadataBody {
    fn of(issuer: &str) -> Self {
        let basic = || vec!["client_secret_basic".to_owned()];
        Self {
            issuer: issuer.to_owned(),
            jwks_uri: format!("{issuer}/.well-known/jwks.json"),
            introspection_endpoint: format!("{issuer}{API}/auth/introspect"),
            introspection_endpoint_auth_methods_supported: basic(),
            revocation_endpoint: format!("{issuer}{API}/auth/revoke"),
            revocation_endpoint_auth_methods_supported: basic(),
            scopes_supported: Scope::ALL.into_iter().map(|scope| scope.name().to_owned()).collect(),
            response_types_supported: Vec::new(),
            grant_types_supported: Vec::new(),
        }
    }
}

impl Example for MetadataBody {
    fn example() -> Self {
        Self::of(examples::SERVER)
    }
}

/// The answer to a request for the metadata.
#[derive(ApiResponse)]
enum MetadataAnswer {
    /// The metadata.
    #[oai(status = 200)]
    Ok(
        Json<MetadataBody>,
        /// How long it may be kept.
        #[oai(header = "Cache-Control")]
        String,
    ),
}

/// The operations of this room.
#[derive(Debug)]
pub struct DiscoveryApi {
    tokens: Tokens,
}

impl DiscoveryApi {
    /// Creates the operations on top of the services that they call.
    pub fn new(tokens: &Tokens) -> Self {
        Self { tokens: tokens.clone() }
    }
}

#[expect(clippy::unused_async, reason = "every operation is asynchronous to the router")]
#[OpenApi(prefix_path = "/.well-known", tag = "Tag::Services")]
impl DiscoveryApi {
    /// Read the public keys
    ///
    /// For services that verify access tokens by themselves: with these keys any JWT library does, by their
    /// `kid` and `alg`, without asking this server. Keep them for five minutes, and ask again when a token
    /// names a key that you don't know. Empty where tokens are signed with `HS256`.
    ///
    /// This is read from memory and works while the database is away.
    #[oai(path = "/jwks.json", method = "get", operation_id = "get_key_set")]
    async fn key_set(
        &self,
        /// The `ETag` of keys that you have: 304 if they are still the same.
        #[oai(name = "If-None-Match")]
        if_none_match: IfNoneMatch,
    ) -> KeySetAnswer {
        let (keys, tag) = self.tokens.public_keys();
        let is_known = if_none_match.matches(&tag);
        let etag = etag(&tag);
        if is_known {
            return KeySetAnswer::Unchanged(etag, KEEP.to_owned());
        }
        let keys = keys.into_iter().map(JwkBody::from).collect();
        KeySetAnswer::Ok(Json(KeySetBody { keys }), etag, KEEP.to_owned())
    }

    /// Read what this server offers to other services
    ///
    /// For services and libraries that find everything else by themselves: the metadata of RFC 8414 say who
    /// issues the tokens, and where keys, introspection and revocation are.
    #[oai(path = "/oauth-authorization-server", method = "get", operation_id = "get_server_metadata")]
    async fn metadata(&self) -> MetadataAnswer {
        MetadataAnswer::Ok(Json(MetadataBody::of(self.tokens.issuer())), KEEP.to_owned())
    }
}
