//! The HTTP operations that publish the public keys and the server metadata for other services.

use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Object, OpenApi};
use serde::Serialize;

use super::{Alg, KeyParameters, PublicKey, Scope};
use crate::tokens::Tokens;
use crate::web::conditional::{IfNoneMatch, etag};
use crate::web::examples;
use crate::web::json::Json;
use crate::web::{API, Tag};

/// The `Cache-Control` of keys and metadata. Five minutes are safe: the automatic rotation publishes a key at
/// least 10 minutes before the key signs, and a service requests the keys again when a token names an unknown
/// key.
const CACHE_CONTROL: &str = "public, max-age=300";

/// A public key (RFC 7517). `kty` determines which of the optional fields are present.
#[derive(Debug, Object, Serialize)]
#[oai(rename = "Jwk", skip_serializing_if_is_none)]
struct JwkBody {
    /// Id of the key, which tokens contain as `kid`.
    kid: String,
    /// Algorithm of the key: `ES256`, `EdDSA` or `RS256`. The list may grow. Accept no other algorithm in the
    /// tokens that name this key.
    alg: String,
    /// Purpose of the key: always `sig`.
    #[oai(rename = "use")]
    #[serde(rename = "use")]
    purpose: String,
    /// Type of the key: `EC`, `OKP` or `RSA`. The list may grow.
    kty: String,
    /// Curve of an `EC` or `OKP` key.
    #[serde(skip_serializing_if = "Option::is_none")]
    crv: Option<String>,
    /// The x coordinate of an `EC` key, or the whole `OKP` key.
    #[serde(skip_serializing_if = "Option::is_none")]
    x: Option<String>,
    /// The y coordinate of an `EC` key.
    #[serde(skip_serializing_if = "Option::is_none")]
    y: Option<String>,
    /// Modulus of an `RSA` key.
    #[serde(skip_serializing_if = "Option::is_none")]
    n: Option<String>,
    /// Exponent of an `RSA` key.
    #[serde(skip_serializing_if = "Option::is_none")]
    e: Option<String>,
}

impl Example for KeySetBody {
    /// The key of RFC 7517 Appendix A.1 and the key of RFC 7515 Appendix A.3.
    fn example() -> Self {
        let key = |kid: &str, x: &str, y: &str| PublicKey {
            kid: kid.to_owned(),
            alg: Alg::Es256,
            parameters: KeyParameters::Ec { x: x.to_owned(), y: y.to_owned() },
        };
        let signing = key(
            "cn-I_WNMClehiVp51i_0VpOENW1upEerA8sEam5hn-s",
            "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
            "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
        );
        let next = key(
            "oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U",
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
    /// Keys that sign now, keys that will sign next, and keys whose tokens are still valid.
    keys: Vec<JwkBody>,
}

/// The response to a request for the keys.
#[derive(ApiResponse)]
enum KeySetResponse {
    /// The public keys.
    #[oai(status = 200)]
    Ok(
        Json<KeySetBody>,
        /// Entity tag of this set of keys.
        #[oai(header = "ETag")]
        String,
        /// How long the keys may be cached.
        #[oai(header = "Cache-Control")]
        String,
    ),
    /// The keys have not changed since the `ETag` in `If-None-Match`.
    #[oai(status = 304)]
    Unchanged(
        /// Entity tag of this set of keys.
        #[oai(header = "ETag")]
        String,
        /// How long the keys may be cached.
        #[oai(header = "Cache-Control")]
        String,
    ),
}

/// The metadata of this server for other services (RFC 8414 §2).
#[derive(Debug, Object, Serialize)]
#[oai(rename = "ServerMetadata")]
struct MetadataBody {
    /// Issuer: the `iss` of every token.
    issuer: String,
    /// URL of the public keys.
    jwks_uri: String,
    /// URL of token introspection (RFC 7662).
    introspection_endpoint: String,
    /// Methods by which a service authenticates for introspection.
    introspection_endpoint_auth_methods_supported: Vec<String>,
    /// URL of token revocation (RFC 7009).
    revocation_endpoint: String,
    /// Methods by which a service authenticates for revocation.
    revocation_endpoint_auth_methods_supported: Vec<String>,
    /// Scopes that a token can have.
    scopes_supported: Vec<String>,
    /// Empty: there is no authorization endpoint.
    response_types_supported: Vec<String>,
    /// Empty: there is no OAuth token endpoint. Users log in through the API.
    grant_types_supported: Vec<String>,
}

impl MetadataBody {
    fn new(issuer: &str) -> Self {
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
        Self::new(examples::SERVER)
    }
}

/// The response to a request for the metadata.
#[derive(ApiResponse)]
enum MetadataResponse {
    /// The metadata of the server.
    #[oai(status = 200)]
    Ok(
        Json<MetadataBody>,
        /// How long the metadata may be cached.
        #[oai(header = "Cache-Control")]
        String,
    ),
}

/// The operations that publish the keys and the metadata.
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
    /// Get the public keys
    ///
    /// Returns the public keys, for services that verify access tokens themselves. Any JWT library selects the
    /// key by `kid` and `alg`, and verifies a token without calling this server. Cache the keys for five
    /// minutes, and request them again when a token names an unknown key. Keys for `HS256` are secret: a
    /// server that uses only `HS256` returns an empty list.
    ///
    /// The server reads the keys from memory, so this operation also works while the database is unavailable.
    #[oai(path = "/jwks.json", method = "get", operation_id = "get_key_set")]
    async fn key_set(
        &self,
        /// `ETag` of the keys that the service has already. The response is 304 if they have not changed.
        #[oai(name = "If-None-Match")]
        if_none_match: IfNoneMatch,
    ) -> KeySetResponse {
        let (keys, tag) = self.tokens.public_keys();
        let is_unchanged = if_none_match.matches(&tag);
        let etag = etag(&tag);
        if is_unchanged {
            return KeySetResponse::Unchanged(etag, CACHE_CONTROL.to_owned());
        }
        let keys = keys.into_iter().map(JwkBody::from).collect();
        KeySetResponse::Ok(Json(KeySetBody { keys }), etag, CACHE_CONTROL.to_owned())
    }

    /// Get the server metadata
    ///
    /// Returns the server metadata (RFC 8414), from which services and libraries configure themselves. The
    /// metadata contains, for example, the issuer of the tokens, and the URLs of the public keys, of the
    /// introspection endpoint and of the revocation endpoint.
    #[oai(path = "/oauth-authorization-server", method = "get", operation_id = "get_server_metadata")]
    async fn metadata(&self) -> MetadataResponse {
        MetadataResponse::Ok(Json(MetadataBody::new(self.tokens.issuer())), CACHE_CONTROL.to_owned())
    }
}
