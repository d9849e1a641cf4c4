//! System call filters: from the OCI document to a small classic BPF program, and Docker's default
//! profile.
#![forbid(unsafe_code)]

mod arch;
mod bpf;
mod compile;
#[cfg(test)]
mod interpreter;
mod profile;
mod program;
mod table;

pub use arch::Arch;
pub use compile::{CompileError, compile};
pub use profile::{KernelVersion, default_profile};
pub use program::{DecodeError, Program};
