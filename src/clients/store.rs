//! Queries on the table of clients.

use ::entity::clients;
use sea_orm::{ActiveValue::Set, EntityTrait, QueryOrder};

use super::Client;
use crate::clock::from_millis;
use crate::db::{StoreError, Tx};

/// Returns the client of a row and the digest of its secret.
fn client(row: clients::Model) -> (Client, Vec<u8>) {
    let client = Client { id: row.id, name: row.name, created_at: from_millis(row.created_at) };
    (client, row.secret_digest)
}

/// Inserts a client. Fails with [`StoreError::UniqueViolation`] if another client has the name.
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

/// Returns a client and the digest of its secret.
pub(super) async fn find(tx: &Tx, id: &str) -> Result<Option<(Client, Vec<u8>)>, StoreError> {
    Ok(clients::Entity::find_by_id(id).one(tx).await?.map(client))
}

/// Returns all clients, oldest first.
pub(super) async fn all(tx: &Tx) -> Result<Vec<Client>, StoreError> {
    // The ids are UUIDv7, which begin with the time of their creation.
    let rows = clients::Entity::find().order_by_asc(clients::Column::Id).all(tx).await?;
    Ok(rows.into_iter().map(|row| client(row).0).collect())
}

/// Deletes a client. Returns `false` if no client has this id.
pub(super) async fn remove(tx: &Tx, id: &str) -> Result<bool, StoreError> {
    let done = clients::Entity::delete_by_id(id).exec(tx).await?;
    Ok(done.rows_affected == 1)
}
