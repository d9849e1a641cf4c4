//! Entries for the journal, in its native protocol: one datagram an entry, a field a line, or, when
//! its value has more than one line, the name, the length in eight bytes, the value.

use std::io::{self, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use serde::{Deserialize, Serialize};

use crate::entry::{Piece, Stream};

/// Where the journal listens.
const SOCKET: &str = "/run/systemd/journal/socket";

/// A journal, and what each entry of a container says there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Journald {
    /// The journal's socket.
    pub socket: PathBuf,
    /// Fields of every entry; their names are valid ones.
    pub fields: Vec<(String, String)>,
}

impl Journald {
    /// The journal of this machine.
    #[must_use]
    pub fn new(fields: Vec<(String, String)>) -> Self {
        Self {
            socket: PathBuf::from(SOCKET),
            fields,
        }
    }

    /// Makes the name of a label or variable one of a field, as Docker does: upper case, other
    /// characters than letters and digits become `_`, none of those at the beginning.
    #[must_use]
    pub fn field_name(name: &str) -> String {
        let upper = name.chars().map(|c| match c.to_ascii_uppercase() {
            c @ ('A'..='Z' | '0'..='9') => c,
            _ => '_',
        });
        let name: String = upper.collect();
        name.trim_start_matches('_').to_owned()
    }

    pub(crate) fn encode(&self, piece: &Piece<'_>) -> Vec<u8> {
        let mut out = Vec::with_capacity(piece.text.len() + 512);
        field("MESSAGE", piece.text, &mut out);
        let priority = match piece.stream {
            Stream::Stdout => "6",
            Stream::Stderr => "3",
        };
        field("PRIORITY", priority.as_bytes(), &mut out);
        field("SYSLOG_TIMESTAMP", piece.time.text.as_bytes(), &mut out);
        if let Some(part) = piece.part {
            field("CONTAINER_PARTIAL_ID", part.id.as_bytes(), &mut out);
            let ordinal = part.ordinal.to_string();
            field("CONTAINER_PARTIAL_ORDINAL", ordinal.as_bytes(), &mut out);
            let last = part.last.to_string();
            field("CONTAINER_PARTIAL_LAST", last.as_bytes(), &mut out);
            if !part.last {
                field("CONTAINER_PARTIAL_MESSAGE", b"true", &mut out);
            }
        }
        for (name, value) in &self.fields {
            field(name, value.as_bytes(), &mut out);
        }
        out
    }
}

fn field(name: &str, value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name.as_bytes());
    if value.contains(&b'\n') {
        out.push(b'\n');
        out.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        out.push(b'=');
    }
    out.extend_from_slice(value);
    out.push(b'\n');
}

/// Sends an entry that is too long for a datagram, as a sealed file in memory.
pub(crate) fn send_as_file(socket: impl AsFd, entry: &[u8]) -> io::Result<()> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let mut file = std::fs::File::from(rustix::fs::memfd_create("journal-entry", flags)?);
    file.write_all(entry)?;
    let file = OwnedFd::from(file);
    let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    rustix::fs::fcntl_add_seals(&file, seals)?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let files = [file.as_fd()];
    // There is room for the one.
    ancillary.push(SendAncillaryMessage::ScmRights(&files));
    rustix::net::sendmsg(socket, &[], &mut ancillary, SendFlags::NOSIGNAL)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::{Part, Stamp};

    #[test]
    fn entries_are_in_the_native_protocol() {
        let journal = Journald::new(vec![
            ("CONTAINER_NAME".to_owned(), "box".to_owned()),
            ("LABEL".to_owned(), "two\nlines".to_owned()),
        ]);
        let time = Stamp {
            nanoseconds: 0,
            text: "2026-01-31T12:00:00Z".to_owned(),
        };
        let piece = Piece {
            text: b"hello",
            ends: false,
            stream: Stream::Stderr,
            time: &time,
            part: Some(Part {
                id: "ab",
                ordinal: 1,
                last: false,
            }),
        };
        let found = String::from_utf8(journal.encode(&piece)).expect("utf-8");
        assert_eq!(
            found,
            "MESSAGE=hello\nPRIORITY=3\nSYSLOG_TIMESTAMP=2026-01-31T12:00:00Z\nCONTAINER_PARTIAL_ID=ab\n\
             CONTAINER_PARTIAL_ORDINAL=1\nCONTAINER_PARTIAL_LAST=false\nCONTAINER_PARTIAL_MESSAGE=true\n\
             CONTAINER_NAME=box\nLABEL\n\x09\0\0\0\0\0\0\0two\nlines\n"
        );
    }

    #[test]
    fn names_of_labels_become_names_of_fields() {
        assert_eq!(Journald::field_name("com.example-x"), "COM_EXAMPLE_X");
        assert_eq!(Journald::field_name("__é1"), "1");
    }
}
