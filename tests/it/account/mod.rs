//! The caller's own account.

mod profile;
mod step_up;
