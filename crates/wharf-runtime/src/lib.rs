//! The OCI runtime specification 1.2 on Linux: as a library for the shim, and as the command line
//! `wharf runtime` for engines that bring their own shim.
//!
//! The caller must have a single thread: the child is made by a bare `clone3` and goes on as
//! ordinary Rust (it allocates, formats and spawns hooks) up to `execve`, which a copy of a
//! threaded process may not do. The shim and the command line are such processes; the engine is
//! not.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let spec = wharf_oci::runtime::Spec::default();
//! let hierarchies = wharf_cgroup::Hierarchies::detect()?;
//! let launch = wharf_runtime::Launch::new("box", &spec, "/bundle".as_ref(), &hierarchies);
//! let started = wharf_runtime::run(launch)?; // execve has succeeded
//! println!("{}", started.running.pid.as_raw_pid());
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

mod attributes;
mod capabilities;
mod channel;
mod child;
pub mod cli;
mod detour;
mod error;
mod exec;
mod gate;
mod groundwork;
mod hooks;
mod labels;
mod launch;
mod listener;
mod lookup;
mod loopback;
mod mounts;
mod namespaces;
mod newborn;
mod prepare;
mod process;
mod reap;
mod rlimits;
mod rootfs;
mod timeline;
mod user_namespace;

pub use error::{CreateError, ExecError, IoError, ProcessError, SpecError, StartError};
pub use exec::{Exec, exec};
pub use gate::open_gate;
pub use groundwork::Groundwork;
pub use launch::{Created, Gate, Launch, RootSource, Running, Started, Stdio, create, run};
pub use timeline::Mark;
pub use user_namespace::UserNamespace;
