//! Another service that calls: its own credentials, checked before its handler runs.

use poem::{Request, RequestBody, Result};
use poem_openapi::registry::Registry;
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};

use super::caller::{app, scheme};
use super::credentials::{BasicCredentials, Presented, bad_client, extract};
use super::problem::Problem;

/// The name of the scheme in the document.
const CLIENT: &str = "clientAuth";

/// A service with good credentials.
#[derive(Debug)]
pub struct AuthenticatedClient {
    /// Its `client_id`.
    pub id: String,
}

impl AuthenticatedClient {
    async fn check(request: &Request) -> Result<Self, Problem> {
        let app = app(request)?;
        let given = match extract(request, app.ways_in.query_token)? {
            Presented::Basic(encoded) => BasicCredentials::decode(encoded),
            _ => None,
        };
        let given = given.and_then(|pair| Some((plain(&pair.identifier)?, plain(&pair.password)?)));
        let (id, secret) = given.ok_or_else(bad_client)?;
        Ok(Self { id: app.clients.authenticate(&id, &secret).await?.id })
    }
}

/// Ids and secrets of clients are form-encoded before they become Basic credentials (RFC 6749 §2.3.1).
fn plain(encoded: &str) -> Option<String> {
    if encoded.contains(['&', '=']) {
        return None;
    }
    url::form_urlencoded::parse(encoded.as_bytes()).next().map(|(text, _)| text.into_owned())
}

impl<'a> ApiExtractor<'a> for AuthenticatedClient {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::SecurityScheme];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        let description = "The `client_id` and `client_secret` of a service that the operator made known with `tripgate clients add` (RFC 6749 §2.3.1).";
        registry.create_security_scheme(CLIENT, scheme("basic", None, description));
    }

    fn security_schemes() -> Vec<&'static str> {
        vec![CLIENT]
    }

    async fn from_request(
        request: &'a Request,
        _: &mut RequestBody,
        _: ExtractParamOptions<()>,
    ) -> Result<Self> {
        Ok(Self::check(request).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_secrets_may_be_form_encoded_or_not() {
        assert_eq!(plain("a-b_c.D9").as_deref(), Some("a-b_c.D9"));
        assert_eq!(plain("a%2Db%5fc+d").as_deref(), Some("a-b_c d"));
        assert_eq!(plain("a=b"), None);
        assert_eq!(plain("a&b"), None);
        assert_eq!(plain(""), None);
    }
}
