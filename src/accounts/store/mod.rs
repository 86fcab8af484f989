//! Queries on the table of users.

pub(super) mod administration;

use ::entity::users;
use chrono::{DateTime, Utc};
use sea_orm::sea_query::{Expr, ExprTrait, LockType};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, Condition, ConnectionTrait, DbBackend, EntityTrait, QueryFilter,
    QueryOrder, QuerySelect,
};
use uuid::Uuid;

use super::{Email, HashedUser, Identifier, ProfilePatch, User};
use crate::clock::from_millis;
use crate::db::{StoreError, Tx};
use crate::passwords::COST_MAX;
use crate::throttle::CredentialTag;

/// A user with the stored password hash.
#[derive(Debug, Clone)]
pub(super) struct Credentials {
    pub(super) user: User,
    pub(super) password_hash: String,
}

impl From<users::Model> for Credentials {
    fn from(row: users::Model) -> Self {
        Self {
            user: User {
                credential: CredentialTag::of_hash(&row.password_hash),
                id: row.id,
                email: row.email,
                email_verified: row.email_verified,
                username: row.username,
                display_name: row.display_name,
                mfa_enabled: row.mfa_enabled,
                locale: row.locale,
                credentials_version: row.credentials_version,
                disabled_at: row.disabled_at.map(from_millis),
                created_at: from_millis(row.created_at),
                updated_at: from_millis(row.updated_at),
            },
            password_hash: row.password_hash,
        }
    }
}

pub(super) async fn insert(tx: &Tx, new: &HashedUser) -> Result<(), StoreError> {
    users::Entity::insert(new_row(new)).exec_without_returning(tx).await?;
    Ok(())
}

/// Returns the row of a new user.
fn new_row(new: &HashedUser) -> users::ActiveModel {
    let HashedUser { user, email_key, username_key, password_hash } = new.clone();
    users::ActiveModel {
        id: Set(user.id),
        email: Set(user.email),
        email_key: Set(email_key),
        email_verified: Set(user.email_verified),
        username: Set(user.username),
        username_key: Set(username_key),
        display_name: Set(user.display_name),
        mfa_enabled: Set(user.mfa_enabled),
        password_hash: Set(password_hash),
        locale: Set(user.locale),
        credentials_version: Set(user.credentials_version),
        lock_count: Set(0),
        disabled_at: Set(None),
        created_at: Set(user.created_at.timestamp_millis()),
        updated_at: Set(user.updated_at.timestamp_millis()),
    }
}

pub(super) async fn find(tx: &Tx, user: Uuid) -> Result<Option<User>, StoreError> {
    let row = users::Entity::find_by_id(user).one(tx).await?;
    Ok(row.map(|row| Credentials::from(row).user))
}

pub(super) async fn page(tx: &Tx, after: Uuid, limit: u64) -> Result<Vec<User>, StoreError> {
    let query = users::Entity::find().filter(users::Column::Id.gt(after)).order_by_asc(users::Column::Id);
    let rows = query.limit(limit).all(tx).await?;
    Ok(rows.into_iter().map(|row| Credentials::from(row).user).collect())
}

pub(super) async fn find_credentials(tx: &Tx, user: Uuid) -> Result<Option<Credentials>, StoreError> {
    Ok(users::Entity::find_by_id(user).one(tx).await?.map(Credentials::from))
}

/// Deletes a user. The foreign keys delete the rows of the user in other tables. Returns `false` if the user
/// did not exist.
pub(super) async fn delete(tx: &Tx, user: Uuid) -> Result<bool, StoreError> {
    Ok(users::Entity::delete_by_id(user).exec(tx).await?.rows_affected == 1)
}

pub(super) async fn find_by_identifier(
    tx: &Tx,
    identifier: &Identifier,
) -> Result<Option<Credentials>, StoreError> {
    let condition = match identifier {
        Identifier::Email(email) => users::Column::EmailKey.eq(email.as_str()),
        Identifier::Username(name) => users::Column::UsernameKey.eq(name.as_str()),
    };
    let row = users::Entity::find().filter(condition).one(tx).await?;
    Ok(row.map(Credentials::from))
}

/// Returns the highest cost of all stored hashes. In `$2b$12$…`, the cost is 12.
pub(super) async fn highest_cost(tx: &Tx) -> Result<Option<u32>, StoreError> {
    // Ignore corrupt values, because they can sort above the valid values.
    let pattern = format!("$2_$__${}", "_".repeat(53));
    let digits: Option<Option<String>> = users::Entity::find()
        .select_only()
        .expr(Expr::cust("MAX(SUBSTR(password_hash, 5, 2))"))
        .filter(users::Column::PasswordHash.like(pattern))
        .filter(Expr::cust("SUBSTR(password_hash, 5, 2)").lte(format!("{COST_MAX:02}")))
        .into_tuple()
        .one(tx)
        .await?;
    Ok(digits.flatten().and_then(|digits| digits.parse().ok()))
}

/// Replaces the hash if it is still `old`, so that a concurrent change of the password is not overwritten.
pub(super) async fn replace_hash(tx: &Tx, user: Uuid, old: &str, new: &str) -> Result<bool, StoreError> {
    let done = users::Entity::update_many()
        .col_expr(users::Column::PasswordHash, Expr::value(new))
        .filter(users::Column::Id.eq(user))
        .filter(users::Column::PasswordHash.eq(old))
        .exec(tx)
        .await?;
    Ok(done.rows_affected == 1)
}

/// Stores a new hash. With a version, stores it only if the credentials still have this version.
pub(super) async fn replace_password(
    tx: &Tx,
    user: Uuid,
    version: Option<i64>,
    hash: &str,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let unchanged = version.map(|version| users::Column::CredentialsVersion.eq(version));
    let done = users::Entity::update_many()
        .col_expr(users::Column::PasswordHash, Expr::value(hash))
        .col_expr(users::Column::CredentialsVersion, Expr::col(users::Column::CredentialsVersion).add(1))
        .col_expr(users::Column::UpdatedAt, Expr::value(now.timestamp_millis()))
        .filter(users::Column::Id.eq(user))
        .filter(Condition::all().add_option(unchanged))
        .exec(tx)
        .await?;
    Ok(done.rows_affected == 1)
}

/// Locks the row of a user.
pub(super) async fn lock(tx: &Tx, user: Uuid) -> Result<bool, StoreError> {
    lock_if(tx, user, Condition::all()).await
}

/// Locks the row of an active user whose credentials have this version.
pub(super) async fn lock_unchanged(tx: &Tx, user: Uuid, version: i64) -> Result<bool, StoreError> {
    let unchanged = Condition::all()
        .add(users::Column::CredentialsVersion.eq(version))
        .add(users::Column::DisabledAt.is_null());
    lock_if(tx, user, unchanged).await
}

/// Locks the row of a user if the row fulfils the condition. SQLite needs no lock, because it has only one writer at
/// a time.
async fn lock_if(tx: &Tx, user: Uuid, condition: Condition) -> Result<bool, StoreError> {
    if tx.get_database_backend() == DbBackend::MySql {
        // On Galera, a lock without a change is local to a node, so this lock changes a counter. If
        // transactions on two nodes change the same row, only one of them is committed, and the other one
        // runs again.
        let raised = Expr::col(users::Column::LockCount).add(1);
        let locked = users::Entity::update_many().col_expr(users::Column::LockCount, raised);
        let locked = locked.filter(users::Column::Id.eq(user)).filter(condition).exec(tx).await?;
        return Ok(locked.rows_affected == 1);
    }
    let query = users::Entity::find_by_id(user).select_only().column(users::Column::Id).filter(condition);
    // On PostgreSQL, this lock allows other transactions to insert rows that refer to the user.
    Ok(query.lock(LockType::NoKeyUpdate).into_tuple::<Uuid>().one(tx).await?.is_some())
}

pub(super) async fn change_profile(
    tx: &Tx,
    user: Uuid,
    patch: &ProfilePatch,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let mut row = users::ActiveModel { updated_at: Set(now.timestamp_millis()), ..Default::default() };
    if let Some(display_name) = &patch.display_name {
        row.display_name = Set(display_name.clone());
    }
    if let Some(locale) = &patch.locale {
        row.locale = Set(locale.clone());
    }
    if let Some(username) = &patch.username {
        row.username = Set(username.as_ref().map(|name| name.as_entered().to_owned()));
        row.username_key = Set(username.as_ref().map(|name| name.canonical().to_owned()));
    }
    let done = users::Entity::update_many().set(row).filter(users::Column::Id.eq(user)).exec(tx).await?;
    Ok(done.rows_affected == 1)
}

pub(super) async fn set_mfa_enabled(
    tx: &Tx,
    user: Uuid,
    is_enabled: bool,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let done = users::Entity::update_many()
        .col_expr(users::Column::MfaEnabled, Expr::value(is_enabled))
        .col_expr(users::Column::CredentialsVersion, Expr::col(users::Column::CredentialsVersion).add(1))
        .col_expr(users::Column::UpdatedAt, Expr::value(now.timestamp_millis()))
        .filter(users::Column::Id.eq(user))
        .exec(tx)
        .await?;
    Ok(done.rows_affected == 1)
}

/// Confirms the address if the user still has it. Returns `false` otherwise.
pub(super) async fn confirm_address(
    tx: &Tx,
    user: Uuid,
    address: &str,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let done = users::Entity::update_many()
        .col_expr(users::Column::EmailVerified, Expr::value(true))
        .col_expr(users::Column::UpdatedAt, Expr::value(now.timestamp_millis()))
        .filter(users::Column::Id.eq(user))
        .filter(users::Column::Email.eq(address))
        .exec(tx)
        .await?;
    Ok(done.rows_affected == 1)
}

pub(super) async fn change_address(
    tx: &Tx,
    user: Uuid,
    email: &Email,
    is_verified: bool,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let done = users::Entity::update_many()
        .col_expr(users::Column::Email, Expr::value(email.as_entered()))
        .col_expr(users::Column::EmailKey, Expr::value(email.canonical()))
        .col_expr(users::Column::EmailVerified, Expr::value(is_verified))
        .col_expr(users::Column::UpdatedAt, Expr::value(now.timestamp_millis()))
        .filter(users::Column::Id.eq(user))
        .exec(tx)
        .await?;
    Ok(done.rows_affected == 1)
}
