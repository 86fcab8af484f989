//! Migrates the schema by a command and describes each step as a line of text. Only tests use it.

use super::open::{MigrationState, OpenError, migrate_down, migrate_up, migration_status};

/// What to do with the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MigrateCommand {
    /// Apply all pending steps.
    Up,
    /// Revert this many of the last steps, including their data.
    Down(u32),
    /// Only report the state of each step.
    Status,
}

/// Migrates the schema, or reports its state. Returns one line for each step.
///
/// # Errors
///
/// [`OpenError`].
pub async fn migrate(url: &str, command: MigrateCommand) -> Result<Vec<String>, OpenError> {
    let steps = match command {
        MigrateCommand::Up => migrate_up(url).await?,
        MigrateCommand::Down(count) => migrate_down(url, count).await?,
        MigrateCommand::Status => migration_status(url).await?,
    };
    let state = |state| if state == MigrationState::Applied { "applied" } else { "pending" };
    Ok(steps.iter().map(|step| format!("{:8} {}", state(step.state), step.name)).collect())
}
