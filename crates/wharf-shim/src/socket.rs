//! The socket a shim listens at, `shim.sock` in a directory of its own.
//!
//! A Unix socket's path may have 107 bytes, an exec root with a container's id in it more: both
//! sides go through a descriptor of the directory.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

const NAME: &str = "shim.sock";

/// A listening socket. Dropped, it is removed with its directory.
#[derive(Debug)]
pub(crate) struct Socket {
    listener: UnixListener,
    /// `None` once it was removed.
    directory: Option<PathBuf>,
}

impl Socket {
    /// Makes the directory and listens in it.
    pub(crate) fn listen(directory: &Path) -> io::Result<Self> {
        Ok(Self {
            listener: listen(directory)?,
            directory: Some(directory.to_owned()),
        })
    }

    pub(crate) fn listener(&self) -> &UnixListener {
        &self.listener
    }

    /// Removes it.
    pub(crate) fn close(mut self) -> io::Result<()> {
        self.directory
            .take()
            .map_or(Ok(()), |directory| remove(&directory))
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // The engine looks after what is left in the exec root if this fails.
        drop(self.directory.take().map(|directory| remove(&directory)));
    }
}

/// Makes the directory and listens in it. Only its owner can reach the socket.
fn listen(directory: &Path) -> io::Result<UnixListener> {
    match DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            // Left by an earlier run whose shim was killed.
            remove_socket(directory)?;
        }
        other => other?,
    }
    let (_directory, path) = through_descriptor(directory)?;
    let listener = UnixListener::bind(path)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Connects to the shim in a directory.
pub(crate) fn connect(directory: &Path) -> io::Result<UnixStream> {
    let (_directory, path) = through_descriptor(directory)?;
    UnixStream::connect(path)
}

/// Removes a shim's socket and its directory; gone already is fine.
///
/// # Errors
/// What unlink(2) and rmdir(2) return, except that there is nothing.
pub fn remove(directory: &Path) -> io::Result<()> {
    remove_socket(directory)?;
    absent_is_fine(fs::remove_dir(directory))
}

fn remove_socket(directory: &Path) -> io::Result<()> {
    absent_is_fine(fs::remove_file(directory.join(NAME)))
}

fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn through_descriptor(directory: &Path) -> io::Result<(OwnedFd, PathBuf)> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = rustix::fs::open(directory, flags, Mode::empty())?;
    let path = format!("/proc/self/fd/{}/{NAME}", fd.as_raw_fd());
    Ok((fd, PathBuf::from(path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_longer_than_a_socket_address_work() {
        let dir = tempfile::tempdir().expect("dir");
        let directory = dir.path().join("x".repeat(200));
        let listener = listen(&directory).expect("listen");
        connect(&directory).expect("connect");
        listener.accept().expect("accept");
        listen(&directory).expect("listen again, over what was left");
        remove(&directory).expect("remove");
        remove(&directory).expect("remove twice");
        assert!(!directory.exists());
    }
}
