//! The settings of backups.

use std::path::PathBuf;

use super::{Reader, parse};

/// When and where backups are made.
#[derive(Clone, Debug)]
pub struct BackupSettings {
    /// The directory of scheduled backups. If it is not set, there are no scheduled backups.
    pub dir: Option<PathBuf>,
    /// Seconds between scheduled backups.
    pub every_secs: u32,
    /// The number of backups that are kept when a scheduled backup is made.
    pub keep: usize,
    /// Whether backups are encrypted.
    pub is_encrypted: bool,
    /// Whether to make a backup before the schema is migrated.
    pub before_migration: bool,
}

impl BackupSettings {
    pub(super) fn read(r: &mut Reader) -> Self {
        Self {
            dir: r.optional("backup_dir", parse::path),
            every_secs: r.required("backup_every_secs", 0, parse::number),
            keep: r.required("backup_keep", 0, parse::number),
            is_encrypted: r.required("backup_encryption", false, parse::boolean),
            before_migration: r.required("backup_before_migration", true, parse::boolean),
        }
    }
}
