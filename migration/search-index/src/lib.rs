//! The searchable form of a trip: its folded text, and the signatures that let a search skip trips.
//!
//! A search finds the trips whose folded text contains the folded search text. To avoid reading the text of
//! every trip, each trip has two signatures: Bloom filters of the short pieces of its text. [`probes`]
//! returns bits that are set in the signature of every text that contains the search text. A trip does not
//! match if one of these bits is not set. The other trips are candidates, whose texts must be compared. A
//! signature never excludes a match.
//!
//! Signatures are stored. A change of this crate that sets other bits needs a migration step that writes the
//! signatures of all trips again.

mod folding;
mod signatures;

pub use folding::{fold, searchable};
pub use signatures::{Column, MATCHES_ALL, PROBES_MAX, Probe, SIGNATURE_MAX, Signatures, probes};
