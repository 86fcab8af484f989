//! User accounts.

use sea_orm::entity::prelude::*;

/// A row of `users`.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "users")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// The address as entered.
    pub email: Option<String>,
    /// The canonical form of the address, which is unique. If the form was too long, or if another account kept
    /// it, a migration stored a text without an `@` here, which no login finds.
    pub email_key: Option<String>,
    pub email_verified: bool,
    pub username: Option<String>,
    pub username_key: Option<String>,
    pub display_name: Option<String>,
    /// A bcrypt hash in the modular crypt format.
    pub password_hash: String,
    /// Whether logging in requires a second factor.
    pub mfa_enabled: bool,
    /// A language tag (BCP 47).
    pub locale: Option<String>,
    /// Incremented when the password or the state of the account changes.
    pub credentials_version: i64,
    /// Incremented on MySQL and MariaDB by each transaction that locks the user.
    pub lock_count: i64,
    /// When an operator disabled the account.
    pub disabled_at: Option<i64>,
    pub created_at: i64,
    pub updated_at: i64,
}

impl ActiveModelBehavior for ActiveModel {}
