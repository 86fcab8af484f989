//! The possible steps of a history.

use proptest::collection::vec;
use proptest::prelude::*;

use super::{OWNERS, PAST_GRACE_SECS, REPLICAS};

/// The actor: the client that logged in, or the thief that copied its tokens.
#[derive(Clone, Copy, Debug)]
pub(super) struct Who {
    pub(super) session: usize,
    pub(super) is_thief: bool,
}

/// One step of a history.
#[derive(Clone, Debug)]
pub(super) enum Act {
    /// Sends its refresh token to these replicas concurrently. Keeps its tokens if the responses are lost.
    Refresh {
        who: Who,
        replicas: Vec<usize>,
        is_lost: bool,
    },
    /// Uses its access token.
    Use {
        who: Who,
        replica: usize,
    },
    /// The usual client behaviour: refreshes and uses the new access token.
    Live {
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
    /// The replica flushes its token usage, as it also does periodically.
    Write {
        replica: usize,
    },
    LogOut {
        who: Who,
        replica: usize,
    },
    EndOthers {
        who: Who,
        replica: usize,
    },
}

/// Generates a step; refreshes are the most frequent.
pub(super) fn act() -> impl Strategy<Value = Act> {
    let who = || {
        (0..OWNERS.len(), prop::bool::weighted(0.3)).prop_map(|(session, is_thief)| Who { session, is_thief })
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
        16 => (who(), replicas, prop::bool::weighted(0.4))
            .prop_map(|(who, replicas, is_lost)| Act::Refresh { who, replicas, is_lost }),
        6 => (who(), replica()).prop_map(|(who, replica)| Act::Use { who, replica }),
        8 => (0..OWNERS.len(), replica()).prop_map(|(session, replica)| Act::Live { session, replica }),
        3 => (0..OWNERS.len(), replica()).prop_map(|(session, replica)| Act::Reuse { session, replica }),
        2 => (0..OWNERS.len()).prop_map(|session| Act::Steal { session }),
        8 => secs.prop_map(|secs| Act::Wait { secs }),
        1 => replica().prop_map(|replica| Act::Restart { replica }),
        2 => replica().prop_map(|replica| Act::Write { replica }),
        1 => (who(), replica()).prop_map(|(who, replica)| Act::LogOut { who, replica }),
        1 => (who(), replica()).prop_map(|(who, replica)| Act::EndOthers { who, replica }),
    ]
}
