//! The documents and HTML pages, and the features that Tripgate promises.

mod account_pages;
mod browser_errors;
mod compression;
mod first_steps;
mod pages;
mod parity;
mod texts;
