//! Creates users, sessions, signing keys, trips and the change counters of trips.

use sea_orm_migration::prelude::{DbErr, DeriveMigrationName, MigrationTrait, SchemaManager, async_trait};

use crate::dialect;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

// A column `*_key` contains the normalized, case-folded form of an identifier. This form is unique.
const USERS: &str = "
CREATE TABLE IF NOT EXISTS users (
    id {uuid} NOT NULL PRIMARY KEY,
    email {text254},
    email_key {text254},
    email_verified {bool} NOT NULL,
    username {text32},
    username_key {text32},
    display_name {text100},
    password_hash {text100} NOT NULL,
    created_at {int} NOT NULL,
    updated_at {int} NOT NULL,
    CONSTRAINT users_email_key UNIQUE (email_key),
    CONSTRAINT users_username_key UNIQUE (username_key),
    CONSTRAINT users_identifier_present CHECK (email_key IS NOT NULL OR username_key IS NOT NULL),
    CONSTRAINT users_email_whole CHECK ((email IS NULL) = (email_key IS NULL)),
    CONSTRAINT users_username_whole CHECK ((username IS NULL) = (username_key IS NULL)),
    CONSTRAINT users_email_length CHECK ({length}(email) <= 254),
    CONSTRAINT users_username_length CHECK ({length}(username) BETWEEN 3 AND 32),
    CONSTRAINT users_display_name_length CHECK ({length}(display_name) BETWEEN 1 AND 100)
) {clustered}";

// A refresh token contains the id of its session, but not of the user, so `id` alone has a unique constraint. The primary
// key begins with the user, so that the sessions of a user are stored together.
const SESSIONS: &str = "
CREATE TABLE IF NOT EXISTS sessions (
    user_id {uuid} NOT NULL,
    id {uuid} NOT NULL,
    generation {int} NOT NULL,
    scope {text200} NOT NULL,
    amr {text64} NOT NULL,
    device_name {text100},
    user_agent {text512},
    created_at {int} NOT NULL,
    last_seen_at {int} NOT NULL,
    idle_expires_at {int} NOT NULL,
    expires_at {int} NOT NULL,
    PRIMARY KEY (user_id, id),
    CONSTRAINT sessions_id UNIQUE (id),
    CONSTRAINT sessions_user FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT sessions_generation_counts CHECK (generation >= 1),
    CONSTRAINT sessions_device_name_length CHECK ({length}(device_name) BETWEEN 1 AND 100),
    CONSTRAINT sessions_user_agent_length CHECK ({length}(user_agent) <= 512)
) {clustered}";

// `active_slot` is 1 on the active key and NULL on all others. If several replicas start at the same time,
// the unique constraint lets only one of them insert an active key.
const SIGNING_KEYS: &str = "
CREATE TABLE IF NOT EXISTS signing_keys (
    kid {text64} NOT NULL PRIMARY KEY,
    alg {text32} NOT NULL,
    status {text32} NOT NULL,
    active_slot {int},
    public_key {bytes} NOT NULL,
    sealed_private_key {bytes} NOT NULL,
    created_at {int} NOT NULL,
    CONSTRAINT signing_keys_one_active UNIQUE (active_slot),
    CONSTRAINT signing_keys_active_slot CHECK (active_slot = 1),
    CONSTRAINT signing_keys_status CHECK (status IN ('standby', 'active', 'retired'))
) {clustered}";

// The primary key clusters a user's trips in list order. `(owner_id, id)` identifies a trip. Every key
// includes the owner.
const TRIPS: &str = "
CREATE TABLE IF NOT EXISTS trips (
    owner_id {uuid} NOT NULL,
    created_at {int} NOT NULL,
    id {uuid} NOT NULL,
    title {text200} NOT NULL,
    destination {text200},
    start_date {date},
    end_date {date},
    time_zone {text64},
    notes {text},
    status {text32} NOT NULL,
    version {int} NOT NULL,
    change_seq {int} NOT NULL,
    updated_at {int} NOT NULL,
    PRIMARY KEY (owner_id, created_at, id),
    CONSTRAINT trips_id UNIQUE (owner_id, id),
    CONSTRAINT trips_owner FOREIGN KEY (owner_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT trips_title_length CHECK ({length}(title) BETWEEN 1 AND 200),
    CONSTRAINT trips_destination_length CHECK ({length}(destination) BETWEEN 1 AND 200),
    CONSTRAINT trips_notes_length CHECK ({length}(notes) <= 10000),
    CONSTRAINT trips_ends_after_start CHECK (end_date >= start_date),
    CONSTRAINT trips_version_counts CHECK (version >= 1)
) {clustered}";

const TRIP_COUNTERS: &str = "
CREATE TABLE IF NOT EXISTS trip_counters (
    owner_id {uuid} NOT NULL PRIMARY KEY,
    value {int} NOT NULL,
    CONSTRAINT trip_counters_owner FOREIGN KEY (owner_id) REFERENCES users (id) ON DELETE CASCADE
) {clustered}";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::run(manager, &[USERS, SESSIONS, SIGNING_KEYS, TRIPS, TRIP_COUNTERS]).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let tables = ["trip_counters", "trips", "signing_keys", "sessions", "users"];
        for table in tables {
            dialect::run(manager, &[&format!("DROP TABLE IF EXISTS {table}")]).await?;
        }
        Ok(())
    }
}
