//! The server as the operator runs it: the command line, the listener, and the database.

mod backups;
mod canonical_identifiers;
mod certificates;
mod cli;
mod client_address;
mod copy;
mod deleted_data;
mod health;
mod idle;
mod logs;
mod lost_files;
mod metrics;
mod mistakes;
mod packaging;
mod replicas;
pub(crate) mod schema;
mod secret_file;
mod server;
mod simultaneous_starts;
mod socket_activation;
mod storage;
mod traces;
mod upgrade;
