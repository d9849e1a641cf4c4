//! Processor architectures and their system call numbers.

use crate::table;

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

    /// The calling convention programs of this architecture use.
    pub(crate) const fn main_abi(self) -> Abi {
        match self {
            Self::X86_64 => Abi::X86_64,
            Self::Aarch64 => Abi::Aarch64,
        }
    }

    /// All conventions a kernel of this architecture can serve, by the group that shares an audit
    /// number, in the order in which a program asks for them.
    pub(crate) const fn groups(self) -> &'static [&'static [Abi]] {
        match self {
            Self::X86_64 => &[&[Abi::X86_64, Abi::X32], &[Abi::X86]],
            Self::Aarch64 => &[&[Abi::Aarch64], &[Abi::Arm]],
        }
    }
}

/// One set of system call numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Abi {
    X86_64,
    X32,
    X86,
    Aarch64,
    Arm,
}

/// First number of x32: bit 30.
pub(crate) const X32_FIRST: u32 = 0x4000_0000;
/// First of the private calls of 32-bit ARM, which say nothing about the age of a profile.
const ARM_PRIVATE_FIRST: u32 = 0x000f_0000;

impl Abi {
    /// Reads the name the OCI document uses; `None` for a convention this crate has no table of.
    pub(crate) fn from_oci(name: &str) -> Option<Self> {
        match name {
            "SCMP_ARCH_X86_64" => Some(Self::X86_64),
            "SCMP_ARCH_X32" => Some(Self::X32),
            "SCMP_ARCH_X86" => Some(Self::X86),
            "SCMP_ARCH_AARCH64" => Some(Self::Aarch64),
            "SCMP_ARCH_ARM" => Some(Self::Arm),
            _ => None,
        }
    }

    /// The `arch` member of `seccomp_data` (`AUDIT_ARCH_*`).
    pub(crate) const fn audit(self) -> u32 {
        match self {
            Self::X86_64 | Self::X32 => 0xc000_003e,
            Self::X86 => 0x4000_0003,
            Self::Aarch64 => 0xc000_00b7,
            Self::Arm => 0x4000_0028,
        }
    }

    /// First and last number of this convention.
    pub(crate) const fn bounds(self) -> (u32, u32) {
        match self {
            Self::X86_64 => (0, X32_FIRST - 1),
            Self::X32 => (X32_FIRST, u32::MAX),
            Self::X86 | Self::Aarch64 | Self::Arm => (0, u32::MAX),
        }
    }

    /// Number of a call.
    pub(crate) fn number(self, name: &str) -> Option<u32> {
        let calls = match self {
            Self::X86_64 => table::X86_64,
            Self::X32 => table::X32,
            Self::X86 => table::X86,
            Self::Aarch64 => table::AARCH64,
            Self::Arm => table::ARM,
        };
        let index = calls.binary_search_by_key(&name, |(known, _)| known).ok()?;
        Some(calls[index].1)
    }

    /// Whether `number` tells how new a profile is.
    pub(crate) const fn is_ordinary(self, number: u32) -> bool {
        !matches!(self, Self::Arm) || number < ARM_PRIVATE_FIRST
    }
}

/// Architectures that OCI documents may name and that no kernel of [`Arch`] runs: rules for them
/// can never match here, so they are passed over.
pub(crate) const FOREIGN: &[&str] = &[
    "SCMP_ARCH_LOONGARCH64",
    "SCMP_ARCH_M68K",
    "SCMP_ARCH_MIPS",
    "SCMP_ARCH_MIPS64",
    "SCMP_ARCH_MIPS64N32",
    "SCMP_ARCH_MIPSEL",
    "SCMP_ARCH_MIPSEL64",
    "SCMP_ARCH_MIPSEL64N32",
    "SCMP_ARCH_PARISC",
    "SCMP_ARCH_PARISC64",
    "SCMP_ARCH_PPC",
    "SCMP_ARCH_PPC64",
    "SCMP_ARCH_PPC64LE",
    "SCMP_ARCH_RISCV64",
    "SCMP_ARCH_S390",
    "SCMP_ARCH_S390X",
    "SCMP_ARCH_SH",
    "SCMP_ARCH_SHEB",
];
