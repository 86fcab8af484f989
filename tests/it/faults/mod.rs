//! Crashes, full disks, unavailable databases, and concurrent writes.

mod concurrent_writes;
mod crash;
mod disk_full;
mod outage;
mod restored_backup;
