//! The contract of the API: the OpenAPI document, and the rules that all operations share.

pub(crate) mod authz;
mod bad_input;
mod errors;
mod examples;
mod forms;
mod large_bodies;
mod lengths;
mod no_echo;
mod openapi;
mod plain_text;
mod problems;
pub(crate) mod statuses;
mod targets;
