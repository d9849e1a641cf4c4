//! What the kernel tests share: private cgroups with processes in them, and the guest.
//!
//! All tests are in one static program, so that the guest ([`guest`]) can run the same program
//! that runs on the machine: the machine's cgroups are of one version, the guest's of the other.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

pub mod bundle;
pub mod cpio;
pub mod group;
pub mod guest;
pub mod modules;
