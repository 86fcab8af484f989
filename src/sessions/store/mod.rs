//! Queries on the table of sessions.
//!
//! Queries by refresh token need no owner, because the MAC of the token was verified before. All other
//! queries take the owner, except the sweep of ended and expired sessions.

pub(super) mod pending_logins;

use ::entity::sessions;
use chrono::{DateTime, Utc};
use sea_orm::sea_query::{Expr, SimpleExpr};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, Condition, EntityTrait, ExprTrait, QueryFilter, QueryOrder, QuerySelect,
    UpdateMany,
};
use uuid::Uuid;

use super::{Device, RefreshToken, Rotation, Session};
use crate::clock::from_millis;
use crate::db::{StoreError, Tx};
use crate::tokens::{Scopes, TokenUse};

/// A session as stored, with its state.
#[derive(Debug, Clone)]
pub(super) struct StoredSession {
    pub(super) session: Session,
    pub(super) last_seen_at: DateTime<Utc>,
    pub(super) ended: bool,
}

impl From<sessions::Model> for StoredSession {
    fn from(row: sessions::Model) -> Self {
        Self {
            session: Session {
                id: row.id,
                user: row.user_id,
                generation: row.generation,
                scopes: Scopes::parse(&row.scope).unwrap_or_default(),
                amr: row.amr.split(' ').map(str::to_owned).collect(),
                device: Device::stored(row.device_name, row.user_agent),
                created_at: from_millis(row.created_at),
                authenticated_at: from_millis(Ord::max(row.authenticated_at, row.created_at)),
                idle_expires_at: from_millis(row.idle_expires_at),
                expires_at: from_millis(row.expires_at),
                access_expires_at: from_millis(row.access_expires_at),
            },
            last_seen_at: from_millis(row.last_seen_at),
            ended: row.ended_at.is_some(),
        }
    }
}

/// Inserts a session.
pub(super) async fn insert(tx: &Tx, owner: Uuid, session: &Session) -> Result<(), StoreError> {
    let row = sessions::ActiveModel {
        user_id: Set(owner),
        id: Set(session.id),
        generation: Set(session.generation),
        scope: Set(session.scopes.to_string()),
        amr: Set(session.amr.join(" ")),
        device_name: Set(session.device.name.clone()),
        user_agent: Set(session.device.user_agent.clone()),
        created_at: Set(session.created_at.timestamp_millis()),
        last_seen_at: Set(session.created_at.timestamp_millis()),
        idle_expires_at: Set(session.idle_expires_at.timestamp_millis()),
        expires_at: Set(session.expires_at.timestamp_millis()),
        rotated_at: Set(session.created_at.timestamp_millis()),
        used_generation: Set(0),
        authenticated_at: Set(session.authenticated_at.timestamp_millis()),
        access_expires_at: Set(session.access_expires_at.timestamp_millis()),
        ended_at: Set(None),
    };
    sessions::Entity::insert(row).exec_without_returning(tx).await?;
    Ok(())
}

/// Returns the condition that a session has neither ended nor expired. The condition does not compare the
/// absolute expiry, because the idle expiry is never later than the absolute expiry.
fn is_active(now: DateTime<Utc>) -> Condition {
    Condition::all()
        .add(sessions::Column::EndedAt.is_null())
        .add(sessions::Column::IdleExpiresAt.gt(now.timestamp_millis()))
}

/// Returns the earlier of `millis` and the absolute expiry: a refresh can't extend a session beyond its
/// absolute expiry.
fn at_most_expiry(millis: i64) -> SimpleExpr {
    let expires = Expr::col(sessions::Column::ExpiresAt);
    Expr::case(expires.clone().lt(millis), expires).finally(millis).into()
}

/// Returns the later of `millis` and the stored expiry of the access tokens: a token that was minted under a
/// longer configured lifetime may expire after `millis`.
fn at_least_stored(millis: i64) -> SimpleExpr {
    let stored = Expr::col(sessions::Column::AccessExpiresAt);
    Expr::case(stored.clone().gt(millis), stored).finally(millis).into()
}

/// Returns the update that every refresh applies to an active session.
fn extend(presented: &RefreshToken, rotation: &Rotation) -> UpdateMany<sessions::Entity> {
    sessions::Entity::update_many()
        .col_expr(sessions::Column::LastSeenAt, Expr::value(rotation.now.timestamp_millis()))
        .col_expr(
            sessions::Column::IdleExpiresAt,
            at_most_expiry(rotation.idle_expires_at.timestamp_millis()),
        )
        .col_expr(
            sessions::Column::AccessExpiresAt,
            at_least_stored(rotation.access_expires_at.timestamp_millis()),
        )
        .filter(sessions::Column::Id.eq(presented.session))
        .filter(is_active(rotation.now))
}

/// Raises the generation of the session by one. Returns `false` if the presented token is not the newest
/// token, or the session is not active.
pub(super) async fn rotate(
    tx: &Tx,
    presented: &RefreshToken,
    rotation: &Rotation,
) -> Result<bool, StoreError> {
    let rotated_at = rotation.rotated_at.timestamp_millis();
    let done = extend(presented, rotation)
        .col_expr(sessions::Column::Generation, Expr::value(presented.generation + 1))
        .col_expr(sessions::Column::RotatedAt, Expr::value(rotated_at))
        .filter(sessions::Column::Generation.eq(presented.generation))
        .exec(tx)
        .await?;
    Ok(done.rows_affected == 1)
}

/// Extends the session because the successor of the presented token is returned again. Returns `false` if the
/// successor is not the newest token, if the successor was used and the grace period is over, or if the
/// session is not active.
pub(super) async fn reissue(
    tx: &Tx,
    presented: &RefreshToken,
    rotation: &Rotation,
) -> Result<bool, StoreError> {
    let successor = presented.generation + 1;
    let (from, until) = rotation.grace;
    let is_recent = sessions::Column::RotatedAt.between(from.timestamp_millis(), until.timestamp_millis());
    let mut grace = Condition::any().add(is_recent);
    if rotation.used_generation.is_none_or(|used| used < successor) {
        grace = grace.add(sessions::Column::UsedGeneration.lt(successor));
    }
    let done = extend(presented, rotation)
        .filter(sessions::Column::Generation.eq(successor))
        .filter(grace)
        .exec(tx)
        .await?;
    Ok(done.rows_affected == 1)
}

/// Stores that the owner of an active session has authenticated again. Returns `false` if the session is not
/// active.
pub(super) async fn renew_authentication(
    tx: &Tx,
    owner: Uuid,
    session: &Session,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let done = sessions::Entity::update_many()
        .col_expr(sessions::Column::AuthenticatedAt, Expr::value(session.authenticated_at.timestamp_millis()))
        .col_expr(sessions::Column::Amr, Expr::value(session.amr.join(" ")))
        .col_expr(
            sessions::Column::AccessExpiresAt,
            at_least_stored(session.access_expires_at.timestamp_millis()),
        )
        .filter(sessions::Column::UserId.eq(owner))
        .filter(sessions::Column::Id.eq(session.id))
        .filter(is_active(now))
        .exec(tx)
        .await?;
    Ok(done.rows_affected == 1)
}

/// Returns the session of a refresh token, whether or not the session is active.
pub(super) async fn find_by_token(
    tx: &Tx,
    presented: &RefreshToken,
) -> Result<Option<StoredSession>, StoreError> {
    let row = sessions::Entity::find().filter(sessions::Column::Id.eq(presented.session)).one(tx).await?;
    Ok(row.map(StoredSession::from))
}

/// Returns a session of the owner, whether or not the session is active.
pub(super) async fn find(tx: &Tx, owner: Uuid, id: Uuid) -> Result<Option<StoredSession>, StoreError> {
    Ok(sessions::Entity::find_by_id((owner, id)).one(tx).await?.map(StoredSession::from))
}

/// Returns the user's active sessions, most recently seen first.
pub(super) async fn list(
    tx: &Tx,
    owner: Uuid,
    now: DateTime<Utc>,
    limit: u64,
) -> Result<Vec<StoredSession>, StoreError> {
    let rows = sessions::Entity::find()
        .filter(sessions::Column::UserId.eq(owner))
        .filter(is_active(now))
        .order_by_desc(sessions::Column::LastSeenAt)
        .order_by_desc(sessions::Column::Id)
        .limit(limit)
        .all(tx)
        .await?;
    Ok(rows.into_iter().map(StoredSession::from).collect())
}

/// Returns the ids of the user's sessions that have not ended, including expired sessions.
pub(super) async fn unended_ids(tx: &Tx, owner: Uuid) -> Result<Vec<Uuid>, StoreError> {
    let query = sessions::Entity::find().select_only().column(sessions::Column::Id);
    let is_unended = sessions::Column::EndedAt.is_null();
    let ids = query.filter(sessions::Column::UserId.eq(owner)).filter(is_unended).into_tuple();
    Ok(ids.all(tx).await?)
}

/// Returns the ids of up to `limit` sessions that exceed the user's maximum. The user keeps the session
/// `new`, and the `keep` other sessions that were seen most recently. All further sessions that have not
/// ended exceed the maximum.
pub(super) async fn idle_longest(
    tx: &Tx,
    owner: Uuid,
    new: Uuid,
    keep: u64,
    limit: u64,
) -> Result<Vec<Uuid>, StoreError> {
    let query = sessions::Entity::find().select_only().column(sessions::Column::Id);
    let ids = query
        .filter(sessions::Column::UserId.eq(owner))
        .filter(sessions::Column::EndedAt.is_null())
        .filter(sessions::Column::Id.ne(new))
        .order_by_desc(sessions::Column::LastSeenAt)
        .order_by_desc(sessions::Column::Id)
        .offset(keep)
        .limit(limit)
        .into_tuple();
    Ok(ids.all(tx).await?)
}

/// Ends a session, even if it has expired: if the clock was wrong and is set back, an expired session would
/// be active again. Returns `false` if the session does not exist or has already ended.
pub(super) async fn end(tx: &Tx, owner: Uuid, id: Uuid, now: DateTime<Utc>) -> Result<bool, StoreError> {
    let done = sessions::Entity::update_many()
        .col_expr(sessions::Column::EndedAt, Expr::value(now.timestamp_millis()))
        // The sweep finds ended and expired sessions by this column.
        .col_expr(sessions::Column::IdleExpiresAt, Expr::value(now.timestamp_millis()))
        .filter(sessions::Column::UserId.eq(owner))
        .filter(sessions::Column::Id.eq(id))
        .filter(sessions::Column::EndedAt.is_null())
        .exec(tx)
        .await?;
    Ok(done.rows_affected == 1)
}

/// Replaces the authentication methods of a session.
pub(super) async fn set_methods(tx: &Tx, owner: Uuid, id: Uuid, amr: &[String]) -> Result<(), StoreError> {
    sessions::Entity::update_many()
        .col_expr(sessions::Column::Amr, Expr::value(amr.join(" ")))
        .filter(sessions::Column::UserId.eq(owner))
        .filter(sessions::Column::Id.eq(id))
        .exec(tx)
        .await?;
    Ok(())
}

/// Ends all of the user's sessions except `keep`. Returns the id of each session that this call ended, and
/// when its last access token expires.
pub(super) async fn end_all_but(
    tx: &Tx,
    owner: Uuid,
    keep: Option<Uuid>,
    now: DateTime<Utc>,
) -> Result<Vec<(Uuid, DateTime<Utc>)>, StoreError> {
    let others = || {
        let all = Condition::all().add(sessions::Column::UserId.eq(owner));
        match keep {
            Some(keep) => all.add(sessions::Column::Id.ne(keep)),
            None => all,
        }
    };
    sessions::Entity::update_many()
        .col_expr(sessions::Column::EndedAt, Expr::value(now.timestamp_millis()))
        .col_expr(sessions::Column::IdleExpiresAt, Expr::value(now.timestamp_millis()))
        .filter(others())
        .filter(sessions::Column::EndedAt.is_null())
        .exec(tx)
        .await?;
    // Read the rows after the sessions have ended: from then on, no refresh can extend the expiry of their
    // access tokens.
    let rows: Vec<(Uuid, i64)> = sessions::Entity::find()
        .select_only()
        .columns([sessions::Column::Id, sessions::Column::AccessExpiresAt])
        .filter(others())
        .filter(sessions::Column::EndedAt.eq(now.timestamp_millis()))
        .into_tuple()
        .all(tx)
        .await?;
    Ok(rows.into_iter().map(|(id, until)| (id, from_millis(until))).collect())
}

/// Stores the use of an access token, unless the session has ended or a use of the same or a later generation
/// is already stored.
pub(super) async fn mark_used(
    tx: &Tx,
    owner: Uuid,
    token_use: &TokenUse,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    sessions::Entity::update_many()
        .col_expr(sessions::Column::UsedGeneration, Expr::value(token_use.generation))
        .col_expr(sessions::Column::LastSeenAt, Expr::value(now.timestamp_millis()))
        .filter(sessions::Column::UserId.eq(owner))
        .filter(sessions::Column::Id.eq(token_use.session))
        .filter(sessions::Column::UsedGeneration.lt(token_use.generation))
        .filter(sessions::Column::EndedAt.is_null())
        .exec(tx)
        .await?;
    Ok(())
}

/// Deletes up to `limit` sessions that ended or expired before the given time. Returns their number.
pub(super) async fn sweep(tx: &Tx, before: DateTime<Utc>, limit: u64) -> Result<u64, StoreError> {
    let expired = sessions::Column::IdleExpiresAt.lt(before.timestamp_millis());
    let query = sessions::Entity::find().select_only().column(sessions::Column::Id);
    let ids: Vec<Uuid> = query.filter(expired.clone()).limit(limit).into_tuple().all(tx).await?;
    if ids.is_empty() {
        return Ok(0);
    }
    let deleted = sessions::Entity::delete_many().filter(sessions::Column::Id.is_in(ids)).filter(expired);
    Ok(deleted.exec(tx).await?.rows_affected)
}
