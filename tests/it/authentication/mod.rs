//! Signing up, logging in, sessions, tokens, keys, and the services that verify tokens.

mod clients;
mod identifiers;
mod invites;
pub(crate) mod keys;
pub(crate) mod login;
mod methods;
mod passkeys;
mod personal_tokens;
mod second_factor;
mod sessions;
mod signup;
mod throttle;
mod tokens;
mod verify;
