//! What the engine tells a shim about a container's log.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{Journald, Syslog, json, local, scan};

/// Where a container's output goes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Files the engine reads.
    pub files: Option<Files>,
    /// A service it is sent to.
    pub remote: Option<Remote>,
    /// Bytes that wait for the service at most; what comes beyond is lost, and the container never
    /// waits. Without it the container waits.
    pub buffer: Option<u64>,
}

/// Files of a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Files {
    /// The one that is written to; those it is rotated to have a number more (see [`crate::Rotation`]).
    pub path: PathBuf,
    /// How entries are written.
    pub format: Format,
    /// Bytes of one file.
    pub max_size: Option<u64>,
    /// Files, the one that is written to among them.
    pub max_files: u32,
    /// What is kept with each entry, a JSON object, or nothing.
    #[serde(default)]
    pub attributes: String,
}

/// How entries are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Format {
    /// As Docker's `json-file`.
    Json,
    /// As Docker's `local`.
    Local,
}

/// A service that takes logs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Remote {
    /// A syslog daemon.
    Syslog(Syslog),
    /// The journal.
    Journald(Journald),
}

/// What stands at the beginning of some bytes of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Front {
    /// An entry: where its own bytes are, and how many it takes in all.
    Entry {
        start: usize,
        end: usize,
        total: usize,
    },
    /// Not yet a whole entry.
    Incomplete,
    /// No entry, nor anything from which one could find the next.
    Garbage,
}

impl Format {
    /// Looks at the beginning of `bytes`.
    pub(crate) fn front(self, bytes: &[u8]) -> Front {
        match self {
            Self::Json => match scan::line_feed(bytes) {
                Some(end) => Front::Entry {
                    start: 0,
                    end,
                    total: end + 1,
                },
                None if bytes.len() > json::RECORD_MAX => Front::Garbage,
                None => Front::Incomplete,
            },
            Self::Local => {
                if bytes.len() < local::LENGTH {
                    return Front::Incomplete;
                }
                let Some(length) = local::message_length(bytes) else {
                    return Front::Garbage;
                };
                let (start, end) = (local::LENGTH, local::LENGTH + length);
                let total = end + local::LENGTH;
                match bytes.get(end..total) {
                    None => Front::Incomplete,
                    Some(again) if again == &bytes[..start] => Front::Entry { start, end, total },
                    Some(_) => Front::Garbage,
                }
            }
        }
    }

    /// The length of the longest run of whole entries at the beginning of `bytes` that has at most
    /// `room` bytes; the first entry alone if it has more.
    pub(crate) fn fitting(self, bytes: &[u8], room: usize) -> usize {
        let mut length = 0;
        while let Front::Entry { total, .. } = self.front(&bytes[length..]) {
            if length > 0 && length + total > room {
                break;
            }
            length += total;
        }
        length
    }
}
