//! Queries on the logins that wait for a second factor.
//!
//! Queries by token need no owner, because the token is secret. The sweep takes no owner either.

use ::entity::pending_logins;
use chrono::{DateTime, Utc};
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{ActiveValue::Set, ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use uuid::Uuid;

use crate::clock::from_millis;
use crate::db::{StoreError, Tx};
use crate::sessions::Device;
use crate::sessions::pending_login::{LoginToken, PendingLogin, TRIES_MAX};
use crate::tokens::Scopes;

impl From<pending_logins::Model> for PendingLogin {
    fn from(row: pending_logins::Model) -> Self {
        Self {
            user: row.user_id,
            expires_at: from_millis(row.expires_at),
            scopes: Scopes::parse(&row.scope).unwrap_or_default(),
            amr: row.amr.split(' ').map(str::to_owned).collect(),
            device: Device { known_as: row.device_id, ..Device::stored(row.device_name, row.user_agent) },
        }
    }
}

pub(in crate::sessions) async fn insert(
    tx: &Tx,
    token: &LoginToken,
    login: &PendingLogin,
) -> Result<(), StoreError> {
    let row = pending_logins::ActiveModel {
        token_digest: Set(token.digest.to_vec()),
        user_id: Set(login.user),
        tries: Set(0),
        expires_at: Set(login.expires_at.timestamp_millis()),
        scope: Set(login.scopes.to_string()),
        amr: Set(login.amr.join(" ")),
        device_name: Set(login.device.name.clone()),
        user_agent: Set(login.device.user_agent.clone()),
        device_id: Set(login.device.known_as),
    };
    pending_logins::Entity::insert(row).exec_without_returning(tx).await?;
    Ok(())
}

/// Counts an attempt. Returns `false` if the login is unknown, has expired, or has no attempts left.
pub(in crate::sessions) async fn count_try(
    tx: &Tx,
    token: &LoginToken,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let done = pending_logins::Entity::update_many()
        .col_expr(pending_logins::Column::Tries, Expr::col(pending_logins::Column::Tries).add(1))
        .filter(pending_logins::Column::TokenDigest.eq(token.digest.to_vec()))
        .filter(pending_logins::Column::ExpiresAt.gt(now.timestamp_millis()))
        .filter(pending_logins::Column::Tries.lt(TRIES_MAX))
        .exec(tx)
        .await?;
    Ok(done.rows_affected == 1)
}

pub(in crate::sessions) async fn find(
    tx: &Tx,
    token: &LoginToken,
) -> Result<Option<PendingLogin>, StoreError> {
    let row = pending_logins::Entity::find_by_id(token.digest.to_vec()).one(tx).await?;
    Ok(row.map(PendingLogin::from))
}

/// Returns the user of a waiting login that has not expired and has an attempt left.
pub(in crate::sessions) async fn find_open(
    tx: &Tx,
    token: &LoginToken,
    now: DateTime<Utc>,
) -> Result<Option<Uuid>, StoreError> {
    let query = pending_logins::Entity::find_by_id(token.digest.to_vec())
        .select_only()
        .column(pending_logins::Column::UserId)
        .filter(pending_logins::Column::ExpiresAt.gt(now.timestamp_millis()))
        .filter(pending_logins::Column::Tries.lt(TRIES_MAX));
    Ok(query.into_tuple().one(tx).await?)
}

/// Deletes a waiting login that is complete. Returns `false` if a concurrent request has completed it.
pub(in crate::sessions) async fn take(tx: &Tx, token: &LoginToken) -> Result<bool, StoreError> {
    Ok(pending_logins::Entity::delete_by_id(token.digest.to_vec()).exec(tx).await?.rows_affected == 1)
}

/// Deletes the waiting logins of the user, except the `keep` newest ones that have not expired.
pub(in crate::sessions) async fn delete_others(
    tx: &Tx,
    owner: Uuid,
    now: DateTime<Utc>,
    keep: u64,
) -> Result<(), StoreError> {
    let rows = pending_logins::Entity::find()
        .select_only()
        .column(pending_logins::Column::TokenDigest)
        .column(pending_logins::Column::ExpiresAt)
        .filter(pending_logins::Column::UserId.eq(owner))
        .order_by_desc(pending_logins::Column::ExpiresAt)
        .into_tuple::<(Vec<u8>, i64)>()
        .all(tx)
        .await?;
    for (index, (digest, expires_at)) in (0..).zip(rows) {
        if index >= keep || expires_at <= now.timestamp_millis() {
            pending_logins::Entity::delete_by_id(digest).exec(tx).await?;
        }
    }
    Ok(())
}

/// Deletes up to `limit` waiting logins that expired before the given time. Returns their number.
pub(in crate::sessions) async fn sweep(
    tx: &Tx,
    before: DateTime<Utc>,
    limit: u64,
) -> Result<u64, StoreError> {
    let expired = pending_logins::Column::ExpiresAt.lt(before.timestamp_millis());
    let query = pending_logins::Entity::find().select_only().column(pending_logins::Column::TokenDigest);
    let digests: Vec<Vec<u8>> = query.filter(expired.clone()).limit(limit).into_tuple().all(tx).await?;
    if digests.is_empty() {
        return Ok(0);
    }
    let is_found = pending_logins::Column::TokenDigest.is_in(digests);
    let deleted = pending_logins::Entity::delete_many().filter(is_found).filter(expired);
    Ok(deleted.exec(tx).await?.rows_affected)
}
