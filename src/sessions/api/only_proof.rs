//! The rule that a request contains exactly one proof of the identity of the user.

use crate::web::problem::FieldError;

/// Returns the proof of a request. `proofs` contains each kind of proof with its JSON pointer.
///
/// # Errors
///
/// `missing` if the request contains no proof; `not_allowed` for the second of several proofs, with `surplus` as
/// its detail.
pub(super) fn only_proof<P, const N: usize>(
    proofs: [(&str, Option<P>); N],
    missing: FieldError,
    surplus: &str,
) -> Result<P, Vec<FieldError>> {
    let mut proofs = proofs.into_iter().filter_map(|(pointer, proof)| Some((pointer, proof?)));
    match (proofs.next(), proofs.next()) {
        (Some((_, proof)), None) => Ok(proof),
        (None, _) => Err(vec![missing]),
        (Some(_), Some((pointer, _))) => Err(vec![FieldError::new(pointer, "not_allowed", surplus)]),
    }
}
