//! Docker's default profile.

use wharf_oci::runtime::Seccomp;

use crate::Arch;

/// Version of the running kernel, major and minor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct KernelVersion {
    /// Major.
    pub major: u32,
    /// Minor.
    pub minor: u32,
}

impl KernelVersion {
    /// The running kernel's, from uname(2).
    #[must_use]
    pub fn running() -> Self {
        todo!()
    }
}

/// Docker's default profile for a container that is granted `capabilities` (`CAP_SYS_ADMIN`, …).
#[must_use]
pub fn default_profile<S: AsRef<str>>(
    capabilities: &[S],
    arch: Arch,
    kernel: KernelVersion,
) -> Seccomp {
    let _ = (capabilities, arch, kernel);
    todo!()
}
