//! The collected events that are not written yet. Until the events are written, only the first event of each
//! kind is kept for each account and IP address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use uuid::Uuid;

use super::{EventKind, NewEvent};

/// The maximum number of events in memory. Further events are lost; only an attack on very many accounts
/// causes so many events.
const CAPACITY: usize = 10_000;

type Key = (Uuid, EventKind, Option<IpAddr>);

/// Events in memory.
#[derive(Debug, Default)]
pub(super) struct Pending(Mutex<HashMap<Key, NewEvent>>);

impl Pending {
    pub(super) fn add(&self, event: NewEvent) {
        let mut events = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if events.len() < CAPACITY {
            events.entry((event.user, event.kind, event.address)).or_insert(event);
        }
    }

    /// Removes all events and returns them, ordered by user and id.
    pub(super) fn take(&self) -> Vec<NewEvent> {
        let events = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let mut events: Vec<NewEvent> = events.into_values().collect();
        // The same order on every replica prevents deadlocks.
        events.sort_by_key(|event| (event.user, event.id));
        events
    }
}
