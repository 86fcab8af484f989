//! Queries on the table of passkeys. Every query of one user's passkeys takes the owner.

pub(super) mod challenges;

use ::entity::passkeys;
use chrono::{DateTime, Utc};
use sea_orm::sea_query::Expr;
use sea_orm::{
    ActiveValue::Set, ColumnTrait, Condition, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder,
    QuerySelect,
};
use uuid::Uuid;

use super::verification::{KnownCredential, NewCredential, Used};
use super::{CredentialRef, Passkey};
use crate::clock::from_millis;
use crate::db::{StoreError, Tx};
use crate::secrets::sha256;

/// A passkey to insert.
#[derive(Debug, Clone)]
pub(super) struct NewRow {
    pub(super) passkey: Passkey,
    pub(super) credential: NewCredential,
    pub(super) transports: Vec<String>,
    pub(super) rp_id: String,
}

impl From<passkeys::Model> for Passkey {
    fn from(row: passkeys::Model) -> Self {
        Self {
            id: row.id,
            name: row.name,
            created_at: from_millis(row.created_at),
            last_used_at: row.last_used_at.map(from_millis),
            is_backed_up: row.backed_up,
        }
    }
}

/// Returns the number of a user's passkeys.
pub(super) async fn count(tx: &Tx, owner: Uuid) -> Result<u64, StoreError> {
    Ok(passkeys::Entity::find().filter(passkeys::Column::UserId.eq(owner)).count(tx).await?)
}

/// Returns whether any user has a passkey with this credential id.
pub(super) async fn is_registered(tx: &Tx, credential_id: &[u8]) -> Result<bool, StoreError> {
    let digest = sha256(credential_id).to_vec();
    let query = passkeys::Entity::find().filter(passkeys::Column::CredentialDigest.eq(digest));
    Ok(query.count(tx).await? > 0)
}

pub(super) async fn insert(tx: &Tx, owner: Uuid, new: &NewRow) -> Result<(), StoreError> {
    let NewRow { passkey, credential, transports, rp_id } = new.clone();
    let row = passkeys::ActiveModel {
        user_id: Set(owner),
        id: Set(passkey.id),
        credential_digest: Set(sha256(&credential.id).to_vec()),
        credential_id: Set(credential.id),
        public_key: Set(credential.public_key),
        sign_count: Set(credential.sign_count.into()),
        backup_eligible: Set(credential.is_backup_eligible),
        backed_up: Set(credential.is_backed_up),
        transports: Set(transports.join(" ")),
        rp_id: Set(rp_id),
        name: Set(passkey.name),
        created_at: Set(passkey.created_at.timestamp_millis()),
        last_used_at: Set(None),
    };
    passkeys::Entity::insert(row).exec_without_returning(tx).await?;
    Ok(())
}

/// Returns a user's passkeys, newest first.
pub(super) async fn list(tx: &Tx, owner: Uuid) -> Result<Vec<Passkey>, StoreError> {
    let rows = passkeys::Entity::find()
        .filter(passkeys::Column::UserId.eq(owner))
        .order_by_desc(passkeys::Column::Id)
        .all(tx)
        .await?;
    Ok(rows.into_iter().map(Passkey::from).collect())
}

/// Returns what clients need to find a user's passkeys.
pub(super) async fn credentials(tx: &Tx, owner: Uuid) -> Result<Vec<CredentialRef>, StoreError> {
    let rows: Vec<(Vec<u8>, String)> = passkeys::Entity::find()
        .select_only()
        .columns([passkeys::Column::CredentialId, passkeys::Column::Transports])
        .filter(passkeys::Column::UserId.eq(owner))
        .order_by_asc(passkeys::Column::Id)
        .into_tuple()
        .all(tx)
        .await?;
    let transports =
        |text: String| text.split(' ').filter(|name| !name.is_empty()).map(str::to_owned).collect();
    Ok(rows.into_iter().map(|(id, text)| CredentialRef { id, transports: transports(text) }).collect())
}

pub(super) async fn find(tx: &Tx, owner: Uuid, id: Uuid) -> Result<Option<Passkey>, StoreError> {
    Ok(passkeys::Entity::find_by_id((owner, id)).one(tx).await?.map(Passkey::from))
}

/// Returns the user's passkey with this credential id.
pub(super) async fn find_credential(
    tx: &Tx,
    owner: Uuid,
    credential_id: &[u8],
) -> Result<Option<(Uuid, KnownCredential)>, StoreError> {
    let row = passkeys::Entity::find()
        .filter(passkeys::Column::CredentialDigest.eq(sha256(credential_id).to_vec()))
        .filter(passkeys::Column::UserId.eq(owner))
        .one(tx)
        .await?;
    Ok(row.map(|row| {
        let known = KnownCredential { public_key: row.public_key, is_backup_eligible: row.backup_eligible };
        (row.id, known)
    }))
}

/// Records a use. Returns `false` if the signature counter has not grown since the last use. Synced passkeys
/// have no counter and always send 0: the counter 0 is accepted if the stored counter is 0 too.
pub(super) async fn record_use(
    tx: &Tx,
    owner: Uuid,
    id: Uuid,
    used: Used,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let count = i64::from(used.sign_count);
    let unused = Condition::all().add(passkeys::Column::SignCount.eq(0_i64)).add(Expr::value(count == 0));
    let has_grown = Condition::any().add(passkeys::Column::SignCount.lt(count)).add(unused);
    let done = passkeys::Entity::update_many()
        .col_expr(passkeys::Column::SignCount, Expr::value(count))
        .col_expr(passkeys::Column::BackedUp, Expr::value(used.is_backed_up))
        .col_expr(passkeys::Column::LastUsedAt, Expr::value(now.timestamp_millis()))
        .filter(passkeys::Column::UserId.eq(owner))
        .filter(passkeys::Column::Id.eq(id))
        .filter(has_grown)
        .exec(tx)
        .await?;
    Ok(done.rows_affected == 1)
}

/// Renames a passkey. Returns `false` if the owner has no passkey with this id.
pub(super) async fn rename(tx: &Tx, owner: Uuid, id: Uuid, name: &str) -> Result<bool, StoreError> {
    let done = passkeys::Entity::update_many()
        .col_expr(passkeys::Column::Name, Expr::value(name))
        .filter(passkeys::Column::UserId.eq(owner))
        .filter(passkeys::Column::Id.eq(id))
        .exec(tx)
        .await?;
    Ok(done.rows_affected == 1)
}

/// Deletes a passkey. Returns `false` if the owner has no passkey with this id.
pub(super) async fn delete(tx: &Tx, owner: Uuid, id: Uuid) -> Result<bool, StoreError> {
    Ok(passkeys::Entity::delete_by_id((owner, id)).exec(tx).await?.rows_affected == 1)
}

/// Deletes all passkeys of a user. Returns their number.
pub(super) async fn delete_all(tx: &Tx, owner: Uuid) -> Result<u64, StoreError> {
    let deleted = passkeys::Entity::delete_many().filter(passkeys::Column::UserId.eq(owner));
    Ok(deleted.exec(tx).await?.rows_affected)
}

/// Returns the host name of the relying party, which is the same for all passkeys. Returns `None` if there is
/// no passkey.
pub(super) async fn any_rp_id(tx: &Tx) -> Result<Option<String>, StoreError> {
    let query = passkeys::Entity::find().select_only().column(passkeys::Column::RpId).limit(1);
    Ok(query.into_tuple().one(tx).await?)
}
