//! The table of sessions.

use ::entity::sessions;
use sea_orm::{ActiveValue::Set, EntityTrait};

use uuid::Uuid;

use super::Session;
use crate::db::{StoreError, Tx};

pub(super) async fn insert(tx: &Tx, owner: Uuid, session: &Session) -> Result<(), StoreError> {
    let row = sessions::ActiveModel {
        user_id: Set(owner),
        id: Set(session.id),
        generation: Set(1),
        scope: Set(session.scopes.to_string()),
        amr: Set(session.amr.join(" ")),
        device_name: Set(session.device.name.clone()),
        user_agent: Set(session.device.user_agent.clone()),
        created_at: Set(session.created_at.timestamp_millis()),
        last_seen_at: Set(session.created_at.timestamp_millis()),
        idle_expires_at: Set(session.idle_expires_at.timestamp_millis()),
        expires_at: Set(session.expires_at.timestamp_millis()),
        rotated_at: Set(session.created_at.timestamp_millis()),
        proven_generation: Set(0),
        access_expires_at: Set(session.access_expires_at.timestamp_millis()),
        ended_at: Set(None),
    };
    sessions::Entity::insert(row).exec_without_returning(tx).await?;
    Ok(())
}
