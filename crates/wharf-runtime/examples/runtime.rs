//! The runtime's command line as a program of its own: `runtime create …`.

use std::process::ExitCode;

fn main() -> ExitCode {
    wharf_runtime::cli::main(std::env::args_os())
}
