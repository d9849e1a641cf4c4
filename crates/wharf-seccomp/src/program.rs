//! A compiled filter.

use std::io;
use std::os::fd::OwnedFd;

use wharf_sys::seccomp::{FilterFlags, Instruction};

/// A filter, ready to install.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    pub(crate) instructions: Vec<Instruction>,
    pub(crate) flags: FilterFlags,
}

/// Bytes that are no program.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an encoded seccomp program: {0}")]
pub struct DecodeError(pub(crate) &'static str);

impl Program {
    /// The instructions.
    #[must_use]
    pub fn instructions(&self) -> &[Instruction] {
        &self.instructions
    }

    /// Flags of seccomp(2).
    #[must_use]
    pub fn flags(&self) -> FilterFlags {
        self.flags
    }

    /// Whether a rule notifies, so that installing returns a listener.
    #[must_use]
    pub fn needs_listener(&self) -> bool {
        self.flags.contains(FilterFlags::NEW_LISTENER)
    }

    /// Installs the filter for the calling thread; the listener when there is one. One system
    /// call; `no_new_privs` or `CAP_SYS_ADMIN` is the caller's business.
    pub fn install(&self) -> io::Result<Option<OwnedFd>> {
        wharf_sys::seccomp::install(&self.instructions, self.flags)
    }

    /// The program as bytes, for handing it to another process.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        todo!()
    }

    /// Reads what [`Self::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let _ = bytes;
        todo!()
    }
}
