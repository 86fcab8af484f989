//! The caller's own account.

mod events;
mod password;
mod profile;
mod step_up;
