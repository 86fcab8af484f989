//! Queries on the table of challenges. A query by the id of a challenge needs no owner, because only the
//! client that got the challenge has its id.

use ::entity::passkey_challenges::{ActiveModel, Column, Entity};
use chrono::{DateTime, Utc};
use sea_orm::{ActiveValue::Set, ColumnTrait, Condition, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use uuid::Uuid;

use crate::db::{StoreError, Tx};
use crate::passkeys::challenge::{Ceremony, Challenge, PresentedChallenge};

pub(in crate::passkeys) async fn insert(
    tx: &Tx,
    ceremony: Ceremony,
    user: Option<Uuid>,
    challenge: &Challenge,
) -> Result<(), StoreError> {
    let row = ActiveModel {
        id: Set(challenge.id),
        ceremony: Set(ceremony.name().to_owned()),
        user_id: Set(user),
        login_digest: Set(ceremony.login().map(|digest| digest.to_vec())),
        challenge: Set(challenge.value.clone()),
        expires_at: Set(challenge.expires_at.timestamp_millis()),
    };
    Entity::insert(row).exec_without_returning(tx).await?;
    Ok(())
}

/// Returns the random value of a challenge that is valid for this ceremony and user.
pub(in crate::passkeys) async fn find(
    tx: &Tx,
    presented: PresentedChallenge,
    now: DateTime<Utc>,
) -> Result<Option<Vec<u8>>, StoreError> {
    let of_user = match presented.user {
        Some(user) => Column::UserId.eq(user),
        None => Column::UserId.is_null(),
    };
    let of_login = match presented.ceremony.login() {
        Some(digest) => Column::LoginDigest.eq(digest.to_vec()),
        None => Column::LoginDigest.is_null(),
    };
    let query = Entity::find_by_id(presented.id)
        .select_only()
        .column(Column::Challenge)
        .filter(Column::Ceremony.eq(presented.ceremony.name()))
        .filter(Column::ExpiresAt.gt(now.timestamp_millis()))
        .filter(Condition::all().add(of_user).add(of_login));
    Ok(query.into_tuple().one(tx).await?)
}

/// Deletes a challenge. Returns `false` if a concurrent request has deleted it.
pub(in crate::passkeys) async fn delete(tx: &Tx, presented: PresentedChallenge) -> Result<bool, StoreError> {
    Ok(Entity::delete_by_id(presented.id).exec(tx).await?.rows_affected == 1)
}

/// Deletes all challenges of a user except the `keep` newest.
pub(in crate::passkeys) async fn delete_oldest(tx: &Tx, owner: Uuid, keep: u64) -> Result<(), StoreError> {
    let query = Entity::find().select_only().column(Column::Id).filter(Column::UserId.eq(owner));
    let ids: Vec<Uuid> = query.order_by_asc(Column::Id).into_tuple().all(tx).await?;
    let excess = ids.len().saturating_sub(usize::try_from(keep).unwrap_or(usize::MAX));
    if excess > 0 {
        let oldest = ids.into_iter().take(excess);
        Entity::delete_many().filter(Column::Id.is_in(oldest)).exec(tx).await?;
    }
    Ok(())
}

/// Deletes up to `limit` challenges that expired before the given time. Returns their number.
pub(in crate::passkeys) async fn sweep(
    tx: &Tx,
    before: DateTime<Utc>,
    limit: u64,
) -> Result<u64, StoreError> {
    let expired = Column::ExpiresAt.lt(before.timestamp_millis());
    let query = Entity::find().select_only().column(Column::Id);
    let ids: Vec<Uuid> = query.filter(expired).limit(limit).into_tuple().all(tx).await?;
    if ids.is_empty() {
        return Ok(0);
    }
    Ok(Entity::delete_many().filter(Column::Id.is_in(ids)).exec(tx).await?.rows_affected)
}
