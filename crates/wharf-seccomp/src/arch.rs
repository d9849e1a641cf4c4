//! Processor architectures.

/// The architecture a program is for; the 32-bit ones its kernel also runs come with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arch {
    /// x86-64, with i386 and x32.
    X86_64,
    /// 64-bit ARM, with 32-bit ARM.
    Aarch64,
}

impl Arch {
    /// The architecture this program was built for.
    #[must_use]
    pub const fn native() -> Self {
        if cfg!(target_arch = "aarch64") {
            Self::Aarch64
        } else {
            Self::X86_64
        }
    }
}
