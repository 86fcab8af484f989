//! Adds, lists and removes the credentials of other services.

use super::actions::record;
use super::{open_existing, open_or_create};
use crate::app::{StartError, set_umask};
use crate::clients::{Client, ClientCredentials, Clients, ClientsError};
use crate::clock::Clock;
use crate::config::Settings;
use crate::db::Db;
use crate::operators::Action;

/// Why a command for the clients failed.
#[derive(Debug, thiserror::Error)]
pub enum ManageClientsError {
    /// The database or the data directory can't be used.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The clients can't be read or changed as requested.
    #[error(transparent)]
    Clients(#[from] ClientsError),
}

/// Creates a client. If `create` is true, also creates a missing database, so that the command works before
/// the first start of the server.
///
/// # Errors
///
/// [`ManageClientsError`].
pub async fn add_client(
    settings: &Settings,
    name: &str,
    create: bool,
) -> Result<ClientCredentials, ManageClientsError> {
    set_umask();
    let db = open_or_create(settings, create).await?;
    with_clients(db, async |clients, db| {
        let created = clients.add(name).await?;
        record(db, Action::new(&Clock::system(), "clients add").on(&created.id)).await;
        Ok(created)
    })
    .await
}

/// Returns all clients, oldest first.
///
/// # Errors
///
/// [`ManageClientsError`].
pub async fn list_clients(settings: &Settings) -> Result<Vec<Client>, ManageClientsError> {
    set_umask();
    let db = open_existing(settings).await?;
    with_clients(db, async |clients, _| clients.list().await).await
}

/// Removes the client with this id. The next request of the client is rejected.
///
/// # Errors
///
/// [`ManageClientsError`].
pub async fn remove_client(settings: &Settings, id: &str) -> Result<(), ManageClientsError> {
    set_umask();
    let db = open_existing(settings).await?;
    with_clients(db, async |clients, db| {
        clients.remove(id).await?;
        record(db, Action::new(&Clock::system(), "clients remove").on(&id)).await;
        Ok(())
    })
    .await
}

/// Runs `work` on the clients and closes the database.
async fn with_clients<T>(
    db: Db,
    work: impl AsyncFnOnce(Clients, &Db) -> Result<T, ClientsError>,
) -> Result<T, ManageClientsError> {
    let result = work(Clients::new(db.clone(), Clock::system()), &db).await;
    db.close().await;
    Ok(result?)
}
