//! The list of all operations. The router needs the operations with their services. The document needs the
//! operations without services.

use std::collections::HashMap;
use std::marker::PhantomData;

use poem::endpoint::BoxEndpoint;
use poem::http::Method;
use poem_openapi::registry::{MetaApi, Registry};
use poem_openapi::{ContactObject, LicenseObject, OpenApi, OpenApiService, ServerObject};

use super::health::HealthApi;
use crate::accounts::api::AccountsApi;
use crate::app::Services;
use crate::clients::api::ClientsApi;
use crate::events::api::EventsApi;
use crate::exports::api::ExportsApi;
use crate::passkeys::api::PasskeysApi;
use crate::personal_tokens::api::PersonalTokensApi;
use crate::recovery::api::RecoveryApi;
use crate::sessions::api::{
    LoginCodeApi, ManageSessionsApi, PasskeyLoginApi, PasswordApi, SecondFactorApi, SessionsApi, StepUpApi,
    TokenApi,
};
use crate::shares::api::SharesApi;
use crate::sync::api::SyncApi;
use crate::tokens::api::DiscoveryApi;
use crate::totp::api::TotpApi;
use crate::trips::api::{StopsApi, TripsApi};

/// Returns the API with the services that its operations call.
pub(super) fn api(services: &Services) -> OpenApiService<impl OpenApi + use<>, ()> {
    let Services { accounts, sessions, tokens, totp, trips, shares, sync, idempotency, introspector, .. } =
        services;
    // There are three groups, because only tuples of up to 12 items implement `Default`.
    let logins = (
        SessionsApi::new(sessions, accounts, &services.clock),
        ManageSessionsApi::new(sessions),
        SecondFactorApi::new(sessions),
        PasskeyLoginApi::new(sessions),
        TokenApi::new(sessions),
        StepUpApi::new(sessions),
        PasswordApi::new(sessions, accounts, &services.clock),
        EventsApi::new(&services.events),
        LoginCodeApi::new(sessions),
        RecoveryApi::new(&services.recovery, &services.clock),
    );
    let of_users = (
        AccountsApi::new(accounts, trips, &services.clock),
        TotpApi::new(totp, sessions, accounts, &services.clock),
        PasskeysApi::new(&services.passkeys, &services.clock),
        PersonalTokensApi::new(&services.personal_tokens, &services.clock),
    );
    let others = (
        ExportsApi::new(&services.exports, &services.clock),
        TripsApi::new(trips, idempotency),
        StopsApi::new(trips, idempotency),
        SharesApi::new(shares),
        SyncApi::new(sync, trips),
        ClientsApi::new(introspector),
        DiscoveryApi::new(tokens),
        HealthApi::new(services),
    );
    describe((logins, of_users, others))
}

/// The operations on sessions and on the recovery of accounts, without services.
type Logins = (
    DocumentOnly<SessionsApi>,
    DocumentOnly<ManageSessionsApi>,
    DocumentOnly<SecondFactorApi>,
    DocumentOnly<PasskeyLoginApi>,
    DocumentOnly<TokenApi>,
    DocumentOnly<StepUpApi>,
    DocumentOnly<PasswordApi>,
    DocumentOnly<EventsApi>,
    DocumentOnly<LoginCodeApi>,
    DocumentOnly<RecoveryApi>,
);

/// The operations of users on their accounts, without services.
type OfUsers = (
    DocumentOnly<AccountsApi>,
    DocumentOnly<TotpApi>,
    DocumentOnly<PasskeysApi>,
    DocumentOnly<PersonalTokensApi>,
);

/// The operations that are neither in [`Logins`] nor in [`OfUsers`], without services.
type Others = (
    DocumentOnly<ExportsApi>,
    DocumentOnly<TripsApi>,
    DocumentOnly<StopsApi>,
    DocumentOnly<SharesApi>,
    DocumentOnly<SyncApi>,
    DocumentOnly<ClientsApi>,
    DocumentOnly<DiscoveryApi>,
    DocumentOnly<HealthApi>,
);

/// All operations, without services.
type Operations = (Logins, OfUsers, Others);

/// Returns the operations of [`api`] without services. They serve only to read the document.
pub(super) fn document() -> OpenApiService<impl OpenApi, ()> {
    describe(Operations::default())
}

/// Returns the ids and the paths of all operations.
pub(super) fn operation_paths() -> impl Iterator<Item = (&'static str, String)> {
    Operations::meta().into_iter().flat_map(|api| api.paths).flat_map(|path| {
        let ids: Vec<_> = path.operations.iter().filter_map(|operation| operation.operation_id).collect();
        ids.into_iter().map(move |id| (id, path.path.clone()))
    })
}

fn describe<T: OpenApi>(operations: T) -> OpenApiService<T, ()> {
    OpenApiService::new(operations, "Tripgate", env!("CARGO_PKG_VERSION"))
        .description(include_str!("description.md"))
        .contact(ContactObject::new().name("The Tripgate authors"))
        .license(LicenseObject::new("MIT").url("https://spdx.org/licenses/MIT.html"))
        .server(ServerObject::new("/").description("This server"))
}

/// The operations of `T` without an instance of `T`, for the document. Adds no routes.
struct DocumentOnly<T>(PhantomData<T>);

impl<T> Default for DocumentOnly<T> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T: OpenApi> OpenApi for DocumentOnly<T> {
    fn meta() -> Vec<MetaApi> {
        T::meta()
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }

    fn add_routes(self, _: &mut HashMap<String, HashMap<Method, BoxEndpoint<'static>>>) {}
}
