//! A compiled filter.

use std::io;
use std::os::fd::OwnedFd;

use wharf_sys::seccomp::{FilterFlags, Instruction};

/// First bytes of an encoded program.
const MAGIC: [u8; 4] = *b"WSF1";
/// Bytes of one encoded instruction.
const INSTRUCTION_LENGTH: usize = 8;

/// A filter, ready to install.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    pub(crate) instructions: Vec<Instruction>,
    pub(crate) flags: FilterFlags,
}

/// Bytes that are no program.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an encoded seccomp program: {0}")]
pub struct DecodeError(&'static str);

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
        let mut bytes = Vec::with_capacity(8 + self.instructions.len() * INSTRUCTION_LENGTH);
        bytes.extend(MAGIC);
        bytes.extend(self.flags.0.to_le_bytes());
        for instruction in &self.instructions {
            bytes.extend(instruction.code.to_le_bytes());
            bytes.extend([instruction.jump_true, instruction.jump_false]);
            bytes.extend(instruction.operand.to_le_bytes());
        }
        bytes
    }

    /// Reads what [`Self::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (header, body) = bytes
            .split_first_chunk::<8>()
            .ok_or(DecodeError("too short"))?;
        let [a, b, c, d, flags @ ..] = *header;
        if [a, b, c, d] != MAGIC {
            return Err(DecodeError("wrong first bytes"));
        }
        let (chunks, rest) = body.as_chunks::<INSTRUCTION_LENGTH>();
        if !rest.is_empty() {
            return Err(DecodeError("ends within an instruction"));
        }
        let instructions = chunks
            .iter()
            .map(
                |&[c0, c1, jump_true, jump_false, k0, k1, k2, k3]| Instruction {
                    code: u16::from_le_bytes([c0, c1]),
                    jump_true,
                    jump_false,
                    operand: u32::from_le_bytes([k0, k1, k2, k3]),
                },
            )
            .collect();
        Ok(Self {
            instructions,
            flags: FilterFlags(u32::from_le_bytes(flags)),
        })
    }
}
