//! Signing up, logging in, sessions, tokens, keys, and the services that verify tokens.

mod clients;
mod identifiers;
mod keys;
pub(crate) mod login;
mod methods;
mod personal_tokens;
mod sessions;
mod signup;
mod tokens;
mod verify;
