//! Verifies the responses of authenticators, without a database and without a clock: Web Authentication Level 3, §7.
//!
//! The comments name the steps of §7.1 (registration) and §7.2 (authentication). [`Rejection`] has a case for
//! each step.

mod assertion;
mod authenticator_data;
mod cbor;
mod client_data;
mod credential;
mod public_key;
mod registration;
mod rejection;
mod relying_party;
#[cfg(test)]
mod tests;

pub(super) use assertion::{KnownCredential, Used, verify as verify_assertion};
pub use credential::{Assertion, Attestation};
pub use public_key::ALGORITHMS;
pub(super) use registration::{NewCredential, verify as verify_registration};
pub use rejection::Rejection;
pub(super) use relying_party::Expected;
pub use relying_party::RelyingParty;
