//! Queries on the table of personal access tokens.
//!
//! A query by the id in a token needs no owner, because the token's secret is compared afterwards. All other
//! queries take the owner, except the sweep of expired tokens.

pub(super) mod nonces;

use ::entity::{personal_tokens, users};
use chrono::{DateTime, Utc};
use sea_orm::sea_query::{Expr, ExprTrait, Query};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, Condition, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder,
    QuerySelect,
};
use uuid::Uuid;

use super::{PersonalToken, PresentedId};
use crate::clock::from_millis;
use crate::db::{StoreError, Tx};
use crate::tokens::Scopes;

/// A token as stored.
#[derive(Debug, Clone)]
pub(super) struct StoredToken {
    pub(super) token: PersonalToken,
    /// The keyed hash of the token.
    pub(super) hash: Vec<u8>,
    /// The encrypted hash that HTTP Digest authentication uses, if the token was created for it.
    pub(super) sealed_digest_hash: Option<Vec<u8>>,
}

/// A token to insert.
#[derive(Debug, Clone)]
pub(super) struct NewRow {
    pub(super) token: PersonalToken,
    pub(super) hash: Vec<u8>,
    pub(super) sealed_digest_hash: Option<Vec<u8>>,
}

impl From<personal_tokens::Model> for PersonalToken {
    fn from(row: personal_tokens::Model) -> Self {
        Self {
            id: row.id,
            user: row.user_id,
            name: row.name,
            scopes: Scopes::parse(&row.scope).unwrap_or_default(),
            digest: row.sealed_digest_hash.is_some(),
            created_at: from_millis(row.created_at),
            expires_at: row.expires_at.map(from_millis),
            last_used_at: row.last_used_at.map(from_millis),
        }
    }
}

impl From<personal_tokens::Model> for StoredToken {
    fn from(mut row: personal_tokens::Model) -> Self {
        let hash = std::mem::take(&mut row.token_hash);
        let sealed_digest_hash = row.sealed_digest_hash.clone();
        Self { token: row.into(), hash, sealed_digest_hash }
    }
}

/// Returns the number of a user's tokens.
pub(super) async fn count(tx: &Tx, owner: Uuid) -> Result<u64, StoreError> {
    let query = personal_tokens::Entity::find().filter(personal_tokens::Column::UserId.eq(owner));
    Ok(query.count(tx).await?)
}

/// Inserts a token.
pub(super) async fn insert(tx: &Tx, owner: Uuid, new: &NewRow) -> Result<(), StoreError> {
    let NewRow { token, hash, sealed_digest_hash } = new.clone();
    let row = personal_tokens::ActiveModel {
        user_id: Set(owner),
        id: Set(token.id),
        name: Set(token.name),
        scope: Set(token.scopes.to_string()),
        token_hash: Set(hash),
        sealed_digest_hash: Set(sealed_digest_hash),
        created_at: Set(token.created_at.timestamp_millis()),
        expires_at: Set(token.expires_at.map(|at| at.timestamp_millis())),
        last_used_at: Set(None),
    };
    personal_tokens::Entity::insert(row).exec_without_returning(tx).await?;
    Ok(())
}

/// Returns a user's tokens, newest first.
pub(super) async fn list(tx: &Tx, owner: Uuid) -> Result<Vec<PersonalToken>, StoreError> {
    let rows = personal_tokens::Entity::find()
        .filter(personal_tokens::Column::UserId.eq(owner))
        .order_by_desc(personal_tokens::Column::Id)
        .all(tx)
        .await?;
    Ok(rows.into_iter().map(PersonalToken::from).collect())
}

/// Returns the token with the id in a credential, unless an operator has disabled the account.
pub(super) async fn find_presented(
    tx: &Tx,
    presented: PresentedId,
) -> Result<Option<StoredToken>, StoreError> {
    use personal_tokens::{Column, Entity};
    let owner = Query::select()
        .column(users::Column::Id)
        .from(users::Entity)
        .and_where(Expr::col((users::Entity, users::Column::Id)).equals((Entity, Column::UserId)))
        .and_where(Expr::col((users::Entity, users::Column::DisabledAt)).is_null())
        .take();
    let found = Entity::find().filter(Column::Id.eq(presented.0)).filter(Expr::exists(owner));
    Ok(found.one(tx).await?.map(StoredToken::from))
}

/// Deletes a token. Returns `false` if the owner has no token with this id.
pub(super) async fn delete(tx: &Tx, owner: Uuid, id: Uuid) -> Result<bool, StoreError> {
    Ok(personal_tokens::Entity::delete_by_id((owner, id)).exec(tx).await?.rows_affected == 1)
}

/// Deletes all tokens of a user.
pub(super) async fn delete_all(tx: &Tx, owner: Uuid) -> Result<(), StoreError> {
    let deleted = personal_tokens::Entity::delete_many().filter(personal_tokens::Column::UserId.eq(owner));
    deleted.exec(tx).await?;
    Ok(())
}

/// Replaces the keyed hash if it is still `old`.
pub(super) async fn replace_hash(
    tx: &Tx,
    owner: Uuid,
    id: Uuid,
    old: &[u8],
    new: &[u8],
) -> Result<(), StoreError> {
    personal_tokens::Entity::update_many()
        .col_expr(personal_tokens::Column::TokenHash, Expr::value(new.to_vec()))
        .filter(personal_tokens::Column::UserId.eq(owner))
        .filter(personal_tokens::Column::Id.eq(id))
        .filter(personal_tokens::Column::TokenHash.eq(old.to_vec()))
        .exec(tx)
        .await?;
    Ok(())
}

/// Replaces the encrypted hash that HTTP Digest authentication uses.
pub(super) async fn replace_digest_hash(
    tx: &Tx,
    owner: Uuid,
    id: Uuid,
    sealed: &[u8],
) -> Result<(), StoreError> {
    personal_tokens::Entity::update_many()
        .col_expr(personal_tokens::Column::SealedDigestHash, Expr::value(sealed.to_vec()))
        .filter(personal_tokens::Column::UserId.eq(owner))
        .filter(personal_tokens::Column::Id.eq(id))
        .exec(tx)
        .await?;
    Ok(())
}

/// Records the last use of a token, unless a later use is recorded already.
pub(super) async fn mark_used(tx: &Tx, owner: Uuid, id: Uuid, at: DateTime<Utc>) -> Result<(), StoreError> {
    let at = at.timestamp_millis();
    let is_older = Condition::any()
        .add(personal_tokens::Column::LastUsedAt.is_null())
        .add(personal_tokens::Column::LastUsedAt.lt(at));
    personal_tokens::Entity::update_many()
        .col_expr(personal_tokens::Column::LastUsedAt, Expr::value(at))
        .filter(personal_tokens::Column::UserId.eq(owner))
        .filter(personal_tokens::Column::Id.eq(id))
        .filter(is_older)
        .exec(tx)
        .await?;
    Ok(())
}

/// Deletes up to `limit` tokens that expired before the given time. Returns their number.
pub(super) async fn sweep(tx: &Tx, before: DateTime<Utc>, limit: u64) -> Result<u64, StoreError> {
    let expired = personal_tokens::Column::ExpiresAt.lt(before.timestamp_millis());
    let query = personal_tokens::Entity::find().select_only().column(personal_tokens::Column::Id);
    let ids: Vec<Uuid> = query.filter(expired.clone()).limit(limit).into_tuple().all(tx).await?;
    if ids.is_empty() {
        return Ok(0);
    }
    let deleted =
        personal_tokens::Entity::delete_many().filter(personal_tokens::Column::Id.is_in(ids)).filter(expired);
    Ok(deleted.exec(tx).await?.rows_affected)
}
