//! System calls behind small safe functions: the only crate with unsafe code.
//!
//! What rustix has is used from rustix, here and elsewhere; this crate holds what it lacks. Every
//! function is total: owned or borrowed descriptors in and out, an error number with what it was
//! about, no raw descriptor or process id kept.

pub mod allocator;
pub mod bpf;
pub mod memory;
pub mod mount;
pub mod namespace;
pub mod netlink;
pub mod process;
pub mod rooted;
pub mod seccomp;
pub mod signal;
pub mod socket;
