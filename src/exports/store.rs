//! Queries on everything that a user owns. Every query takes the owner.

use ::entity::{
    flows, idempotency_keys, known_devices, passkeys, pending_logins, personal_tokens, security_events,
    sessions, sync_operations, totp_secrets, trip_shares, trip_tombstones,
};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Value};
use uuid::Uuid;

use super::records::{
    AuthenticatorApp, DeletedTrip, Flow, IdempotencyKey, KnownDevice, PendingLogin, Profile, Records,
    Session, Share, SyncOperation,
};
use super::{ExportsError, Key, Kind};
use crate::accounts;
use crate::clock::from_millis;
use crate::db::{StoreError, Tx};
use crate::events::DeviceInfo;
use crate::mail::Mail;
use crate::{totp, trips};

/// Returns the data that exists once for each user.
pub(super) async fn profile(tx: &Tx, owner: Uuid) -> Result<Profile, ExportsError> {
    let user = accounts::find(tx, owner).await?;
    let app = totp_secrets::Entity::find_by_id(owner).one(tx).await.map_err(StoreError::from)?;
    let recovery_codes = totp::count_recovery_codes(tx, owner).await?;
    let authenticator_app = app.map(|row| AuthenticatorApp {
        confirmed_at: row.confirmed_at.map(from_millis),
        pending_until: row.pending.map(|_| from_millis(row.pending_until)),
    });
    Ok(Profile { user, authenticator_app, recovery_codes })
}

/// Returns up to `limit` of the owner's rows that have a key after `after`, in the order of their keys. `columns`
/// contains the column of the owner and the column of the key.
async fn rows<E: EntityTrait>(
    tx: &Tx,
    owner: Uuid,
    columns: (E::Column, E::Column),
    after: Option<&Key>,
    limit: u64,
) -> Result<Vec<E::Model>, StoreError> {
    let (of_owner, key) = columns;
    let mut query = E::find().filter(of_owner.eq(owner)).order_by_asc(key).limit(limit);
    if let Some(after) = after {
        query = query.filter(key.gt(match after {
            Key::Id(id) => Value::from(*id),
            Key::Digest(digest) => Value::from(digest.clone()),
        }));
    }
    Ok(query.all(tx).await?)
}

/// Converts rows to records, and returns the key of the last row.
fn converted<M, R>(rows: Vec<M>, key: impl Fn(&M) -> Key) -> (Vec<R>, Option<Key>)
where
    R: From<M>,
{
    let last = rows.last().map(key);
    (rows.into_iter().map(R::from).collect(), last)
}

/// Reads a page of records. The arguments are the variant of `Records`, the entity, the columns of the owner
/// and of the key, and the field and type of the key.
macro_rules! page {
    ($records:ident, $entity:ident, $owner:ident, $column:ident, $field:ident as $key:ident, $from:expr) => {{
        let (tx, owner, after, limit) = $from;
        let columns = ($entity::Column::$owner, $entity::Column::$column);
        let rows = rows::<$entity::Entity>(tx, owner, columns, after, limit).await?;
        let (records, last) = converted(rows, |row| Key::$key(row.$field.clone()));
        (Records::$records(records), last)
    }};
}

/// Returns the page of records of this kind after the key `after`, and the key of the page's last record.
pub(super) async fn page(
    tx: &Tx,
    mail: &Mail,
    owner: Uuid,
    kind: Kind,
    after: Option<&Key>,
) -> Result<(Records, Option<Key>), StoreError> {
    let limit = kind.page();
    let after_id = match after {
        Some(Key::Id(id)) => Some(*id),
        Some(Key::Digest(_)) | None => None,
    };
    let from = (tx, owner, after, limit);
    Ok(match kind {
        Kind::Sessions => page!(Sessions, sessions, UserId, Id, id as Id, from),
        Kind::KnownDevices => page!(KnownDevices, known_devices, UserId, Digest, digest as Digest, from),
        Kind::PendingLogins => {
            page!(PendingLogins, pending_logins, UserId, TokenDigest, token_digest as Digest, from)
        }
        Kind::Passkeys => page!(Passkeys, passkeys, UserId, Id, id as Id, from),
        Kind::PersonalTokens => page!(PersonalTokens, personal_tokens, UserId, Id, id as Id, from),
        Kind::Events => page!(Events, security_events, UserId, Id, id as Id, from),
        Kind::Flows => page!(Flows, flows, UserId, Id, id as Id, from),
        Kind::IdempotencyKeys => {
            page!(IdempotencyKeys, idempotency_keys, OwnerId, KeyDigest, key_digest as Digest, from)
        }
        Kind::SyncOperations => page!(SyncOperations, sync_operations, OwnerId, OpId, op_id as Id, from),
        Kind::DeletedTrips => page!(DeletedTrips, trip_tombstones, OwnerId, TripId, trip_id as Id, from),
        Kind::Shares => page!(Shares, trip_shares, OwnerId, TripId, trip_id as Id, from),
        Kind::Trips => {
            let trips = trips::page_by_id(tx, owner, after_id, limit).await?;
            let last = trips.last().map(|trip| Key::Id(trip.id));
            (Records::Trips(trips), last)
        }
        Kind::Mails => {
            let mails = mail.list_of(tx, owner, after_id, limit).await?;
            let last = mails.last().map(|mail| Key::Id(mail.id));
            (Records::Mails(mails), last)
        }
    })
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

impl From<sessions::Model> for Session {
    fn from(row: sessions::Model) -> Self {
        Self {
            id: row.id,
            scope: row.scope,
            amr: words(&row.amr),
            device: DeviceInfo { name: row.device_name, user_agent: row.user_agent },
            created_at: from_millis(row.created_at),
            last_seen_at: from_millis(row.last_seen_at),
            authenticated_at: (row.authenticated_at > 0).then(|| from_millis(row.authenticated_at)),
            idle_expires_at: from_millis(row.idle_expires_at),
            expires_at: from_millis(row.expires_at),
            ended_at: row.ended_at.map(from_millis),
        }
    }
}

impl From<known_devices::Model> for KnownDevice {
    fn from(row: known_devices::Model) -> Self {
        Self { last_seen_at: from_millis(row.last_seen_at) }
    }
}

impl From<pending_logins::Model> for PendingLogin {
    fn from(row: pending_logins::Model) -> Self {
        Self {
            scope: row.scope,
            amr: words(&row.amr),
            device: DeviceInfo { name: row.device_name, user_agent: row.user_agent },
            expires_at: from_millis(row.expires_at),
        }
    }
}

impl From<flows::Model> for Flow {
    fn from(row: flows::Model) -> Self {
        Self {
            purpose: row.purpose,
            address: row.address,
            session: row.session_id,
            created_at: from_millis(row.created_at),
            expires_at: from_millis(row.expires_at),
            used_at: row.used_at.map(from_millis),
            superseded_at: row.superseded_at.map(from_millis),
        }
    }
}

impl From<idempotency_keys::Model> for IdempotencyKey {
    fn from(row: idempotency_keys::Model) -> Self {
        Self {
            claimed_at: from_millis(row.claimed_at),
            expires_at: from_millis(row.expires_at),
            status: row.status.and_then(|status| u16::try_from(status).ok()),
        }
    }
}

impl From<sync_operations::Model> for SyncOperation {
    fn from(row: sync_operations::Model) -> Self {
        Self { id: row.op_id, applied_at: from_millis(row.applied_at) }
    }
}

impl From<trip_tombstones::Model> for DeletedTrip {
    fn from(row: trip_tombstones::Model) -> Self {
        Self { id: row.trip_id, version: row.version, deleted_at: from_millis(row.deleted_at) }
    }
}

impl From<trip_shares::Model> for Share {
    fn from(row: trip_shares::Model) -> Self {
        Self { trip: row.trip_id, created_at: from_millis(row.created_at) }
    }
}
