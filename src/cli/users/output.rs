//! Formats accounts and sessions as text and as JSON.

use serde_json::{Value, json};

use crate::accounts::User;
use crate::admin::{Change, Changed, UserDetails};
use crate::cli::output::{instant, object};
use crate::sessions::SessionSummary;

/// Adds fields to an object.
fn with<const N: usize>(mut value: Value, fields: [(&str, Value); N]) -> Value {
    if let Value::Object(object) = &mut value {
        object.extend(fields.map(|(name, value)| (name.to_owned(), value)));
    }
    value
}

/// Returns an account, with the field names of the API.
pub(super) fn user_json(user: &User) -> Value {
    let text = |text: &Option<String>| text.as_ref().map(|text| json!(text));
    object([
        ("id", Some(json!(user.id))),
        ("email", text(&user.email)),
        ("email_verified", Some(json!(user.email_verified))),
        ("username", text(&user.username)),
        ("display_name", text(&user.display_name)),
        ("locale", text(&user.locale)),
        ("mfa_enabled", Some(json!(user.mfa_enabled))),
        ("has_password", Some(json!(user.has_password()))),
        ("disabled", Some(json!(user.is_disabled()))),
        ("disabled_at", user.disabled_at.map(|at| json!(instant(at)))),
        ("created_at", Some(json!(instant(user.created_at)))),
        ("updated_at", Some(json!(instant(user.updated_at)))),
    ])
}

pub(super) fn user_line(user: &User) -> String {
    let marks = [
        (user.is_disabled(), "disabled"),
        (user.email.is_some() && !user.email_verified, "unconfirmed"),
        (user.mfa_enabled, "mfa"),
        (!user.has_password(), "no password"),
    ];
    let marks: Vec<&str> = marks.into_iter().filter(|(applies, _)| *applies).map(|(_, mark)| mark).collect();
    let parts = [
        Some(user.id.to_string()),
        Some(instant(user.created_at)),
        user.email.clone(),
        user.username.clone(),
        user.display_name.as_ref().map(|name| format!("\"{name}\"")),
        (!marks.is_empty()).then(|| format!("({})", marks.join(", "))),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join("  ")
}

pub(super) fn details_json(UserDetails { user, sessions, personal_tokens }: &UserDetails) -> Value {
    with(user_json(user), [("sessions", json!(sessions)), ("personal_tokens", json!(personal_tokens))])
}

pub(super) fn details_lines(details: &UserDetails) -> Vec<String> {
    let Value::Object(fields) = details_json(details) else { return Vec::new() };
    let plain = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    fields.iter().map(|(name, value)| format!("{name:16}  {}", plain(value))).collect()
}

pub(super) fn session_json(session: &SessionSummary) -> Value {
    object([
        ("id", Some(json!(session.id))),
        ("device_name", session.device.name.as_ref().map(|name| json!(name))),
        ("user_agent", session.device.user_agent.as_ref().map(|text| json!(text))),
        ("created_at", Some(json!(instant(session.created_at)))),
        ("last_seen_at", Some(json!(instant(session.last_seen_at)))),
    ])
}

pub(super) fn session_line(session: &SessionSummary) -> String {
    let parts = [
        Some(session.id.to_string()),
        Some(format!("since {}", instant(session.created_at))),
        Some(format!("last seen {}", instant(session.last_seen_at))),
        session.device.name.clone(),
        session.device.user_agent.clone(),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join("  ")
}

pub(super) fn changed_json(change: Change, changed: &Changed) -> Value {
    let ended = ("sessions_ended", json!(changed.sessions_ended));
    match change {
        Change::Delete => json!({ "user_id": changed.user.id, "deleted": true }),
        Change::EndSessions => with(json!({ "user_id": changed.user.id }), [ended]),
        Change::Disable | Change::ResetMfa => with(user_json(&changed.user), [ended]),
        Change::Enable | Change::Confirm => user_json(&changed.user),
    }
}

pub(super) fn changed_line(change: Change, changed: &Changed) -> String {
    let id = changed.user.id;
    let ended = format!("{} sessions were ended", changed.sessions_ended);
    match (change, changed.is_changed) {
        (Change::Disable, true) => format!("{id} is disabled; {ended}"),
        (Change::Disable, false) => format!("{id} was disabled already; {ended}"),
        (Change::Enable, true) => format!("{id} is enabled; the user must log in again"),
        (Change::Enable, false) => format!("{id} was not disabled"),
        (Change::Confirm, true) => format!("the email address of {id} is confirmed"),
        (Change::Confirm, false) => format!("the email address of {id} was confirmed already"),
        (Change::EndSessions, _) => format!("{id}: {ended}"),
        (Change::ResetMfa, true) => format!("{id} has no second factor any more; {ended}"),
        (Change::ResetMfa, false) => format!("{id} had no second factor"),
        (Change::Delete, _) => format!("{id} and all data of the user were deleted"),
    }
}
