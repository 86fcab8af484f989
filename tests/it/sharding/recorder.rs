//! Records the statements that the servers of a test execute.

use std::fmt;
use std::sync::{Arc, Mutex};

use tracing::dispatcher::{self, DefaultGuard};
use tracing::field::{Field, Visit};
use tracing::subscriber::NoSubscriber;
use tracing::{Dispatch, Event, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

/// The target at which the server logs each statement.
const TARGET: &str = "tripgate::sql";

/// The recorded statements, in the form of SQLite: names in double quotes, and `?` for each bound value.
#[derive(Clone, Debug, Default)]
pub(super) struct Recorder(Arc<Mutex<Vec<String>>>);

/// Dropping this value ends the recording.
#[derive(Debug)]
pub(super) struct Recording {
    _subscriber: DefaultGuard,
    /// With a single subscriber, the `tracing` crate assumes that all threads use it. A thread of another
    /// test, which has no subscriber, could then turn off the events of all threads.
    _second: Dispatch,
}

impl Recorder {
    /// Records the statements of servers that this thread starts.
    pub(super) fn start() -> (Self, Recording) {
        let recorder = Self::default();
        let subscriber = tracing_subscriber::registry().with(recorder.clone());
        let subscriber = dispatcher::set_default(&subscriber.into());
        let second = Dispatch::new(NoSubscriber::default());
        (recorder, Recording { _subscriber: subscriber, _second: second })
    }

    /// Returns the statements since the last call.
    pub(super) fn take(&self) -> Vec<String> {
        self.0.lock().unwrap().split_off(0)
    }
}

impl<S: Subscriber> Layer<S> for Recorder {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        metadata.target() == TARGET
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut sql = Sql(None);
        event.record(&mut sql);
        // On SQLite, the server executes several statements in one call.
        let statements = sql.0.unwrap().split("; ").map(portable).collect::<Vec<_>>();
        self.0.lock().unwrap().extend(statements);
    }
}

struct Sql(Option<String>);

impl Visit for Sql {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "sql" {
            self.0 = Some(value.to_owned());
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}
}

/// Converts a statement for PostgreSQL or MySQL to the form of SQLite.
fn portable(sql: &str) -> String {
    let mut text = String::new();
    let mut is_number = false;
    for character in sql.trim().chars() {
        match character {
            '`' => text.push('"'),
            '$' => {
                is_number = true;
                text.push('?');
            }
            _ if is_number && character.is_ascii_digit() => {}
            _ => {
                is_number = false;
                text.push(character);
            }
        }
    }
    text
}
