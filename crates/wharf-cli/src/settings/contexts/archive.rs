//! A context as an archive: `meta.json` and `tls/<endpoint>/<file>`, in the plainest form of tar.
//!
//! It is a few small files of fixed names, which is all that is read and written here; archives of trees
//! are the engine's business.

use super::{Certificates, Meta};

const BLOCK: usize = 512;
/// The largest archive that is read.
pub(crate) const LIMIT: usize = 16 << 20;

/// An archive that is no context.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ArchiveError {
    #[error("archive/tar: invalid tar header")]
    Header,
    #[error("unexpected EOF")]
    Cut,
    #[error("invalid context: no metadata found")]
    NoMeta,
    #[error("invalid context: {0}: zip archives are not read, give a tar archive")]
    Zip(String),
    #[error("invalid context: the archive has {0:?}, which no context has")]
    Stranger(String),
    #[error(transparent)]
    Document(#[from] serde_json::Error),
}

/// Writes a context.
pub(crate) fn write(meta: &Meta, certificates: &Certificates) -> Result<Vec<u8>, ArchiveError> {
    let mut out = Vec::new();
    add(&mut out, "meta.json", 0o644, &serde_json::to_vec(meta)?);
    directory(&mut out, "tls");
    for (endpoint, files) in certificates {
        directory(&mut out, &format!("tls/{endpoint}"));
        for (file, bytes) in files {
            add(&mut out, &format!("tls/{endpoint}/{file}"), 0o600, bytes);
        }
    }
    out.extend_from_slice(&[0; 2 * BLOCK]);
    Ok(out)
}

fn directory(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(&header(name, b'5', 0o700, 0));
}

fn add(out: &mut Vec<u8>, name: &str, mode: u32, bytes: &[u8]) {
    out.extend_from_slice(&header(name, b'0', mode, bytes.len()));
    out.extend_from_slice(bytes);
    out.resize(out.len().next_multiple_of(BLOCK), 0);
}

fn header(name: &str, kind: u8, mode: u32, size: usize) -> [u8; BLOCK] {
    let mut header = [0; BLOCK];
    let mut put =
        |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name.get(..100).unwrap_or(name));
    put(100, &format!("{mode:07o}"));
    put(108, "0000000");
    put(116, "0000000");
    put(124, &format!("{size:011o}"));
    put(136, "00000000000");
    put(148, "        ");
    put(257, "ustar\u{0}00");
    header[156] = kind;
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..155].copy_from_slice(format!("{sum:06o}\u{0}").as_bytes());
    header
}

/// Reads a context; its name is the one it had.
pub(crate) fn read(bytes: &[u8]) -> Result<(Meta, Certificates), ArchiveError> {
    if bytes.starts_with(b"PK\x03\x04") {
        return Err(ArchiveError::Zip("PK".to_owned()));
    }
    let mut meta = None;
    let mut certificates = Certificates::new();
    let mut rest = bytes;
    while let Some((header, after)) = rest.split_at_checked(BLOCK) {
        if header.iter().all(|byte| *byte == 0) {
            break;
        }
        let name = text(&header[..100]);
        check(header)?;
        let size = octal(&header[124..136])?;
        let padded = size
            .checked_next_multiple_of(BLOCK)
            .ok_or(ArchiveError::Header)?;
        let content = after.get(..size).ok_or(ArchiveError::Cut)?;
        rest = after.get(padded..).unwrap_or_default();
        if !matches!(header[156], b'0' | 0) {
            continue;
        }
        let parts: Vec<&str> = name.trim_start_matches("./").split('/').collect();
        match parts[..] {
            ["meta.json"] => meta = Some(serde_json::from_slice(content)?),
            ["tls", endpoint, file] if plain(endpoint) && plain(file) => {
                certificates
                    .entry(endpoint.to_owned())
                    .or_default()
                    .insert(file.to_owned(), content.to_vec());
            }
            _ => return Err(ArchiveError::Stranger(name)),
        }
    }
    if !rest.is_empty() && rest.len() < BLOCK {
        return Err(ArchiveError::Header);
    }
    Ok((meta.ok_or(ArchiveError::NoMeta)?, certificates))
}

/// Whether a name leads nowhere else.
fn plain(name: &str) -> bool {
    !matches!(name, "" | "." | "..")
}

fn text(field: &[u8]) -> String {
    let end = field
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(field.len());
    String::from_utf8_lossy(&field[..end]).into_owned()
}

fn octal(field: &[u8]) -> Result<usize, ArchiveError> {
    usize::from_str_radix(text(field).trim(), 8)
        .ok()
        .filter(|size| *size <= LIMIT)
        .ok_or(ArchiveError::Header)
}

fn check(header: &[u8]) -> Result<(), ArchiveError> {
    let sum: usize = header
        .iter()
        .enumerate()
        .map(|(at, byte)| {
            if (148..156).contains(&at) {
                usize::from(b' ')
            } else {
                usize::from(*byte)
            }
        })
        .sum();
    if octal(&header[148..156])? == sum {
        Ok(())
    } else {
        Err(ArchiveError::Header)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> (Meta, Certificates) {
        let meta = Meta {
            name: "one".to_owned(),
            ..Meta::default()
        };
        let files = [("ca.pem".to_owned(), vec![7; 700])].into();
        (meta, [("docker".to_owned(), files)].into())
    }

    #[test]
    fn what_was_written_is_read() {
        let (meta, certificates) = sample();
        let bytes = write(&meta, &certificates).expect("a context");
        assert_eq!(bytes.len() % BLOCK, 0);
        assert_eq!(read(&bytes).expect("a context"), (meta, certificates));
    }

    #[test]
    fn what_is_no_context_is_refused() {
        let words = |bytes: &[u8]| read(bytes).expect_err("no context").to_string();
        assert_eq!(words(&[]), "invalid context: no metadata found");
        assert_eq!(words(&[b'x'; 600]), "archive/tar: invalid tar header");
        let mut out = Vec::new();
        add(&mut out, "tls/docker/../../x", 0o644, b"x");
        assert_eq!(
            words(&out),
            "invalid context: the archive has \"tls/docker/../../x\", which no context has"
        );
        let (meta, certificates) = sample();
        let bytes = write(&meta, &certificates).expect("a context");
        assert_eq!(words(&bytes[..530]), "unexpected EOF");
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(0_u8.., 0..1200)) {
            assert!(read(&bytes).is_err());
        }
    }
}
