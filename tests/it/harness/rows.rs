//! Direct access to the database, for state that clients can neither see nor change.

use chrono::{DateTime, Utc};
use entity::{
    clients, digest_nonces, flow_failures, flows, idempotency_keys, leases, passkey_challenges,
    pending_logins, personal_tokens, recovery_codes, replicas, revocations, security_events, sessions,
    signing_keys, throttle_buckets, totp_secrets, trip_counters, trip_tombstones, trips, users,
};
use sea_orm::sea_query::{Expr, Value};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectOptions, ConnectionTrait, Database, DatabaseConnection,
    EntityTrait, ExprTrait, PaginatorTrait, QueryFilter,
};
use tripgate::clock::from_millis;

use super::TestApp;

/// Connects to the database of the server.
pub(crate) async fn open(app: &TestApp) -> DatabaseConnection {
    let mut options = ConnectOptions::new(app.settings().database_url.expose());
    options.max_connections(1).sqlx_logging(false);
    let connection = Database::connect(options).await.unwrap();
    // Only a Galera cluster has this variable. It makes this node apply the writes of the other nodes before
    // a read.
    drop(connection.execute_unprepared("SET SESSION wsrep_sync_wait = 1").await);
    connection
}

/// Returns all users.
pub(crate) async fn users(app: &TestApp) -> Vec<users::Model> {
    let connection = open(app).await;
    let rows = users::Entity::find().all(&connection).await.unwrap();
    connection.close().await.unwrap();
    rows
}

/// Returns the sessions of all users.
pub(crate) async fn sessions(app: &TestApp) -> Vec<sessions::Model> {
    let connection = open(app).await;
    let rows = sessions::Entity::find().all(&connection).await.unwrap();
    connection.close().await.unwrap();
    rows
}

/// Returns all flows.
pub(crate) async fn flows(app: &TestApp) -> Vec<flows::Model> {
    let connection = open(app).await;
    let rows = flows::Entity::find().all(&connection).await.unwrap();
    connection.close().await.unwrap();
    rows
}

/// Returns the number of wrong codes of each account or address with at least one wrong code.
pub(crate) async fn flow_failures(app: &TestApp) -> Vec<i64> {
    let connection = open(app).await;
    let rows = flow_failures::Entity::find().all(&connection).await.unwrap();
    connection.close().await.unwrap();
    rows.into_iter().map(|row| row.failures).collect()
}

/// Returns all registered clients.
pub(crate) async fn clients(app: &TestApp) -> Vec<clients::Model> {
    let connection = open(app).await;
    let rows = clients::Entity::find().all(&connection).await.unwrap();
    connection.close().await.unwrap();
    rows
}

/// Returns all signing keys.
pub(crate) async fn signing_keys(app: &TestApp) -> Vec<signing_keys::Model> {
    let connection = open(app).await;
    let rows = signing_keys::Entity::find().all(&connection).await.unwrap();
    connection.close().await.unwrap();
    rows
}

/// Returns the active signing key and asserts that there is exactly one.
pub(crate) async fn active_key(app: &TestApp) -> signing_keys::Model {
    let mut active = signing_keys(app).await.into_iter().filter(|key| key.active_slot.is_some());
    let key = active.next().unwrap();
    assert!(key.status == "active" && active.next().is_none());
    key
}

/// Deletes the standby key, as if an older version, which had no standby keys, had created the database.
pub(crate) async fn remove_standby(app: &TestApp) {
    let connection = open(app).await;
    let is_standby = signing_keys::Column::Status.eq("standby");
    let deleted = signing_keys::Entity::delete_many().filter(is_standby).exec(&connection).await.unwrap();
    connection.close().await.unwrap();
    assert_eq!(deleted.rows_affected, 1);
}

/// Returns the hash of a user's password.
pub(crate) async fn password_hash(app: &TestApp, username: &str) -> String {
    let rows = users(app).await;
    let row = rows.into_iter().find(|row| row.username.as_deref() == Some(username));
    row.unwrap().password_hash
}

/// Replaces a user's password hash with `hash`, which may be malformed.
pub(crate) async fn set_password_hash(app: &TestApp, username: &str, hash: &str) {
    let connection = open(app).await;
    let updated = users::Entity::update_many()
        .col_expr(users::Column::PasswordHash, Expr::value(hash))
        .filter(users::Column::Username.eq(username))
        .exec(&connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
    assert_eq!(updated.rows_affected, 1);
}

/// Returns the kinds of all security events.
pub(crate) async fn events(app: &TestApp) -> Vec<String> {
    let connection = open(app).await;
    let rows = security_events::Entity::find().all(&connection).await.unwrap();
    connection.close().await.unwrap();
    rows.into_iter().map(|row| row.kind).collect()
}

/// Returns the personal access tokens of all users.
pub(crate) async fn personal_tokens(app: &TestApp) -> Vec<personal_tokens::Model> {
    let connection = open(app).await;
    let rows = personal_tokens::Entity::find().all(&connection).await.unwrap();
    connection.close().await.unwrap();
    rows
}

/// Returns the number of used Digest nonces.
pub(crate) async fn digest_nonces(app: &TestApp) -> u64 {
    let connection = open(app).await;
    let count = digest_nonces::Entity::find().count(&connection).await.unwrap();
    connection.close().await.unwrap();
    count
}

/// Returns the security events that report the theft of a refresh token.
pub(crate) async fn thefts(app: &TestApp) -> Vec<String> {
    events(app).await.into_iter().filter(|kind| kind == "refresh_token_reuse").collect()
}

/// Returns the number of revocations.
pub(crate) async fn revocations(app: &TestApp) -> u64 {
    let connection = open(app).await;
    let count = revocations::Entity::find().count(&connection).await.unwrap();
    connection.close().await.unwrap();
    count
}

/// Returns all idempotency keys.
pub(crate) async fn keys(app: &TestApp) -> Vec<idempotency_keys::Model> {
    let connection = open(app).await;
    let rows = idempotency_keys::Entity::find().all(&connection).await.unwrap();
    connection.close().await.unwrap();
    rows
}

/// Deletes the saved responses of all idempotency keys, as if their requests had not completed.
pub(crate) async fn reopen_keys(app: &TestApp) {
    let connection = open(app).await;
    let change = idempotency_keys::Entity::update_many()
        .col_expr(idempotency_keys::Column::Status, Expr::value(Value::BigInt(None)))
        .col_expr(idempotency_keys::Column::Body, Expr::value(Value::Bytes(None)))
        .col_expr(idempotency_keys::Column::Reference, Expr::value(Value::String(None)));
    change.exec(&connection).await.unwrap();
    connection.close().await.unwrap();
}

/// Stores this whole response for all idempotency keys, as an earlier version did.
pub(crate) async fn save_whole_response(app: &TestApp, location: &str, etag: &str, body: &str) {
    let connection = open(app).await;
    let change = idempotency_keys::Entity::update_many()
        .col_expr(idempotency_keys::Column::Location, Expr::value(location))
        .col_expr(idempotency_keys::Column::Etag, Expr::value(etag))
        .col_expr(idempotency_keys::Column::Body, Expr::value(body.as_bytes().to_vec()))
        .col_expr(idempotency_keys::Column::Reference, Expr::value(Value::String(None)));
    change.exec(&connection).await.unwrap();
    connection.close().await.unwrap();
}

/// Backdates all claims without a saved response, so that the claim timeout has passed.
pub(crate) async fn age_claims(app: &TestApp) {
    date_claims(app, from_millis(0)).await;
}

/// Sets the time of all claims without a saved response.
pub(crate) async fn date_claims(app: &TestApp, at: DateTime<Utc>) {
    let connection = open(app).await;
    let change = idempotency_keys::Entity::update_many()
        .col_expr(idempotency_keys::Column::ClaimedAt, Expr::value(at.timestamp_millis()))
        .filter(idempotency_keys::Column::Status.is_null());
    change.exec(&connection).await.unwrap();
    connection.close().await.unwrap();
}

/// Deletes all trips.
pub(crate) async fn delete_trips(app: &TestApp) {
    let connection = open(app).await;
    trips::Entity::delete_many().exec(&connection).await.unwrap();
    connection.close().await.unwrap();
}

/// Returns the number of tombstones.
pub(crate) async fn tombstones(app: &TestApp) -> u64 {
    let connection = open(app).await;
    let count = trip_tombstones::Entity::find().count(&connection).await.unwrap();
    connection.close().await.unwrap();
    count
}

/// Sets the change counter of every user, as the restoration of an older backup does.
pub(crate) async fn set_counter(app: &TestApp, value: i64) {
    let connection = open(app).await;
    let change = trip_counters::Entity::update_many();
    change.col_expr(trip_counters::Column::Value, Expr::value(value)).exec(&connection).await.unwrap();
    connection.close().await.unwrap();
}

/// Returns the number of trips of all users.
pub(crate) async fn trips(app: &TestApp) -> u64 {
    let connection = open(app).await;
    let count = trips::Entity::find().count(&connection).await.unwrap();
    connection.close().await.unwrap();
    count
}

/// Sets the generation of every session, as the restoration of an older backup does.
pub(crate) async fn set_generation(app: &TestApp, generation: i64) {
    let connection = open(app).await;
    let change = sessions::Entity::update_many();
    let change = change.col_expr(sessions::Column::Generation, Expr::value(generation));
    change.exec(&connection).await.unwrap();
    connection.close().await.unwrap();
}

/// Moves the last rotation of every session one hour into the past.
pub(crate) async fn age_rotations(app: &TestApp) {
    let connection = open(app).await;
    let rotated_at = Expr::col(sessions::Column::RotatedAt).sub(3_600_000);
    let change = sessions::Entity::update_many().col_expr(sessions::Column::RotatedAt, rotated_at);
    change.exec(&connection).await.unwrap();
    connection.close().await.unwrap();
}

/// Returns the authenticator apps of all users.
pub(crate) async fn totp_secrets(app: &TestApp) -> Vec<totp_secrets::Model> {
    let connection = open(app).await;
    let rows = totp_secrets::Entity::find().all(&connection).await.unwrap();
    connection.close().await.unwrap();
    rows
}

/// Returns the unused recovery codes of all users.
pub(crate) async fn recovery_codes(app: &TestApp) -> Vec<recovery_codes::Model> {
    let connection = open(app).await;
    let rows = recovery_codes::Entity::find().all(&connection).await.unwrap();
    connection.close().await.unwrap();
    rows
}

/// Returns the logins that wait for a second factor.
pub(crate) async fn pending_logins(app: &TestApp) -> Vec<pending_logins::Model> {
    let connection = open(app).await;
    let rows = pending_logins::Entity::find().all(&connection).await.unwrap();
    connection.close().await.unwrap();
    rows
}

/// Returns the number of unused challenges of passkeys.
pub(crate) async fn passkey_challenges(app: &TestApp) -> u64 {
    let connection = open(app).await;
    let count = passkey_challenges::Entity::find().count(&connection).await.unwrap();
    connection.close().await.unwrap();
    count
}

/// Makes all ended sessions active again, as if each had started just after the operation that ended it.
pub(crate) async fn revive_sessions(app: &TestApp) {
    let connection = open(app).await;
    let expires_at = Expr::col(sessions::Column::ExpiresAt);
    let change = sessions::Entity::update_many()
        .col_expr(sessions::Column::EndedAt, Expr::value(Value::BigInt(None)))
        .col_expr(sessions::Column::IdleExpiresAt, expires_at);
    change.exec(&connection).await.unwrap();
    connection.close().await.unwrap();
}

/// Makes all leases expire, as if the servers that hold them had died long ago.
pub(crate) async fn expire_leases(app: &TestApp) {
    let connection = open(app).await;
    let change = leases::Entity::update_many().col_expr(leases::Column::Until, Expr::value(0_i64));
    change.exec(&connection).await.unwrap();
    connection.close().await.unwrap();
}

/// Returns the rows of the servers that use the database.
pub(crate) async fn replicas(app: &TestApp) -> Vec<replicas::Model> {
    let connection = open(app).await;
    let rows = replicas::Entity::find().all(&connection).await.unwrap();
    connection.close().await.unwrap();
    rows
}

/// Deletes the rows of all servers.
pub(crate) async fn delete_replicas(app: &TestApp) {
    let connection = open(app).await;
    replicas::Entity::delete_many().exec(&connection).await.unwrap();
    connection.close().await.unwrap();
}

/// Writes the row of a server that does not run. The row is valid for almost a minute.
pub(crate) async fn add_replica(app: &TestApp, version: &str, clock_offset: i64) {
    let connection = open(app).await;
    let now = tripgate::clock::Clock::system().now().timestamp_millis();
    let row = replicas::ActiveModel {
        id: Set(app.clock.new_id()),
        version: Set(version.to_owned()),
        host: Set("a-machine".to_owned()),
        address: Set("192.0.2.1:8080".to_owned()),
        secret_fingerprint: Set("unknown".to_owned()),
        public_url: Set(super::PUBLIC_URL.to_owned()),
        schema_step: Set("m20261122_000001_foundation".to_owned()),
        clock_offset: Set(clock_offset),
        started_at: Set(now),
        seen_at: Set(now + 28_000),
    };
    replicas::Entity::insert(row).exec_without_returning(&connection).await.unwrap();
    connection.close().await.unwrap();
}

/// Records a migration step as applied.
pub(crate) async fn add_migration(app: &TestApp, name: &str) {
    let connection = open(app).await;
    let insert = format!("INSERT INTO seaql_migrations (version, applied_at) VALUES ('{name}', 0)");
    connection.execute_unprepared(&insert).await.unwrap();
    connection.close().await.unwrap();
}

/// Returns the number of rows of the throttle.
pub(crate) async fn throttle_buckets(app: &TestApp) -> u64 {
    let connection = open(app).await;
    let count = throttle_buckets::Entity::find().count(&connection).await.unwrap();
    connection.close().await.unwrap();
    count
}
