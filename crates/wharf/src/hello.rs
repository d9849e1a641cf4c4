//! `hello`: what the image `hello-world` runs, which the engine makes from this binary.

use std::io::Write;
use std::process::ExitCode;

/// Prints the greeting.
pub(crate) fn main() -> ExitCode {
    let mut out = std::io::stdout().lock();
    match out
        .write_all(wharf_engine::GREETING.as_bytes())
        .and_then(|()| out.flush())
    {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
