//! The caller's own account.

mod changes;
mod deletion;
mod ended_sessions;
mod events;
pub(crate) mod everything;
mod export;
mod new_device;
mod password;
mod profile;
mod step_up;
mod step_up_code;
