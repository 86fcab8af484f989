//! Passkeys of users.

use sea_orm::entity::prelude::*;

/// A row of `passkeys`.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "passkeys")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub user_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// SHA-256 of the credential id.
    pub credential_digest: Vec<u8>,
    pub credential_id: Vec<u8>,
    /// A `COSE_Key`.
    pub public_key: Vec<u8>,
    /// The signature counter of the last use.
    pub sign_count: i64,
    /// Whether the passkey can be synced or backed up.
    pub backup_eligible: bool,
    /// Whether the passkey is synced or backed up.
    pub backed_up: bool,
    /// Names of transports separated by spaces.
    pub transports: String,
    /// The relying party that the passkey was created for.
    pub rp_id: String,
    pub name: String,
    pub created_at: i64,
    pub last_used_at: Option<i64>,
}

impl ActiveModelBehavior for ActiveModel {}
