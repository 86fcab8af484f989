//! The possible steps of a history.

use proptest::collection::vec;
use proptest::prelude::*;

use super::{OWNERS, PAST_GRACE_SECS, REPLICAS};

/// The actor: the client that logged in, or the thief that copied its tokens.
#[derive(Clone, Copy, Debug)]
pub(super) struct Actor {
    pub(super) session: usize,
    pub(super) is_thief: bool,
}

/// One step of a history.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// The actor sends its refresh token to these replicas concurrently. If the responses are lost, the actor
    /// keeps its old tokens.
    Refresh {
        actor: Actor,
        replicas: Vec<usize>,
        is_lost: bool,
    },
    /// The actor uses its access token.
    Use {
        actor: Actor,
        replica: usize,
    },
    /// The client refreshes the session and uses the new access token, as clients usually do.
    RefreshAndUse {
        session: usize,
        replica: usize,
    },
    /// A thief sends the previous refresh token.
    Reuse {
        session: usize,
        replica: usize,
    },
    /// A thief copies all tokens of the client.
    Steal {
        session: usize,
    },
    Wait {
        secs: i64,
    },
    /// The replica stops gracefully and restarts.
    Restart {
        replica: usize,
    },
    /// The replica writes its token usage to the database, as it does periodically.
    Flush {
        replica: usize,
    },
    LogOut {
        actor: Actor,
        replica: usize,
    },
    RevokeOthers {
        actor: Actor,
        replica: usize,
    },
}

/// Generates a step; refreshes are the most frequent.
pub(super) fn step() -> impl Strategy<Value = Step> {
    let actor = || {
        (0..OWNERS.len(), prop::bool::weighted(0.3))
            .prop_map(|(session, is_thief)| Actor { session, is_thief })
    };
    let replica = || 0..REPLICAS;
    let replicas = prop_oneof![3 => vec(replica(), 1), 1 => vec(replica(), 2..=5)];
    let secs = prop_oneof![
        3 => 1..=30_i64,
        3 => PAST_GRACE_SECS..=120,
        1 => 600..=1_200_i64,
        1 => (1..=40_i64).prop_map(|days| days * 86_400),
    ];
    prop_oneof![
        16 => (actor(), replicas, prop::bool::weighted(0.4))
            .prop_map(|(actor, replicas, is_lost)| Step::Refresh { actor, replicas, is_lost }),
        6 => (actor(), replica()).prop_map(|(actor, replica)| Step::Use { actor, replica }),
        8 => (0..OWNERS.len(), replica())
            .prop_map(|(session, replica)| Step::RefreshAndUse { session, replica }),
        3 => (0..OWNERS.len(), replica()).prop_map(|(session, replica)| Step::Reuse { session, replica }),
        2 => (0..OWNERS.len()).prop_map(|session| Step::Steal { session }),
        8 => secs.prop_map(|secs| Step::Wait { secs }),
        1 => replica().prop_map(|replica| Step::Restart { replica }),
        2 => replica().prop_map(|replica| Step::Flush { replica }),
        1 => (actor(), replica()).prop_map(|(actor, replica)| Step::LogOut { actor, replica }),
        1 => (actor(), replica()).prop_map(|(actor, replica)| Step::RevokeOthers { actor, replica }),
    ]
}
