//! The exit status on disk.
//!
//! `exit.json` is the one thing that tells how a run ended when no engine is there to hear it.
//! It is written beside its place, renamed and then synced, and only after that told to anybody:
//! ext4 commits the rename with the file's sync, so that one sync makes both last. A document that
//! cannot be read was never told to anybody, and counts as none.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use crate::protocol::Exit;

const NAME: &str = "exit.json";
const TEMPORARY: &str = "exit.json.new";

/// What an exit status outlasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// The engine's end.
    Engine,
    /// The machine's crash too: a sync, some 0.3 ms.
    Machine,
}

/// Writes the exit status into a container's directory.
pub(crate) fn write(directory: &Path, exit: &Exit, durability: Durability) -> io::Result<()> {
    let temporary = directory.join(TEMPORARY);
    let mut file = File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)?;
    file.write_all(&serde_json::to_vec(exit)?)?;
    fs::rename(&temporary, directory.join(NAME))?;
    match durability {
        Durability::Engine => Ok(()),
        Durability::Machine => file.sync_all(),
    }
}

/// Reads the exit status of a run from a container's directory; `None` when that run left none.
///
/// # Errors
/// What reading the file returns, except that it is not there.
pub fn read(directory: &Path, run: u64) -> io::Result<Option<Exit>> {
    let bytes = match fs::read(directory.join(NAME)) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let exit: Option<Exit> = serde_json::from_slice(&bytes).ok();
    Ok(exit.filter(|exit| exit.run == run))
}

/// Removes the exit status of an earlier run.
///
/// # Errors
/// What unlink(2) returns, except that it is not there.
pub fn clear(directory: &Path) -> io::Result<()> {
    match fs::remove_file(directory.join(NAME)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn exit(run: u64) -> Exit {
        Exit {
            run,
            code: 137,
            oom_killed: true,
            started: Timestamp::UNIX_EPOCH,
            finished: Timestamp::UNIX_EPOCH,
            log_lost: 0,
        }
    }

    #[test]
    fn only_the_run_that_ended_is_told() {
        let dir = tempfile::tempdir().expect("dir");
        assert_eq!(read(dir.path(), 1).expect("read"), None);
        write(dir.path(), &exit(1), Durability::Machine).expect("write");
        assert_eq!(read(dir.path(), 1).expect("read"), Some(exit(1)));
        assert_eq!(read(dir.path(), 2).expect("read"), None);
        write(dir.path(), &exit(2), Durability::Machine).expect("write");
        assert_eq!(read(dir.path(), 2).expect("read"), Some(exit(2)));
        clear(dir.path()).expect("clear");
        clear(dir.path()).expect("clear twice");
        assert_eq!(read(dir.path(), 2).expect("read"), None);
    }

    #[test]
    fn a_torn_document_counts_as_none() {
        let dir = tempfile::tempdir().expect("dir");
        fs::write(dir.path().join(NAME), "{\"run\":1,\"co").expect("write");
        assert_eq!(read(dir.path(), 1).expect("read"), None);
    }
}
