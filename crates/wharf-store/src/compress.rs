//! Streams that may be compressed: which way is seen from their first bytes.
//!
//! All decoders stream with bounded memory (zstd windows and xz dictionaries up to 128 MiB), all
//! run in this process: a program named `xz` in a container's tree is never started (attack A3).

use std::io::{self, BufRead, Read};

use crate::extract::Exceeded;

/// How a stream is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Gzip,
    Zstd,
    Xz,
    Bzip2,
}

const XZ_MEMORY_KIB: u32 = 128 << 10;

impl Compression {
    /// Looks at the first bytes of a stream; six are enough.
    pub(crate) fn detect(start: &[u8]) -> Self {
        const MAGIC: [(&[u8], Compression); 4] = [
            (b"\x1f\x8b\x08", Compression::Gzip),
            (b"\x28\xb5\x2f\xfd", Compression::Zstd),
            (b"\xfd7zXZ\0", Compression::Xz),
            (b"BZh", Compression::Bzip2),
        ];
        MAGIC
            .iter()
            .find(|(magic, _)| start.starts_with(magic))
            .map_or(Self::None, |(_, found)| *found)
    }
}

/// How much may come out of a compressed stream (attack A7).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expansion {
    /// Bytes that may always come out.
    pub(crate) floor: u64,
    /// Beyond them, bytes that may come out of one byte.
    pub(crate) ratio: u64,
}

/// Decompresses a stream, or passes it through.
pub(crate) struct Decoder<R: BufRead> {
    kind: Kind<Counted<R>>,
    produced: u64,
    expansion: Expansion,
}

enum Kind<R: BufRead> {
    None(R),
    Gzip(Box<flate2::bufread::MultiGzDecoder<R>>),
    Zstd(zstd::stream::read::Decoder<'static, R>),
    Xz(Box<lzma_rust2::XzReader<R>>),
    Bzip2(Box<bzip2::bufread::MultiBzDecoder<R>>),
}

impl<R: BufRead> Decoder<R> {
    pub(crate) fn new(
        compression: Compression,
        input: R,
        expansion: Expansion,
    ) -> io::Result<Self> {
        let input = Counted { input, count: 0 };
        let kind = match compression {
            Compression::None => Kind::None(input),
            Compression::Gzip => Kind::Gzip(Box::new(flate2::bufread::MultiGzDecoder::new(input))),
            Compression::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(input)?;
                decoder.window_log_max(27)?;
                Kind::Zstd(decoder)
            }
            Compression::Xz => Kind::Xz(Box::new(lzma_rust2::XzReader::new_mem_limit(
                input,
                true,
                XZ_MEMORY_KIB,
            ))),
            Compression::Bzip2 => Kind::Bzip2(Box::new(bzip2::bufread::MultiBzDecoder::new(input))),
        };
        Ok(Self {
            kind,
            produced: 0,
            expansion,
        })
    }

    fn consumed(&self) -> u64 {
        match &self.kind {
            Kind::None(input) => input.count,
            Kind::Gzip(decoder) => decoder.get_ref().count,
            Kind::Zstd(decoder) => decoder.get_ref().count,
            Kind::Xz(decoder) => decoder.inner().count,
            Kind::Bzip2(decoder) => decoder.get_ref().count,
        }
    }
}

impl<R: BufRead> Read for Decoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = match &mut self.kind {
            Kind::None(input) => return input.read(buffer),
            Kind::Gzip(decoder) => decoder.read(buffer),
            Kind::Zstd(decoder) => decoder.read(buffer),
            Kind::Xz(decoder) => decoder.read(buffer),
            Kind::Bzip2(decoder) => decoder.read(buffer),
        }?;
        self.produced += count as u64;
        let Expansion { floor, ratio } = self.expansion;
        if self.produced > floor && self.produced / ratio > self.consumed() {
            return Err(io::Error::other(Exceeded::Expansion { floor, ratio }));
        }
        Ok(count)
    }
}

/// Counts what a decoder takes.
struct Counted<R> {
    input: R,
    count: u64,
}

impl<R: BufRead> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.count += count as u64;
        Ok(count)
    }
}

impl<R: BufRead> BufRead for Counted<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.input.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.count += amount as u64;
        self.input.consume(amount);
    }
}
