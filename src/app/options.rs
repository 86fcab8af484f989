//! Converts settings to the options of the services.

use crate::config::{Quotas, Settings, SigningAlg};
use crate::tokens::Alg;
use crate::trips;

pub(super) fn trip_quotas(settings: &Settings) -> trips::Quotas {
    let Quotas { trips, trip_bytes, tombstones, .. } = settings.quotas;
    trips::Quotas {
        trips: trips.into(),
        trip_bytes: trip_bytes.try_into().unwrap_or(i64::MAX),
        tombstones: tombstones.into(),
    }
}

pub(super) fn signing_alg(settings: &Settings) -> Alg {
    match settings.signing_alg {
        SigningAlg::Es256 => Alg::Es256,
        SigningAlg::EdDsa => Alg::EdDsa,
        SigningAlg::Rs256 => Alg::Rs256,
        SigningAlg::Hs256 => Alg::Hs256,
    }
}
