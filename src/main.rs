//! The `rollbridge` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    rollbridge::cli::run(std::env::args_os())
}
