//! Authenticates a service by its own client credentials before the handler runs.

use poem::{Request, RequestBody, Result};
use poem_openapi::registry::Registry;
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};

use super::caller::{authentication, scheme};
use super::client_address::ClientAddress;
use super::credentials::{BasicCredentials, Presented, extract, invalid_client};
use super::problem::Problem;
use super::query::reject_unknown;

/// The name of the security scheme in the OpenAPI document.
const CLIENT: &str = "clientAuth";

/// A service whose client credentials are valid.
#[derive(Debug)]
pub struct AuthenticatedClient {
    /// The `client_id` of the service.
    pub id: String,
}

impl AuthenticatedClient {
    async fn check(request: &Request) -> Result<Self, Problem> {
        let authentication = authentication(request)?;
        let presented = match extract(request, authentication.methods.query_token)? {
            Presented::Basic(encoded) => BasicCredentials::decode(encoded),
            _ => None,
        };
        let decoded =
            presented.and_then(|pair| Some((form_decode(&pair.identifier)?, form_decode(&pair.password)?)));
        let (id, secret) = decoded.ok_or_else(invalid_client)?;
        let (ClientAddress(address), throttle) = (ClientAddress::of(request), &authentication.throttle);
        let id = authentication.clients.authenticate(&id, &secret, address, throttle).await?.id;
        reject_unknown(request)?;
        Ok(Self { id })
    }
}

/// Decodes a client id or secret, which is form-encoded within HTTP Basic credentials (RFC 6749 §2.3.1).
fn form_decode(encoded: &str) -> Option<String> {
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
        let description = "The `client_id` and `client_secret` of a service, which the operator creates \
            with `tripgate clients add` (RFC 6749 §2.3.1).";
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
    fn the_id_and_secret_of_a_client_may_be_form_encoded() {
        assert_eq!(form_decode("a-b_c.D9").as_deref(), Some("a-b_c.D9"));
        assert_eq!(form_decode("a%2Db%5fc+d").as_deref(), Some("a-b_c d"));
        assert_eq!(form_decode("a=b"), None);
        assert_eq!(form_decode("a&b"), None);
        assert_eq!(form_decode(""), None);
    }
}
