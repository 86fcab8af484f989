//! The binary: passes its arguments to [`tripgate::cli`].

use std::process::ExitCode;

use tikv_jemallocator::Jemalloc;

#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    tripgate::cli::run(std::env::args_os())
}
