//! Notification of a group that runs out of memory.
//!
//! v1 counts into an event descriptor that is registered with the group, and signals it once more
//! when the group is removed; v2 changes a file of counters, which inotify sees.

use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::event::EventfdFlags;
use rustix::fs::inotify;
use rustix::io::Errno;

use crate::files;
use crate::group::{CgroupError, Operation};

/// A descriptor that becomes readable when something about the group's memory happened.
#[derive(Debug)]
pub struct OomWatch {
    fd: OwnedFd,
    source: Source,
}

#[derive(Debug)]
enum Source {
    /// The file is looked for, to tell a removed group from one without memory.
    V1 { control: PathBuf },
    /// The file's counter when it was last looked at.
    V2 { events: PathBuf, seen: u64 },
}

impl OomWatch {
    pub(crate) fn v1(dir: &Path) -> Result<Self, CgroupError> {
        let control = dir.join("memory.oom_control");
        let failed = |source: Errno| CgroupError::io(Operation::Watch, &control, source);
        let fd = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(failed)?;
        let file = File::open(&control).map_err(|source| CgroupError::read(&control, source))?;
        // The kernel takes the numbers in this process's table, now, and keeps the files.
        let line = format!("{} {}", fd.as_raw_fd(), file.as_raw_fd());
        files::write(&dir.join("cgroup.event_control"), &line)
            .map_err(|source| CgroupError::io(Operation::Watch, &control, source))?;
        Ok(Self {
            fd,
            source: Source::V1 { control },
        })
    }

    pub(crate) fn v2(dir: &Path) -> Result<Self, CgroupError> {
        let events = dir.join("memory.events");
        let failed = |source: Errno| CgroupError::io(Operation::Watch, &events, source);
        let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
        let fd = inotify::init(flags).map_err(failed)?;
        inotify::add_watch(&fd, &events, inotify::WatchFlags::MODIFY).map_err(failed)?;
        let seen = files::read_value(&events, "oom_kill")?.unwrap_or(0);
        Ok(Self {
            fd,
            source: Source::V2 { events, seen },
        })
    }

    /// Takes the pending notification, after the descriptor was readable (never blocks), and says
    /// how many times since the last call the group was out of memory. A group that was removed
    /// notifies too: 0.
    pub fn take(&mut self) -> io::Result<u64> {
        match &mut self.source {
            Source::V1 { control } => {
                let mut count = [0; 8];
                match rustix::io::read(&self.fd, &mut count) {
                    Ok(8) if control.exists() => Ok(u64::from_ne_bytes(count)),
                    Ok(_) | Err(Errno::AGAIN) => Ok(0),
                    Err(error) => Err(error.into()),
                }
            }
            Source::V2 { events, seen } => {
                let mut buffer = [MaybeUninit::uninit(); 1024];
                let mut reader = inotify::Reader::new(&self.fd, &mut buffer);
                while match reader.next() {
                    Ok(_) => true,
                    Err(Errno::AGAIN) => false,
                    Err(error) => return Err(error.into()),
                } {}
                let before = *seen;
                *seen = match files::read_value(events, "oom_kill") {
                    Ok(now) => now.unwrap_or(0),
                    Err(CgroupError::Io { source, .. })
                        if source.kind() != io::ErrorKind::NotFound
                            && source.raw_os_error() != Some(Errno::NODEV.raw_os_error()) =>
                    {
                        return Err(source);
                    }
                    Err(_) => before,
                };
                Ok(seen.saturating_sub(before))
            }
        }
    }
}

impl AsFd for OomWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
