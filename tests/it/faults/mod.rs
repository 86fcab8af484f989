//! Crashes, full disks, unavailable databases, concurrent writes, wrong clocks and stopped processes.

mod clocks;
mod concurrent_writes;
mod crash;
mod disk_full;
mod galera;
mod outage;
mod restored_backup;
mod unknown_outcomes;
