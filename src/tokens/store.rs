//! Queries on the tables of signing keys and revocations.

use ::entity::{feed_epoch, revocations, sessions, signing_keys, users};
use chrono::{DateTime, Utc};
use sea_orm::sea_query::{Alias, Expr, Query, SelectStatement, UnionType};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect,
    QueryTrait, Select,
};
use uuid::Uuid;

use super::{KeyStatus, NumberedRevocation, Revocation};
use crate::clock::from_millis;
use crate::db::{StoreError, Tx, power_of_two_chunks};

/// A key as stored.
#[derive(Debug, Clone)]
pub(super) struct StoredKey {
    pub(super) kid: String,
    pub(super) alg: String,
    pub(super) status: KeyStatus,
    /// The public key, in the format that `algorithms::decoding_key` reads.
    pub(super) public_key: Vec<u8>,
    /// The encrypted private key, with the `kid` as associated data.
    pub(super) sealed_private_key: Vec<u8>,
    pub(super) created_at: DateTime<Utc>,
    pub(super) activated_at: Option<DateTime<Utc>>,
    pub(super) retired_at: Option<DateTime<Utc>>,
    pub(super) delete_at: Option<DateTime<Utc>>,
}

/// The kid and the status of a key. The key ring has changed if the set of these pairs has changed.
pub(super) type KeyVersion = (String, KeyStatus);

impl StoredKey {
    pub(super) fn key_version(&self) -> KeyVersion {
        (self.kid.clone(), self.status)
    }
}

impl From<signing_keys::Model> for StoredKey {
    fn from(row: signing_keys::Model) -> Self {
        Self {
            kid: row.kid,
            alg: row.alg,
            status: KeyStatus::from_name(&row.status),
            public_key: row.public_key,
            sealed_private_key: row.sealed_private_key,
            created_at: from_millis(row.created_at),
            activated_at: row.activated_at.map(from_millis),
            retired_at: row.retired_at.map(from_millis),
            delete_at: row.delete_at.map(from_millis),
        }
    }
}

/// Returns all keys, oldest first.
pub(super) async fn keys(tx: &Tx) -> Result<Vec<StoredKey>, StoreError> {
    let query = signing_keys::Entity::find().order_by_asc(signing_keys::Column::CreatedAt);
    Ok(query.all(tx).await?.into_iter().map(StoredKey::from).collect())
}

/// Returns the versions of all keys.
pub(super) async fn key_versions(tx: &Tx) -> Result<Vec<KeyVersion>, StoreError> {
    let rows: Vec<(String, String)> = signing_keys::Entity::find()
        .select_only()
        .columns([signing_keys::Column::Kid, signing_keys::Column::Status])
        .into_tuple()
        .all(tx)
        .await?;
    Ok(rows.into_iter().map(|(kid, status)| (kid, KeyStatus::from_name(&status))).collect())
}

/// Inserts a key. Fails with [`StoreError::UniqueViolation`] if the key is active and another active key
/// exists.
pub(super) async fn insert_key(tx: &Tx, key: &StoredKey) -> Result<(), StoreError> {
    let millis = |at: DateTime<Utc>| at.timestamp_millis();
    let row = signing_keys::ActiveModel {
        kid: Set(key.kid.clone()),
        alg: Set(key.alg.clone()),
        status: Set(key.status.name().to_owned()),
        active_slot: Set((key.status == KeyStatus::Active).then_some(1)),
        public_key: Set(key.public_key.clone()),
        sealed_private_key: Set(key.sealed_private_key.clone()),
        created_at: Set(millis(key.created_at)),
        activated_at: Set(key.activated_at.map(millis)),
        retired_at: Set(key.retired_at.map(millis)),
        delete_at: Set(key.delete_at.map(millis)),
    };
    signing_keys::Entity::insert(row).exec_without_returning(tx).await?;
    Ok(())
}

/// Retires the active key. Returns `false` if the key is not active.
pub(super) async fn retire_key(
    tx: &Tx,
    kid: &str,
    now: DateTime<Utc>,
    delete_at: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let done = signing_keys::Entity::update_many()
        .col_expr(signing_keys::Column::Status, Expr::value(KeyStatus::Retired.name()))
        .col_expr(signing_keys::Column::ActiveSlot, Expr::value(None::<i64>))
        .col_expr(signing_keys::Column::RetiredAt, Expr::value(now.timestamp_millis()))
        .col_expr(signing_keys::Column::DeleteAt, Expr::value(delete_at.timestamp_millis()))
        .filter(signing_keys::Column::Kid.eq(kid))
        .filter(signing_keys::Column::ActiveSlot.eq(1))
        .exec(tx)
        .await?;
    Ok(done.rows_affected == 1)
}

/// Makes a standby key active. Returns `false` if the key is not a standby key.
pub(super) async fn promote_key(tx: &Tx, kid: &str, now: DateTime<Utc>) -> Result<bool, StoreError> {
    let done = signing_keys::Entity::update_many()
        .col_expr(signing_keys::Column::Status, Expr::value(KeyStatus::Active.name()))
        .col_expr(signing_keys::Column::ActiveSlot, Expr::value(1_i64))
        .col_expr(signing_keys::Column::ActivatedAt, Expr::value(now.timestamp_millis()))
        .filter(signing_keys::Column::Kid.eq(kid))
        .filter(signing_keys::Column::Status.eq(KeyStatus::Standby.name()))
        .exec(tx)
        .await?;
    Ok(done.rows_affected == 1)
}

/// Deletes a key, which invalidates its tokens. Returns `false` if there is no such key with this status.
pub(super) async fn delete_key(tx: &Tx, kid: &str, status: KeyStatus) -> Result<bool, StoreError> {
    let done = signing_keys::Entity::delete_many()
        .filter(signing_keys::Column::Kid.eq(kid))
        .filter(signing_keys::Column::Status.eq(status.name()))
        .exec(tx)
        .await?;
    Ok(done.rows_affected == 1)
}

/// Deletes retired keys whose last token has expired. Returns their number.
pub(super) async fn delete_expired_keys(tx: &Tx, now: DateTime<Utc>) -> Result<u64, StoreError> {
    let done = signing_keys::Entity::delete_many()
        .filter(signing_keys::Column::Status.eq(KeyStatus::Retired.name()))
        .filter(signing_keys::Column::DeleteAt.lte(now.timestamp_millis()))
        .exec(tx)
        .await?;
    Ok(done.rows_affected)
}

/// Deletes all keys, which invalidates every token.
pub(super) async fn delete_all_keys(tx: &Tx) -> Result<(), StoreError> {
    signing_keys::Entity::delete_many().exec(tx).await?;
    Ok(())
}

/// Stores a re-encrypted private key. Does nothing if the key was deleted meanwhile.
pub(super) async fn reencrypt_key(tx: &Tx, kid: &str, sealed: &[u8]) -> Result<(), StoreError> {
    signing_keys::Entity::update_many()
        .col_expr(signing_keys::Column::SealedPrivateKey, Expr::value(sealed.to_vec()))
        .filter(signing_keys::Column::Kid.eq(kid))
        .exec(tx)
        .await?;
    Ok(())
}

/// Returns revocations with a number above `seq`, lowest first.
pub(super) async fn revocations_after(
    tx: &Tx,
    seq: i64,
    limit: u16,
) -> Result<Vec<NumberedRevocation>, StoreError> {
    let rows = select_revocations(seq, limit).all(tx).await?;
    Ok(rows.into_iter().map(|row| numbered(row.seq, row.subject, row.minted_before, row.until)).collect())
}

fn select_revocations(seq: i64, limit: u16) -> Select<revocations::Entity> {
    revocations::Entity::find()
        .filter(revocations::Column::Seq.gt(seq))
        .order_by_asc(revocations::Column::Seq)
        .limit(u64::from(limit))
}

fn numbered(seq: i64, subject: Uuid, minted_before: i64, until: i64) -> NumberedRevocation {
    let minted_before = (minted_before < i64::MAX).then(|| from_millis(minted_before));
    (seq, Revocation { subject, minted_before, until: from_millis(until) })
}

/// The feed epoch of the database.
#[derive(Debug, Clone, Copy)]
pub(super) struct StoredEpoch {
    pub(super) id: i64,
    /// When the epoch began, in milliseconds since 1970.
    pub(super) began_at: i64,
}

/// The result of a poll.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) epoch: Option<StoredEpoch>,
    /// The versions of all keys.
    pub(super) key_versions: Vec<KeyVersion>,
    /// The revocations with a number above the start of the poll, in any order. If one query can't return all
    /// of them, these are the ones with the lowest numbers.
    pub(super) revocations: Vec<NumberedRevocation>,
}

/// A row of the result of a poll: the columns `seq`, `subject`, `minted_before` and `until` of a revocation;
/// `kid` and `status` of a key; or `id` and `began_at` of the epoch.
type ChangeRow = (Option<i64>, Option<Uuid>, Option<i64>, Option<i64>, Option<String>, Option<String>);

/// Returns the epoch, the versions of all keys, and up to `limit` revocations with a number above `seq`. One
/// statement reads these values, so they are from one state of the database.
pub(super) async fn changes_after(tx: &Tx, seq: i64, limit: u16) -> Result<Changes, StoreError> {
    let rows = tx.query_all(&changes_query(seq, limit)).await?;
    let mut changes = Changes::default();
    for row in rows {
        match row.try_get_many_by_index::<ChangeRow>()? {
            (Some(seq), Some(subject), Some(before), Some(until), None, None) => {
                changes.revocations.push(numbered(seq, subject, before, until));
            }
            (None, None, None, None, Some(kid), Some(status)) => {
                changes.key_versions.push((kid, KeyStatus::from_name(&status)));
            }
            (Some(id), None, Some(began_at), None, None, None) => {
                changes.epoch = Some(StoredEpoch { id, began_at });
            }
            _ => return Err(StoreError::internal("a poll returned an unexpected row")),
        }
    }
    Ok(changes)
}

fn changes_query(seq: i64, limit: u16) -> SelectStatement {
    let null = || Expr::cust("NULL");
    let page = Alias::new("page");
    // SQLite accepts a LIMIT in a part of a union only within a subquery. PostgreSQL takes the types of the
    // columns from the first part.
    let mut query = Query::select();
    query
        .columns([
            (page.clone(), revocations::Column::Seq),
            (page.clone(), revocations::Column::Subject),
            (page.clone(), revocations::Column::MintedBefore),
            (page.clone(), revocations::Column::Until),
        ])
        .exprs([null(), null()])
        .from_subquery(select_revocations(seq, limit).into_query(), page);
    let keys = Query::select()
        .exprs([null(), null(), null(), null()])
        .columns([signing_keys::Column::Kid, signing_keys::Column::Status])
        .from(signing_keys::Entity)
        .take();
    let epoch = Query::select()
        .column(feed_epoch::Column::Epoch)
        .expr(null())
        .column(feed_epoch::Column::BeganAt)
        .exprs([null(), null(), null()])
        .from(feed_epoch::Entity)
        .take();
    query.union(UnionType::All, keys).union(UnionType::All, epoch).take()
}

/// Returns true if the user has this session, and the session has not ended and has this generation or a
/// later one. Without a session, returns true if the user exists.
pub(super) async fn is_known(
    tx: &Tx,
    user: Uuid,
    session: Option<Uuid>,
    generation: i64,
) -> Result<bool, StoreError> {
    let Some(session) = session else {
        let query = users::Entity::find_by_id(user).select_only().column(users::Column::Id);
        return Ok(query.into_tuple::<Uuid>().one(tx).await?.is_some());
    };
    let query = sessions::Entity::find_by_id((user, session))
        .select_only()
        .column(sessions::Column::Id)
        .filter(sessions::Column::EndedAt.is_null())
        .filter(sessions::Column::Generation.gte(generation));
    Ok(query.into_tuple::<Uuid>().one(tx).await?.is_some())
}

/// Returns true if a revocation with a number above `after` has one of these subjects and rejects tokens that
/// were minted at `minted_at`.
pub(super) async fn is_revoked_after(
    tx: &Tx,
    after: i64,
    subjects: &[Uuid],
    minted_at: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let query = revocations::Entity::find().select_only().column(revocations::Column::Seq);
    let query = query
        .filter(revocations::Column::Seq.gt(after))
        .filter(revocations::Column::Subject.is_in(subjects.iter().copied()))
        .filter(revocations::Column::MintedBefore.gt(minted_at.timestamp_millis()))
        .limit(1);
    Ok(query.into_tuple::<i64>().one(tx).await?.is_some())
}

/// Returns whether the user has this session, and the session has not ended.
pub(super) async fn has_not_ended(tx: &Tx, user: Uuid, session: Uuid) -> Result<bool, StoreError> {
    let query = sessions::Entity::find_by_id((user, session)).select_only().column(sessions::Column::Id);
    let query = query.filter(sessions::Column::EndedAt.is_null());
    Ok(query.into_tuple::<Uuid>().one(tx).await?.is_some())
}

/// Inserts a revocation.
pub(super) async fn revoke(tx: &Tx, revocation: &Revocation) -> Result<(), StoreError> {
    revoke_all(tx, std::slice::from_ref(revocation)).await
}

/// Inserts revocations.
pub(super) async fn revoke_all(tx: &Tx, revocations: &[Revocation]) -> Result<(), StoreError> {
    let row = |revocation: &Revocation| revocations::ActiveModel {
        subject: Set(revocation.subject),
        minted_before: Set(minted_before(revocation)),
        until: Set(revocation.until.timestamp_millis()),
        ..Default::default()
    };
    for chunk in power_of_two_chunks(revocations) {
        revocations::Entity::insert_many(chunk.iter().map(row)).exec_without_returning(tx).await?;
    }
    Ok(())
}

fn minted_before(revocation: &Revocation) -> i64 {
    revocation.minted_before.map_or(i64::MAX, |before| before.timestamp_millis())
}

/// Deletes revocations of tokens that expired before `now`. Returns their number.
pub(super) async fn delete_revocations(tx: &Tx, now: DateTime<Utc>) -> Result<u64, StoreError> {
    let done = revocations::Entity::delete_many()
        .filter(revocations::Column::Until.lt(now.timestamp_millis()))
        .exec(tx)
        .await?;
    Ok(done.rows_affected)
}
