//! The caller's own account.

mod profile;
