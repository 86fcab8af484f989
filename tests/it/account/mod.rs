//! The caller's own account.

mod deletion;
mod events;
mod password;
mod everything;
mod export;
mod profile;
mod step_up;
