//! The table of clients.

use ::entity::clients;
use sea_orm::{ActiveValue::Set, EntityTrait, QueryOrder};

use super::Client;
use crate::clock::from_millis;
use crate::db::{StoreError, Tx};

fn client(row: clients::Model) -> (Client, Vec<u8>) {
    let client = Client { id: row.id, name: row.name, created_at: from_millis(row.created_at) };
    (client, row.secret_digest)
}

/// [`StoreError::UniqueViolation`] if there is one of this name.
pub(super) async fn insert(tx: &Tx, client: &Client, secret_digest: &[u8; 32]) -> Result<(), StoreError> {
    let row = clients::ActiveModel {
        id: Set(client.id.clone()),
        name: Set(client.name.clone()),
        secret_digest: Set(secret_digest.to_vec()),
        created_at: Set(client.created_at.timestamp_millis()),
    };
    clients::Entity::insert(row).exec_without_returning(tx).await?;
    Ok(())
}

/// The client and the digest of its secret.
pub(super) async fn find(tx: &Tx, id: &str) -> Result<Option<(Client, Vec<u8>)>, StoreError> {
    Ok(clients::Entity::find_by_id(id).one(tx).await?.map(client))
}

pub(super) async fn all(tx: &Tx) -> Result<Vec<Client>, StoreError> {
    // Their ids begin with the time at which they were made.
    let rows = clients::Entity::find().order_by_asc(clients::Column::Id).all(tx).await?;
    Ok(rows.into_iter().map(|row| client(row).0).collect())
}

pub(super) async fn remove(tx: &Tx, id: &str) -> Result<bool, StoreError> {
    let done = clients::Entity::delete_by_id(id).exec(tx).await?;
    Ok(done.rows_affected == 1)
}
