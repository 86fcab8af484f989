//! Computes the canonical form of every email address, the column that logging in compares.
//!
//! SQL can't compute it, so this step reads the accounts in batches and changes the rows whose form differs.
//! Usernames need no change, because all of them are in lower case.
//!
//! Two accounts may have addresses that are one mailbox in the new form, such as `"ada"@example.org` and
//! `ada@example.org`. A verified address keeps its account; otherwise the older account keeps the address. The
//! other account stays as it is, with its sessions, its data and its username, but can't log in by the
//! address: its key contains no `@`, so no login finds it. The log names both accounts.

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

    /// Returns the order in which accounts claim an address.
    fn precedence(&self) -> (bool, i64, Uuid) {
        (!self.is_verified, self.created_at, self.id)
    }

    /// Returns the key of an address that another account has.
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
        // Accounts whose key is the canonical form already take part in the decision.
        for (canonical, claimants) in &mut claims {
            claimants.extend(find_unchanged(connection, canonical).await?);
            claimants.sort_by_key(Account::precedence);
        }
        // All old keys are released first, because the key of one account may be the old key of another.
        for account in claims.values().flatten() {
            set_key(connection, account.id, &account.unreachable_key()).await?;
        }
        for (canonical, claimants) in &claims {
            let Some((first, others)) = claimants.split_first() else { continue };
            if canonical.chars().count() > KEY_MAX {
                tracing::warn!(account = %first.id, "an email address is too long to log in with");
                continue;
            }
            set_key(connection, first.id, canonical).await?;
            for other in others {
                tracing::warn!(
                    account = %other.id, owner = %first.id,
                    "two accounts have the same email address; only the owner can log in with it"
                );
            }
        }
        Ok(())
    }

    // The keys of most addresses are the same in the previous form, and the others can't be computed by SQL.
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

/// Returns the account that has this key already and keeps it as its canonical form.
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
