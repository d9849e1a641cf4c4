//! The program that engines under test make their shims from: the hats a container's processes
//! wear, without the rest of `wharf`.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    match arguments
        .next()
        .as_deref()
        .and_then(std::ffi::OsStr::to_str)
    {
        Some("shim") => wharf_shim::main(),
        Some("init") => wharf_shim::init_main(arguments),
        _ => ExitCode::from(125),
    }
}
