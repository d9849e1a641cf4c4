//! `hello`: what the image `hello-world` runs, which the engine makes from this binary.

use std::io::Write;
use std::process::ExitCode;

const GREETING: &str = "
Hello from Wharf!
This message shows that your installation appears to be working correctly.

To print it, Wharf took these steps:
 1. The wharf client asked the engine for a container of the image \"hello-world\".
 2. The engine made that image from its own binary: no registry was needed.
 3. The engine created a container from it, and a small process beside the
    container started the program that prints what you are reading.
 4. That process handed the output to the wharf client, which sent it to your
    terminal.

To try something bigger, make a root file system and enter it:
 $ mmdebstrap --variant=minbase bookworm - | wharf import - debian
 $ wharf run -it debian bash

";

/// Prints the greeting.
pub(crate) fn main() -> ExitCode {
    match std::io::stdout().lock().write_all(GREETING.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
