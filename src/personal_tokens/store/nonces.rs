//! Queries on the table of used nonces. The queries take no owner, because no row belongs to a user.

use ::entity::digest_nonces;
use chrono::{DateTime, Utc};
use sea_orm::sea_query::Expr;
use sea_orm::{ActiveValue::Set, ColumnTrait, EntityTrait, QueryFilter, QuerySelect};
use uuid::Uuid;

use crate::db::{StoreError, Tx};
use crate::personal_tokens::nonces::Nonce;

/// Records the use of a nonce with this count. Fails with [`StoreError::UniqueViolation`] if the nonce was used
/// with the same or a higher count.
pub(in crate::personal_tokens) async fn claim(tx: &Tx, nonce: &Nonce, count: i64) -> Result<(), StoreError> {
    let raised = digest_nonces::Entity::update_many()
        .col_expr(digest_nonces::Column::Nc, Expr::value(count))
        .filter(digest_nonces::Column::Id.eq(nonce.id))
        .filter(digest_nonces::Column::Nc.lt(count))
        .exec(tx)
        .await?;
    if raised.rows_affected == 1 {
        return Ok(());
    }
    let row = digest_nonces::ActiveModel {
        id: Set(nonce.id),
        nc: Set(count),
        issued_at: Set(nonce.issued_at.timestamp_millis()),
    };
    digest_nonces::Entity::insert(row).exec_without_returning(tx).await?;
    Ok(())
}

/// Deletes up to `limit` nonces that were issued before the given time. Returns their number.
pub(in crate::personal_tokens) async fn sweep(
    tx: &Tx,
    before: DateTime<Utc>,
    limit: u64,
) -> Result<u64, StoreError> {
    let expired = digest_nonces::Column::IssuedAt.lt(before.timestamp_millis());
    let query = digest_nonces::Entity::find().select_only().column(digest_nonces::Column::Id);
    let ids: Vec<Uuid> = query.filter(expired).limit(limit).into_tuple().all(tx).await?;
    if ids.is_empty() {
        return Ok(0);
    }
    let deleted = digest_nonces::Entity::delete_many().filter(digest_nonces::Column::Id.is_in(ids));
    Ok(deleted.exec(tx).await?.rows_affected)
}
