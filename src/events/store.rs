//! Queries on the tables of security events and known devices. Every query takes the owner.

use ::entity::{known_devices, security_events, sessions, users};
use chrono::{DateTime, Utc};
use sea_orm::sea_query::{Expr, OnConflict};
use sea_orm::{ActiveValue::Set, ColumnTrait, Condition, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use uuid::Uuid;

use super::{DeviceInfo, Event, NewEvent};
use crate::clock::{first_id_at, from_millis};
use crate::db::{StoreError, Tx};

impl From<security_events::Model> for Event {
    fn from(row: security_events::Model) -> Self {
        Self {
            id: row.id,
            kind: row.kind,
            at: from_millis(row.created_at),
            session: row.session_id,
            address: row.ip,
            device: DeviceInfo { name: row.device_name, user_agent: row.user_agent },
        }
    }
}

/// Inserts an event. If the event has no device, stores the device of its session.
pub(super) async fn insert(tx: &Tx, owner: Uuid, event: &NewEvent) -> Result<(), StoreError> {
    let device = match (&event.device, event.session) {
        (Some(device), _) => device.clone(),
        (None, Some(session)) => session_device(tx, owner, session).await?,
        (None, None) => DeviceInfo::default(),
    };
    let row = security_events::ActiveModel {
        user_id: Set(owner),
        id: Set(event.id),
        kind: Set(event.kind.name().to_owned()),
        session_id: Set(event.session),
        created_at: Set(event.at.timestamp_millis()),
        ip: Set(event.address.map(|address| address.to_string())),
        device_name: Set(device.name),
        user_agent: Set(device.user_agent),
    };
    security_events::Entity::insert(row).exec_without_returning(tx).await?;
    Ok(())
}

async fn session_device(tx: &Tx, owner: Uuid, session: Uuid) -> Result<DeviceInfo, StoreError> {
    let query = sessions::Entity::find_by_id((owner, session))
        .select_only()
        .columns([sessions::Column::DeviceName, sessions::Column::UserAgent]);
    let found: Option<(Option<String>, Option<String>)> = query.into_tuple().one(tx).await?;
    Ok(found.map(|(name, user_agent)| DeviceInfo { name, user_agent }).unwrap_or_default())
}

/// Returns whether the account exists.
pub(super) async fn user_exists(tx: &Tx, owner: Uuid) -> Result<bool, StoreError> {
    let query = users::Entity::find_by_id(owner).select_only().column(users::Column::Id);
    Ok(query.into_tuple::<Uuid>().one(tx).await?.is_some())
}

/// Returns up to `limit` events after `since` whose ids are less than `before`, the newest first.
pub(super) async fn list(
    tx: &Tx,
    owner: Uuid,
    before: Uuid,
    since: DateTime<Utc>,
    limit: u64,
) -> Result<Vec<Event>, StoreError> {
    let rows = security_events::Entity::find()
        .filter(security_events::Column::UserId.eq(owner))
        .filter(security_events::Column::Id.lt(before))
        .filter(security_events::Column::CreatedAt.gt(since.timestamp_millis()))
        .order_by_desc(security_events::Column::Id)
        .limit(limit)
        .all(tx)
        .await?;
    Ok(rows.into_iter().map(Event::from).collect())
}

/// Returns the times and addresses of the newest `limit` events of this kind that happened after `since`.
pub(super) async fn recent(
    tx: &Tx,
    owner: Uuid,
    kind: &str,
    since: DateTime<Utc>,
    limit: u64,
) -> Result<Vec<(DateTime<Utc>, Option<String>)>, StoreError> {
    // An id begins with the time, so the filter by id reads only the newest rows of the account.
    let rows: Vec<(i64, Option<String>)> = security_events::Entity::find()
        .select_only()
        .columns([security_events::Column::CreatedAt, security_events::Column::Ip])
        .filter(security_events::Column::UserId.eq(owner))
        .filter(security_events::Column::Id.gt(first_id_at(since)))
        .filter(security_events::Column::Kind.eq(kind))
        .order_by_desc(security_events::Column::Id)
        .limit(limit)
        .into_tuple()
        .all(tx)
        .await?;
    Ok(rows.into_iter().map(|(at, address)| (from_millis(at), address)).collect())
}

/// Deletes the oldest events of the account if there are more than `keep`.
pub(super) async fn trim(tx: &Tx, owner: Uuid, keep: u64) -> Result<(), StoreError> {
    let query = security_events::Entity::find().select_only().column(security_events::Column::Id);
    let newest_excess = query
        .filter(security_events::Column::UserId.eq(owner))
        .order_by_desc(security_events::Column::Id)
        .offset(keep)
        .limit(1);
    if let Some(id) = newest_excess.into_tuple::<Uuid>().one(tx).await? {
        security_events::Entity::delete_many()
            .filter(security_events::Column::UserId.eq(owner))
            .filter(security_events::Column::Id.lte(id))
            .exec(tx)
            .await?;
    }
    Ok(())
}

/// Deletes about `limit` events that happened before a time. Deletes more than `limit` if several events
/// happened in the same millisecond. Returns the number of deleted events.
pub(super) async fn sweep(tx: &Tx, before: DateTime<Utc>, limit: u64) -> Result<u64, StoreError> {
    let before = before.timestamp_millis();
    let query = security_events::Entity::find().select_only().column(security_events::Column::CreatedAt);
    let last = query
        .filter(security_events::Column::CreatedAt.lt(before))
        .order_by_asc(security_events::Column::CreatedAt)
        .offset(limit.saturating_sub(1))
        .limit(1);
    let until = last.into_tuple::<i64>().one(tx).await?.unwrap_or(before - 1);
    let deleted =
        security_events::Entity::delete_many().filter(security_events::Column::CreatedAt.lte(until));
    Ok(deleted.exec(tx).await?.rows_affected)
}

/// Stores that a known device was used. Returns `false` if the device is not known.
pub(super) async fn touch_device(
    tx: &Tx,
    owner: Uuid,
    digest: &[u8; 32],
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let done = known_devices::Entity::update_many()
        .col_expr(known_devices::Column::LastSeenAt, Expr::value(now.timestamp_millis()))
        .filter(known_devices::Column::UserId.eq(owner))
        .filter(known_devices::Column::Digest.eq(digest.to_vec()))
        .exec(tx)
        .await?;
    Ok(done.rows_affected == 1)
}

/// Inserts a device, or updates its time if a concurrent login on the same device has inserted it.
pub(super) async fn insert_device(
    tx: &Tx,
    owner: Uuid,
    digest: &[u8; 32],
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    use known_devices::Column;
    let row = known_devices::ActiveModel {
        user_id: Set(owner),
        digest: Set(digest.to_vec()),
        last_seen_at: Set(now.timestamp_millis()),
    };
    let conflict =
        OnConflict::columns([Column::UserId, Column::Digest]).update_column(Column::LastSeenAt).to_owned();
    known_devices::Entity::insert(row).on_conflict(conflict).exec_without_returning(tx).await?;
    Ok(())
}

/// Deletes the device with this digest. If `digest` is `None`, deletes all devices of the account.
pub(super) async fn delete_devices(
    tx: &Tx,
    owner: Uuid,
    digest: Option<&[u8; 32]>,
) -> Result<(), StoreError> {
    let one = digest.map(|digest| known_devices::Column::Digest.eq(digest.to_vec()));
    known_devices::Entity::delete_many()
        .filter(known_devices::Column::UserId.eq(owner))
        .filter(Condition::all().add_option(one))
        .exec(tx)
        .await?;
    Ok(())
}

/// Deletes all devices except the `keep` devices that were used most recently.
pub(super) async fn trim_devices(tx: &Tx, owner: Uuid, keep: u64) -> Result<(), StoreError> {
    let query = known_devices::Entity::find().select_only().column(known_devices::Column::LastSeenAt);
    let newest_excess = query
        .filter(known_devices::Column::UserId.eq(owner))
        .order_by_desc(known_devices::Column::LastSeenAt)
        .offset(keep)
        .limit(1);
    if let Some(at) = newest_excess.into_tuple::<i64>().one(tx).await? {
        known_devices::Entity::delete_many()
            .filter(known_devices::Column::UserId.eq(owner))
            .filter(known_devices::Column::LastSeenAt.lte(at))
            .exec(tx)
            .await?;
    }
    Ok(())
}
