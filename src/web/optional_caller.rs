//! The user of a request whose access token is optional.

use poem::{Request, RequestBody, Result};
use poem_openapi::registry::Registry;
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};
use uuid::Uuid;

use super::caller::{AccountScope, AnyScope, Caller, authentication};
use super::credentials::{Presented, extract};
use super::problem::Problem;
use crate::tokens::Scope;

/// The security scheme of an operation whose access token is optional.
const OPTIONAL_BEARER: &str = "bearerAuth optional";

/// The user of the Bearer token (an access token or a personal access token), if the request has one with the
/// scope `account`. Credentials of other kinds are ignored. A Bearer token that is not valid is rejected, so
/// that the client gets a new token and repeats the request.
#[derive(Debug)]
pub struct OptionalCaller(pub Option<Uuid>);

impl OptionalCaller {
    async fn check(request: &Request) -> Result<Self, Problem> {
        let query_token = authentication(request)?.methods.query_token;
        let Presented::Bearer(_) = extract(request, query_token)? else { return Ok(Self(None)) };
        let caller = Caller::<AnyScope>::check(request).await?;
        Ok(Self(caller.scopes().contains(Scope::Account).then(|| caller.user())))
    }
}

impl<'a> ApiExtractor<'a> for OptionalCaller {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::SecurityScheme];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        Caller::<AccountScope>::register(registry);
    }

    fn security_schemes() -> Vec<&'static str> {
        vec![OPTIONAL_BEARER]
    }

    async fn from_request(
        request: &'a Request,
        _: &mut RequestBody,
        _: ExtractParamOptions<()>,
    ) -> Result<Self> {
        Ok(Self::check(request).await?)
    }
}
