//! Blobs: content by its digest, in `blobs/sha256/<hex>`.
//!
//! What came compressed is kept byte by byte, so that a manifest and a push stay exact. What came
//! plain (layers of `docker save`, of `import`) would take the space of the unpacked layer again,
//! so it rests compressed by zstd, as `<hex>.zst`, and is decompressed when it is read: the name
//! is always the digest of what a reader gets. When such a layer goes to a registry it is compressed
//! by gzip once, which everybody reads, and rests so from then on, as `<hex>.gz` (`outgoing.rs`).

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, Write};
use std::path::{Path, PathBuf};

use wharf_types::{Digest, Hasher};

use crate::PathError;
use crate::files::{self, failed};

const ZSTD_SUFFIX: &str = ".zst";
const GZIP_SUFFIX: &str = ".gz";
/// The fast end: the space matters, and decoding is the same at all levels.
const ZSTD_LEVEL: i32 = 1;

/// How a blob rests on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resting {
    AsItIs,
    Zstd,
    Gzip,
}

impl Resting {
    const ALL: [Self; 3] = [Self::AsItIs, Self::Gzip, Self::Zstd];

    fn suffix(self) -> &'static str {
        match self {
            Self::AsItIs => "",
            Self::Zstd => ZSTD_SUFFIX,
            Self::Gzip => GZIP_SUFFIX,
        }
    }
}

/// The directory of all blobs.
#[derive(Debug, Clone)]
pub(crate) struct Blobs {
    directory: PathBuf,
}

impl Blobs {
    pub(crate) fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(crate) fn path(&self, digest: &Digest, resting: Resting) -> PathBuf {
        let mut name = digest.hex();
        name.push_str(resting.suffix());
        self.directory.join(name)
    }

    /// Reads the digest out of a file's name.
    pub(crate) fn digest_of(name: &str) -> Option<(Digest, Resting)> {
        Resting::ALL.into_iter().find_map(|resting| {
            let hex = name.strip_suffix(resting.suffix())?;
            Digest::from_hex(hex).ok().map(|digest| (digest, resting))
        })
    }

    /// Returns where a blob is, in whichever form.
    pub(crate) fn find(&self, digest: &Digest) -> Option<PathBuf> {
        self.resting(digest).map(|(path, _)| path)
    }

    /// Returns where a blob is, and in which form; in the better one when an interruption has left two.
    pub(crate) fn resting(&self, digest: &Digest) -> Option<(PathBuf, Resting)> {
        let forms = Resting::ALL.into_iter();
        forms
            .map(|resting| (self.path(digest, resting), resting))
            .find(|(path, _)| path.exists())
    }

    /// Opens a blob; the reader gives its content, however it rests.
    pub(crate) fn open(&self, digest: &Digest) -> Result<Option<BlobReader>, PathError> {
        for resting in Resting::ALL {
            let path = self.path(digest, resting);
            match File::open(&path) {
                Ok(file) => return BlobReader::new(file, resting, &path).map(Some),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(failed("open", &path)(error)),
            }
        }
        Ok(None)
    }

    /// Reads a document whole.
    pub(crate) fn read(&self, digest: &Digest) -> Result<Option<Vec<u8>>, PathError> {
        let Some(mut reader) = self.open(digest)? else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        reader
            .read_to_end(&mut bytes)
            .map_err(failed("read", &self.path(digest, Resting::AsItIs)))?;
        Ok(Some(bytes))
    }
}

/// Reads a blob's content.
pub(crate) enum BlobReader {
    AsItIs(File),
    Zstd(zstd::stream::read::Decoder<'static, BufReader<File>>),
    Gzip(Box<flate2::bufread::MultiGzDecoder<BufReader<File>>>),
}

impl BlobReader {
    pub(crate) fn new(file: File, resting: Resting, path: &Path) -> Result<Self, PathError> {
        Ok(match resting {
            Resting::AsItIs => Self::AsItIs(file),
            Resting::Zstd => {
                Self::Zstd(zstd::stream::read::Decoder::new(file).map_err(failed("read", path))?)
            }
            Resting::Gzip => {
                let file = BufReader::with_capacity(64 << 10, file);
                Self::Gzip(Box::new(flate2::bufread::MultiGzDecoder::new(file)))
            }
        })
    }
}

impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::AsItIs(file) => file.read(buffer),
            Self::Zstd(decoder) => decoder.read(buffer),
            Self::Gzip(decoder) => decoder.read(buffer),
        }
    }
}

/// Writes a blob into a temporary file and digests it.
pub(crate) struct BlobWriter {
    path: PathBuf,
    sink: Sink,
    hasher: Hasher,
    size: u64,
    /// Bytes at the beginning that the file has already; they are digested and not written.
    present: u64,
}

enum Sink {
    AsItIs(File),
    Zstd(Box<zstd::stream::write::Encoder<'static, File>>),
}

/// A blob complete in a temporary file.
#[derive(Debug, Clone)]
pub(crate) struct WrittenBlob {
    pub(crate) path: PathBuf,
    pub(crate) resting: Resting,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
}

impl BlobWriter {
    pub(crate) fn create(path: PathBuf, resting: Resting) -> Result<Self, PathError> {
        let file = File::create_new(&path).map_err(failed("create", &path))?;
        let sink = match resting {
            // What is written is in the form already.
            Resting::AsItIs | Resting::Gzip => Sink::AsItIs(file),
            Resting::Zstd => Sink::Zstd(Box::new(
                zstd::stream::write::Encoder::new(file, ZSTD_LEVEL)
                    .map_err(failed("write", &path))?,
            )),
        };
        Ok(Self {
            path,
            sink,
            hasher: Hasher::new(),
            size: 0,
            present: 0,
        })
    }

    /// Goes on with a file whose first `present` bytes are there; they must be written again, to be
    /// digested.
    pub(crate) fn resume(path: PathBuf, present: u64) -> Result<Self, PathError> {
        let mut file = File::options()
            .write(true)
            .open(&path)
            .map_err(failed("open", &path))?;
        file.set_len(present)
            .and_then(|()| file.seek(io::SeekFrom::End(0)))
            .map_err(failed("open", &path))?;
        Ok(Self {
            path,
            sink: Sink::AsItIs(file),
            hasher: Hasher::new(),
            size: 0,
            present,
        })
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), PathError> {
        self.hasher.update(bytes);
        let known = self.present.saturating_sub(self.size);
        self.size += bytes.len() as u64;
        let known = usize::try_from(known).map_or(bytes.len(), |known| known.min(bytes.len()));
        let bytes = &bytes[known..];
        match &mut self.sink {
            Sink::AsItIs(file) => file.write_all(bytes),
            Sink::Zstd(encoder) => encoder.write_all(bytes),
        }
        .map_err(failed("write", &self.path))
    }

    /// Ends the blob. It is not synced: that is done once for all of a load.
    pub(crate) fn finish(self) -> Result<WrittenBlob, PathError> {
        let resting = match self.sink {
            Sink::AsItIs(_) => Resting::AsItIs,
            Sink::Zstd(encoder) => {
                encoder.finish().map_err(failed("write", &self.path))?;
                Resting::Zstd
            }
        };
        Ok(WrittenBlob {
            path: self.path,
            resting,
            digest: self.hasher.finish(),
            size: self.size,
        })
    }
}

impl WrittenBlob {
    /// Opens it before it is in its place.
    pub(crate) fn open(&self) -> Result<BlobReader, PathError> {
        let file = File::open(&self.path).map_err(failed("open", &self.path))?;
        BlobReader::new(file, self.resting, &self.path)
    }

    /// Puts it in its place; one that is there already has the same content.
    pub(crate) fn publish(&self, blobs: &Blobs) -> Result<(), PathError> {
        if blobs.find(&self.digest).is_some() {
            return Ok(());
        }
        files::rename(&self.path, &blobs.path(&self.digest, self.resting))
    }
}
