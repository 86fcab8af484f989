//! `GET /me/export`: everything that is stored about the user.

mod bodies;

use std::io;

use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream::{self, StreamExt};
use poem_openapi::{ApiResponse, OpenApi};
use serde::Serialize;
use uuid::Uuid;

use self::bodies::{
    AccountExport, ExportedDeletion, ExportedDevice, ExportedFlow, ExportedKey, ExportedLogin, ExportedMail,
    ExportedOperation, ExportedSession, ExportedShare, Head,
};
use super::{Exports, ExportsError, Page, Position, Records};
use crate::clock::Clock;
use crate::error_chain::error_chain;
use crate::events::api::EventBody;
use crate::passkeys::api::PasskeyBody;
use crate::personal_tokens::api::PersonalTokenBody;
use crate::trips::api::TripBody;
use crate::web::Tag;
use crate::web::caller::{AccountScope, Caller};
use crate::web::json::{JsonStream, to_vec};
use crate::web::problem::{Problem, ProblemResponse};

impl From<ExportsError> for Problem {
    fn from(error: ExportsError) -> Self {
        match error {
            ExportsError::Accounts(error) => error.into(),
            ExportsError::Store(error) => error.into(),
        }
    }
}

#[derive(ApiResponse)]
enum Exported {
    /// The data that is stored about the user, without secrets.
    #[oai(status = 200)]
    Ok(
        JsonStream<AccountExport>,
        /// `attachment` with a file name, so that a browser saves the export.
        #[oai(header = "Content-Disposition")]
        String,
        /// `no-store`: the response must not be cached.
        #[oai(header = "Cache-Control")]
        String,
    ),
}

/// The rest of an export, which is read while the client receives it.
struct Rest {
    exports: Exports,
    user: Uuid,
    /// `None` after the last page.
    position: Option<Position>,
}

impl Rest {
    /// Returns the parts of the JSON text after the head.
    fn into_parts(self) -> impl Stream<Item = io::Result<Bytes>> {
        stream::try_unfold(self, |rest| async move {
            let Self { exports, user, position } = rest;
            let Some(position) = position else { return Ok(None) };
            let Page { records, next } = exports.page(user, &position).await.map_err(|error| {
                tracing::warn!(%user, causes = error_chain(&error), "failed to read a page of an export; the response ends early");
                io::Error::other("failed to continue the export")
            })?;
            let mut json = Vec::new();
            write_page(&mut json, &position, records, next.as_ref());
            Ok(Some((Bytes::from(json), Self { exports, user, position: next })))
        })
    }
}

/// Writes a page. The first page of a list begins with the name of the list; the last page closes the list.
fn write_page(json: &mut Vec<u8>, position: &Position, records: Records, next: Option<&Position>) {
    if position.is_first_of_kind() {
        json.extend_from_slice(format!(",\"{}\":[", position.kind().name()).as_bytes());
    }
    let is_first = position.is_first_of_kind();
    match records {
        Records::Sessions(all) => write_all::<_, ExportedSession>(json, is_first, all),
        Records::KnownDevices(all) => write_all::<_, ExportedDevice>(json, is_first, all),
        Records::PendingLogins(all) => write_all::<_, ExportedLogin>(json, is_first, all),
        Records::Passkeys(all) => write_all::<_, PasskeyBody>(json, is_first, all),
        Records::PersonalTokens(all) => write_all::<_, PersonalTokenBody>(json, is_first, all),
        Records::Events(all) => write_all::<_, EventBody>(json, is_first, all),
        Records::Flows(all) => write_all::<_, ExportedFlow>(json, is_first, all),
        Records::Mails(all) => write_all::<_, ExportedMail>(json, is_first, all),
        Records::IdempotencyKeys(all) => write_all::<_, ExportedKey>(json, is_first, all),
        Records::SyncOperations(all) => write_all::<_, ExportedOperation>(json, is_first, all),
        Records::Trips(all) => write_all::<_, TripBody>(json, is_first, all),
        Records::DeletedTrips(all) => write_all::<_, ExportedDeletion>(json, is_first, all),
        Records::Shares(all) => write_all::<_, ExportedShare>(json, is_first, all),
    }
    if next.is_none_or(Position::is_first_of_kind) {
        json.push(b']');
    }
    if next.is_none() {
        json.push(b'}');
    }
}

/// Writes records as the items of a list, separated by commas.
fn write_all<R, B: From<R> + Serialize>(json: &mut Vec<u8>, mut is_first: bool, records: Vec<R>) {
    for record in records {
        if !std::mem::take(&mut is_first) {
            json.push(b',');
        }
        json.extend(to_vec(&B::from(record)));
    }
}

/// The operation that exports an account.
#[derive(Debug)]
pub struct ExportsApi {
    exports: Exports,
    clock: Clock,
}

impl ExportsApi {
    /// Creates the operation on top of the services that it calls.
    pub fn new(exports: &Exports, clock: &Clock) -> Self {
        Self { exports: exports.clone(), clock: clock.clone() }
    }
}

#[OpenApi(prefix_path = "/api/v1/me", tag = "Tag::Account")]
impl ExportsApi {
    /// Export the account
    ///
    /// Returns one JSON document with the data that the server stores about the user: the account, sessions,
    /// personal access tokens, security events, trips and more. Secrets are left out: passwords, the text of
    /// tokens, and codes. A user can save the document before deleting the account. The
    /// fields `trips`, `deleted_trips`, `shares`, `idempotency_keys` and `sync_operations` are absent if the
    /// token does not have the scope `trips:read`.
    ///
    /// The response has no `Content-Length`, because the server reads the data while the client receives it. If the
    /// connection closes before the end of the document, the export is incomplete: repeat the request. A change
    /// that is made during the export may be missing. Each export is recorded as a security event.
    #[oai(path = "/export", method = "get", operation_id = "export_me")]
    async fn export(&self, caller: Caller<AccountScope>) -> Result<Exported, ProblemResponse> {
        let exported_at = self.clock.now();
        let profile = self.exports.begin(caller.user()).await?;
        let mut head = to_vec(&Head::new(profile, exported_at));
        // Remove the closing brace, because the lists follow.
        head.pop();
        let position = Some(Position::start(caller.can_read_trips()));
        let rest = Rest { exports: self.exports.clone(), user: caller.user(), position };
        let head = stream::iter([Ok(Bytes::from(head))]);
        let file =
            format!("attachment; filename=\"tripgate-export-{}.json\"", exported_at.format("%Y-%m-%d"));
        Ok(Exported::Ok(JsonStream::new(head.chain(rest.into_parts())), file, "no-store".to_owned()))
    }
}
