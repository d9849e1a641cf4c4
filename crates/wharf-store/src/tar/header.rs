//! The 512-byte header block.

use super::{Kind, TarError};

/// Size of a block: the unit of the format.
pub(crate) const BLOCK: usize = 512;

/// A header block whose checksum holds.
#[derive(Clone)]
pub(crate) struct Header([u8; BLOCK]);

const CHECKSUM: std::ops::Range<usize> = 148..156;
const MAGIC: std::ops::Range<usize> = 257..263;

/// Places of the fields with numbers, and their names for messages.
#[derive(Clone, Copy)]
pub(super) struct Field(&'static str, usize, usize);

pub(super) const MODE: Field = Field("mode", 100, 8);
pub(super) const UID: Field = Field("uid", 108, 8);
pub(super) const GID: Field = Field("gid", 116, 8);
pub(super) const SIZE: Field = Field("size", 124, 12);
pub(super) const MTIME: Field = Field("mtime", 136, 12);
pub(super) const MAJOR: Field = Field("devmajor", 329, 8);
pub(super) const MINOR: Field = Field("devminor", 337, 8);
pub(super) const GNU_REAL_SIZE: Field = Field("realsize", 483, 12);

impl Header {
    /// Takes a block when its checksum is right; both sums that programs have written count.
    pub(crate) fn parse(block: &[u8; BLOCK]) -> Option<Self> {
        let stored = octal(&block[CHECKSUM])?;
        let mut unsigned = 0_i64;
        let mut signed = 0_i64;
        for (at, byte) in block.iter().enumerate() {
            let byte = if CHECKSUM.contains(&at) { b' ' } else { *byte };
            unsigned += i64::from(byte);
            signed += i64::from(byte.cast_signed());
        }
        (stored == unsigned || stored == signed).then_some(Self(*block))
    }

    pub(super) fn type_flag(&self) -> u8 {
        self.0[156]
    }

    pub(super) fn kind(&self) -> Kind {
        match self.type_flag() {
            b'0' | 0 | b'7' | b'S' => Kind::Regular,
            b'1' => Kind::HardLink,
            b'2' => Kind::Symlink,
            b'3' => Kind::Char,
            b'4' => Kind::Block,
            b'5' | b'D' => Kind::Directory,
            b'6' => Kind::Fifo,
            other => Kind::Other(other),
        }
    }

    /// Returns the name, with ustar's prefix before it.
    pub(super) fn name(&self) -> Vec<u8> {
        let name = text(&self.0[..100]);
        // GNU's old format has the magic `ustar  ` and other things where ustar has the prefix.
        let prefix = if self.0[MAGIC] == *b"ustar\0" {
            text(&self.0[345..500])
        } else {
            &[]
        };
        if prefix.is_empty() {
            name.to_vec()
        } else {
            [prefix, name].join(&b'/')
        }
    }

    pub(super) fn link(&self) -> Vec<u8> {
        text(&self.0[157..257]).to_vec()
    }

    pub(super) fn number(&self, field: Field) -> Result<i64, TarError> {
        let Field(name, start, length) = field;
        number(&self.0[start..start + length]).ok_or(TarError::Number(name))
    }

    pub(super) fn unsigned<T: TryFrom<i64>>(&self, field: Field) -> Result<T, TarError> {
        T::try_from(self.number(field)?).map_err(|_| TarError::Number(field.0))
    }

    /// Returns the bytes of GNU's sparse map in this header, and whether it goes on.
    pub(super) fn gnu_sparse(&self) -> (&[u8], bool) {
        (&self.0[386..482], self.0[482] != 0)
    }
}

/// Bytes up to the first NUL.
fn text(field: &[u8]) -> &[u8] {
    let end = field.iter().position(|b| *b == 0).unwrap_or(field.len());
    &field[..end]
}

/// A number in octal digits, or in base 256 when the first bit is set.
pub(super) fn number(field: &[u8]) -> Option<i64> {
    match field.first() {
        Some(first) if first & 0x80 != 0 => base256(field),
        _ => octal(field),
    }
}

/// Octal digits among spaces and NULs; nothing counts as zero.
fn octal(field: &[u8]) -> Option<i64> {
    let trimmed: &[u8] = text(field).trim_ascii();
    trimmed.iter().try_fold(0_i64, |value, digit| match digit {
        b'0'..=b'7' => value.checked_mul(8)?.checked_add(i64::from(digit - b'0')),
        _ => None,
    })
}

/// Two's complement, big end first, the topmost bit used as the mark.
fn base256(field: &[u8]) -> Option<i64> {
    let negative = field[0] & 0x40 != 0;
    let first = if negative { field[0] } else { field[0] & 0x7f };
    let mut value = if negative { -1_i128 } else { 0 };
    for byte in std::iter::once(&first).chain(&field[1..]) {
        value = value.checked_mul(256)? | i128::from(*byte);
        if i64::try_from(value).is_err() {
            return None;
        }
    }
    i64::try_from(value).ok()
}
