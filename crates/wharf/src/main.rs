//! The program `wharf`: which of its hats it wears is decided here, before anything else is done.
//!
//! | called as | or with the first argument | hat |
//! |---|---|---|
//! | `dockerd` | `daemon` | the engine |
//! | | `registry` | the OCI distribution server |
//! | | `shim` | the process beside a container |
//! | `wharf-init`, `docker-init` | `init` | the first process of a container with `--init` |
//! | `wharf-runtime` | `runtime` | the OCI runtime's command line |
//! | `hello` | `hello` | the program in the image `hello-world` |
//! | `docker`, anything | | the command line |
//!
//! Shim, init and runtime are on the start path of every container: nothing is parsed, allocated or started for them that they do not ask
//! for themselves.

#![forbid(unsafe_code)]

mod daemon;
mod hello;
mod registry;

use std::ffi::OsStr;
use std::path::Path;
use std::process::ExitCode;

use wharf_cli::Program;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    let called = arguments.next().unwrap_or_default();
    let name = Path::new(&called).file_name().unwrap_or_default();
    match name.as_encoded_bytes() {
        b"docker" => return command_line(Program::Docker),
        b"docker-init" | b"wharf-init" => {
            // The engine names the hat twice, so that the file it mounts may have any name.
            let mut arguments = arguments.peekable();
            arguments.next_if(|argument| argument == "init");
            return wharf_shim::init_main(arguments);
        }
        b"dockerd" => return daemon::main("dockerd", arguments),
        b"hello" => return hello::main(),
        b"wharf-runtime" => return wharf_runtime::cli::main(std::env::args_os()),
        _ => {}
    }
    let first = arguments.next();
    match first.as_deref().map(OsStr::as_encoded_bytes) {
        Some(b"shim") => wharf_shim::main(),
        Some(b"init") => wharf_shim::init_main(arguments),
        Some(b"runtime") => wharf_runtime::cli::main(std::env::args_os().skip(1)),
        Some(b"hello") => hello::main(),
        Some(b"registry") => registry::main(std::env::args_os().skip(1)),
        Some(b"daemon") => daemon::main("wharf daemon", arguments),
        _ => command_line(Program::Wharf),
    }
}

fn command_line(program: Program) -> ExitCode {
    ExitCode::from(wharf_cli::run(program, std::env::args_os().skip(1)))
}
