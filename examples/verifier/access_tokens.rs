use std::error::Error;

use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};

#[derive(serde::Deserialize)]
pub struct Claims {
    pub sub: String,
    pub scope: String,
}

/// Fetches the key set. Refresh it every five minutes.
pub async fn keys(issuer: &str) -> Result<JwkSet, reqwest::Error> {
    reqwest::get(format!("{issuer}/.well-known/jwks.json")).await?.json().await
}

pub fn verify(token: &str, keys: &JwkSet, issuer: &str, audience: &str) -> Result<Claims, Box<dyn Error>> {
    let header = decode_header(token)?;
    if header.typ.as_deref() != Some("at+jwt") {
        return Err("not an access token".into());
    }
    let key = header.kid.and_then(|kid| keys.find(&kid)).ok_or("signed with an unknown key")?;
    // Take the algorithm from the key, never from the token.
    let algorithm: Algorithm =
        key.common.key_algorithm.ok_or("the key has no algorithm")?.to_string().parse()?;
    let mut rules = Validation::new(algorithm);
    rules.set_issuer(&[issuer]);
    rules.set_audience(&[audience]);
    rules.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    rules.validate_nbf = true;
    rules.leeway = 30;
    Ok(decode::<Claims>(token, &DecodingKey::from_jwk(key)?, &rules)?.claims)
}
