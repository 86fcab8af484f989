//! Computes the canonical form of every email address and stores it in the column by which a login finds the
//! account.
//!
//! SQL can't compute this form, so the step reads the accounts in batches and changes the rows whose form
//! differs. Usernames need no change, because all of them are in lower case.
//!
//! Two accounts can have addresses with the same canonical form, such as `"ada"@example.org` and
//! `ada@example.org`. The address stays with the account that has verified it, or else with the older
//! account. The other account keeps its sessions, its data and its username, but its user can't log in with
//! the address: the key of this account contains no `@`, so no login finds the key. A log line names both
//! accounts.

use std::collections::HashMap;

use identifiers::canonical;
use sea_orm_migration::prelude::{
    DbErr, DeriveMigrationName, Expr, ExprTrait, MigrationTrait, Order, Query, SchemaManager, async_trait,
};
use sea_orm_migration::sea_orm::prelude::Uuid;
use sea_orm_migration::sea_orm::{ConnectionTrait, QueryResult};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

/// The number of rows that are read at once.
const BATCH: u64 = 1000;
/// The length of the column, in characters.
const KEY_MAX: usize = 254;

/// The columns of an account that decide which key its address gets.
#[derive(Debug, Clone)]
struct Account {
    id: Uuid,
    email: String,
    key: String,
    is_verified: bool,
    created_at: i64,
}

impl Account {
    fn from_row(row: &QueryResult) -> Result<Self, DbErr> {
        Ok(Self {
            id: row.try_get_by("id")?,
            email: row.try_get_by("email")?,
            key: row.try_get_by("email_key")?,
            is_verified: row.try_get_by("email_verified")?,
            created_at: row.try_get_by("created_at")?,
        })
    }

    /// Returns the sort key of accounts with the same address. The first account keeps the address.
    fn precedence(&self) -> (bool, i64, Uuid) {
        (!self.is_verified, self.created_at, self.id)
    }

    /// Returns the key for an address that another account keeps. No login finds this key.
    fn unreachable_key(&self) -> String {
        format!("unavailable:{}", self.id)
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let connection = manager.get_connection();
        let mut claims: HashMap<String, Vec<Account>> = HashMap::new();
        let mut after = Uuid::nil();
        loop {
            let batch = read_batch(connection, after).await?;
            let Some(last) = batch.last() else { break };
            after = last.id;
            for account in batch {
                let canonical = canonical(&account.email);
                if canonical != account.key {
                    claims.entry(canonical).or_default().push(account);
                }
            }
        }
        // An account whose key already is the canonical form claims this form too.
        for (canonical, claimants) in &mut claims {
            claimants.extend(find_unchanged(connection, canonical).await?);
            claimants.sort_by_key(Account::precedence);
        }
        // Replace all old keys first, because the new key of one account can be the old key of another
        // account.
        for account in claims.values().flatten() {
            set_key(connection, account.id, &account.unreachable_key()).await?;
        }
        for (canonical, claimants) in &claims {
            let Some((first, others)) = claimants.split_first() else { continue };
            if canonical.chars().count() > KEY_MAX {
                tracing::warn!(
                    account = %first.id,
                    "the email address of this account is too long: the address cannot be used to log in"
                );
                continue;
            }
            set_key(connection, first.id, canonical).await?;
            for other in others {
                tracing::warn!(
                    account = %other.id, owner = %first.id,
                    "two accounts have the same email address; only the account `owner` can log in with it"
                );
            }
        }
        Ok(())
    }

    // Changes nothing. The key of most addresses is the same before and after this step. SQL can't compute
    // the former keys of the other addresses.
    async fn down(&self, _: &SchemaManager) -> Result<(), DbErr> {
        Ok(())
    }
}

const COLUMNS: [&str; 5] = ["id", "email", "email_key", "email_verified", "created_at"];

/// Returns the next accounts that have an address, ordered by id.
async fn read_batch(connection: &impl ConnectionTrait, after: Uuid) -> Result<Vec<Account>, DbErr> {
    let query = Query::select()
        .columns(COLUMNS)
        .from("users")
        .and_where(Expr::col("id").gt(after))
        .and_where(Expr::col("email").is_not_null())
        .order_by("id", Order::Asc)
        .limit(BATCH)
        .to_owned();
    connection.query_all(&query).await?.iter().map(Account::from_row).collect()
}

/// Returns the account that already has this key, if the key is the canonical form of the address of this
/// account.
async fn find_unchanged(connection: &impl ConnectionTrait, key: &str) -> Result<Option<Account>, DbErr> {
    let query =
        Query::select().columns(COLUMNS).from("users").and_where(Expr::col("email_key").eq(key)).to_owned();
    let found = connection.query_one(&query).await?.as_ref().map(Account::from_row).transpose()?;
    Ok(found.filter(|found| canonical(&found.email) == key))
}

async fn set_key(connection: &impl ConnectionTrait, id: Uuid, key: &str) -> Result<(), DbErr> {
    let update =
        Query::update().table("users").value("email_key", key).and_where(Expr::col("id").eq(id)).to_owned();
    connection.execute(&update).await?;
    Ok(())
}
