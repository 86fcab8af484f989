//! The binary: hands its arguments to [`tripgate::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    tripgate::cli::run(std::env::args_os())
}
