//! Making, shaping and replacing processes: clone3, execve, and what has to be set in between.

use std::convert::Infallible;
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::fs::{AtFlags, CWD};
use rustix::process::Pid;
use rustix::thread::ThreadNameSpaceType;

// clone3(2) takes 64 bits; libc declares these with types that differ.
const CLONE_PIDFD: u64 = 0x1000;
const CLONE_PARENT: u64 = 0x8000;
const CLONE_CLEAR_SIGHAND: u64 = 1 << 32;
const CLONE_INTO_CGROUP: u64 = 1 << 33;
const SIGCHLD: u64 = 17;

/// What clone3 makes beside the process.
#[derive(Debug, Clone, Copy, Default)]
pub struct CloneOptions<'a> {
    /// New namespaces.
    pub namespaces: Option<ThreadNameSpaceType>,
    /// The cgroup (a v2 directory) the process begins in.
    pub cgroup: Option<BorrowedFd<'a>>,
    /// Whether the new process is a child of the caller's parent.
    pub sibling: bool,
}

/// The two sides of a clone.
#[derive(Debug)]
pub enum Cloned {
    /// In the caller.
    Parent {
        /// The new process, in the caller's numbering.
        pid: Pid,
        /// Its descriptor.
        pidfd: OwnedFd,
    },
    /// In the new process.
    Child,
}

/// Copies the calling process.
///
/// # Errors
/// EDEADLK when the process has more than one thread, whose locks the copy would inherit; else
/// what clone3(2) says.
pub fn clone_process(options: &CloneOptions<'_>) -> io::Result<Cloned> {
    if threads()? != 1 {
        return Err(io::Error::from_raw_os_error(libc::EDEADLK));
    }
    let mut pidfd: libc::c_int = -1;
    // SAFETY: clone_args is plain integers, for which zero is a value.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = CLONE_PIDFD | CLONE_CLEAR_SIGHAND;
    if let Some(namespaces) = options.namespaces {
        args.flags |= u64::from(namespaces.bits());
    }
    if options.sibling {
        // With CLONE_PARENT the exit signal is the caller's own, and must not be given.
        args.flags |= CLONE_PARENT;
    } else {
        args.exit_signal = SIGCHLD;
    }
    if let Some(cgroup) = options.cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = u64::try_from(cgroup.as_raw_fd()).map_err(io::Error::other)?;
    }
    args.pidfd = (&raw mut pidfd) as u64;
    // SAFETY: `args` is a valid clone_args of the given size and `pidfd` lives across the call. No
    // memory is shared (no CLONE_VM), so the child has its own copy of this single thread's stack and
    // of every lock, none of which another thread can hold.
    let result = unsafe {
        libc::syscall(
            libc::SYS_clone3,
            &raw const args,
            size_of::<libc::clone_args>(),
        )
    };
    match result {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Cloned::Child),
        pid => {
            let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
            Ok(Cloned::Parent {
                pid: pid.ok_or(io::ErrorKind::InvalidData)?,
                // SAFETY: with CLONE_PIDFD the kernel has stored a new descriptor of ours.
                pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) },
            })
        }
    }
}

/// Number of threads of the calling process.
fn threads() -> io::Result<u64> {
    // The link count of the directory is two and the number of threads; listing it costs more.
    let stat = rustix::fs::statat(CWD, "/proc/self/task", AtFlags::empty())?;
    Ok(stat.st_nlink.saturating_sub(2))
}

/// Replaces the program of the calling process, whose further descriptors from 3 on become
/// `inherit`; everything else that is open must be close-on-exec.
///
/// # Errors
/// Returns only when it fails; then only descriptors above `3 + inherit.len()` are what they were.
pub fn exec(
    program: &CStr,
    args: &[CString],
    env: &[CString],
    inherit: &[OwnedFd],
) -> io::Result<Infallible> {
    place(inherit)?;
    let args = pointers(args);
    let env = pointers(env);
    // SAFETY: a NUL-terminated path and two null-terminated arrays of pointers to NUL-terminated
    // strings, all borrowed across the call; when it succeeds nothing of ours remains.
    unsafe { libc::execve(program.as_ptr(), args.as_ptr(), env.as_ptr()) };
    Err(io::Error::last_os_error())
}

/// As [`exec`], of an open file.
///
/// # Errors
/// Returns only when it fails.
pub fn exec_file(
    program: BorrowedFd<'_>,
    args: &[CString],
    env: &[CString],
) -> io::Result<Infallible> {
    let args = pointers(args);
    let env = pointers(env);
    // SAFETY: an open descriptor, an empty NUL-terminated path and two null-terminated arrays of
    // NUL-terminated strings, all borrowed across the call.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            program.as_raw_fd(),
            c"".as_ptr(),
            args.as_ptr(),
            env.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    Err(io::Error::last_os_error())
}

fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
    strings
        .iter()
        .map(|string| string.as_ptr())
        .chain([std::ptr::null()])
        .collect()
}

/// Makes copies of `fds` the descriptors 3, 4, …, kept over exec.
fn place(fds: &[OwnedFd]) -> io::Result<()> {
    let above = 3 + i32::try_from(fds.len()).map_err(io::Error::other)?;
    let mut moved = Vec::with_capacity(fds.len());
    for fd in fds {
        moved.push(rustix::io::fcntl_dupfd_cloexec(fd, above)?);
    }
    for (number, fd) in (3..).zip(moved) {
        // SAFETY: dup2(2) takes two integers; what `number` was before is given up, as documented.
        if unsafe { libc::dup2(fd.as_raw_fd(), number) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Copies of the `count` descriptors from 3 on, which whoever started this process has left open for
/// it to pass on.
///
/// # Errors
/// EBADF when one of them is not open.
pub fn inherited(count: u16) -> io::Result<Vec<OwnedFd>> {
    let first = libc::STDERR_FILENO + 1;
    let copies = (first..first + i32::from(count)).map(|number| {
        // SAFETY: fcntl(2) with F_DUPFD_CLOEXEC takes three integers; a number that is not open is EBADF.
        let copy = unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, first) };
        if copy < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: fcntl(2) just returned this new descriptor, and nothing else owns it.
        Ok(unsafe { OwnedFd::from_raw_fd(copy) })
    });
    copies.collect()
}

/// Ends the process at once: no destructors, no flushing, no exit handlers, which belong to the
/// process this one is a copy of.
pub fn exit_now(code: u8) -> ! {
    // SAFETY: _exit(2) takes an integer and does not return.
    unsafe { libc::_exit(i32::from(code)) }
}

/// Sets every signal to its default action and blocks none, as a new program expects.
///
/// # Errors
/// None that a kernel is known to give.
pub fn reset_signals() -> io::Result<()> {
    for signal in 1..=libc::SIGRTMAX() {
        // SAFETY: signal(2) reads two integers; the default action runs no code of ours. Signals
        // that cannot be changed (KILL, STOP) or belong to glibc fail with EINVAL: nothing to reset.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    // SAFETY: sigemptyset(3) fills the set; the mask is then replaced by it.
    let result = unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut())
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Marks every descriptor from `first` on as close-on-exec.
///
/// # Errors
/// What close_range(2) says.
pub fn close_on_exec_from(first: u32) -> io::Result<()> {
    // SAFETY: close_range(2) with CLOEXEC closes nothing now; three integers.
    let result = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            first,
            u32::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Closes every descriptor from 3 on but those in `kept`. For the copy of a process that shares no
/// owner with the original: whatever owned one of the closed must be neither used nor dropped again.
///
/// # Errors
/// What close_range(2) says.
pub fn close_all_but(kept: &[BorrowedFd<'_>]) -> io::Result<()> {
    let number = |fd: &BorrowedFd<'_>| u32::try_from(fd.as_raw_fd()).map_err(io::Error::other);
    let mut kept = kept.iter().map(number).collect::<io::Result<Vec<u32>>>()?;
    kept.retain(|&number| number > 2);
    kept.sort_unstable();
    let mut first: u32 = 3;
    for number in kept {
        if number > first {
            close_range(first, number - 1)?;
        }
        first = first.max(number + 1);
    }
    close_range(first, u32::MAX)
}

fn close_range(first: u32, last: u32) -> io::Result<()> {
    // SAFETY: three integers; that nobody uses what is closed is the caller's promise.
    if unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Gives the process a new session keyring, called `name` if it has one.
///
/// # Errors
/// ENOSYS without keyrings, EDQUOT when the user has too many keys.
pub fn join_session_keyring(name: Option<&CStr>) -> io::Result<()> {
    const KEYCTL_JOIN_SESSION_KEYRING: libc::c_ulong = 1;
    let name = name.map_or(std::ptr::null(), CStr::as_ptr);
    // SAFETY: an operation number and a NUL-terminated name, or null for none.
    let result = unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, name) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Sets the execution domain (personality(2)).
///
/// # Errors
/// EINVAL for a domain the kernel does not have.
pub fn set_personality(domain: u32) -> io::Result<()> {
    // SAFETY: personality(2) takes an integer.
    if unsafe { libc::personality(libc::c_ulong::from(domain)) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Arguments of sched_setattr(2).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SchedulerAttributes {
    /// Policy (`SCHED_OTHER` 0, `FIFO` 1, `RR` 2, `BATCH` 3, `ISO` 4, `IDLE` 5, `DEADLINE` 6).
    pub policy: u32,
    /// `SCHED_FLAG_…`.
    pub flags: u64,
    /// Nice value.
    pub nice: i32,
    /// Static priority.
    pub priority: u32,
    /// Nanoseconds.
    pub runtime: u64,
    /// Nanoseconds.
    pub deadline: u64,
    /// Nanoseconds.
    pub period: u64,
}

/// Sets the scheduling policy of the calling thread.
///
/// # Errors
/// EINVAL for attributes that do not fit the policy, EPERM, EBUSY.
pub fn set_scheduler(attributes: SchedulerAttributes) -> io::Result<()> {
    /// Version 0 of the kernel's structure: the size comes first.
    #[repr(C)]
    struct Versioned {
        size: u32,
        policy: u32,
        flags: u64,
        nice: i32,
        priority: u32,
        runtime: u64,
        deadline: u64,
        period: u64,
    }
    let versioned = Versioned {
        size: u32::try_from(size_of::<Versioned>()).map_err(io::Error::other)?,
        policy: attributes.policy,
        flags: attributes.flags,
        nice: attributes.nice,
        priority: attributes.priority,
        runtime: attributes.runtime,
        deadline: attributes.deadline,
        period: attributes.period,
    };
    // SAFETY: a structure of the size it names, only read.
    let result = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const versioned, 0) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Sets the I/O priority of the calling process: `class` 1 real time, 2 best effort, 3 idle.
///
/// # Errors
/// EINVAL for a priority out of range, EPERM.
pub fn set_io_priority(class: u16, priority: u16) -> io::Result<()> {
    const IOPRIO_WHO_PROCESS: libc::c_int = 1;
    const CLASS_SHIFT: u32 = 13;
    let value = u32::from(class) << CLASS_SHIFT | u32::from(priority);
    // SAFETY: three integers.
    let result = unsafe { libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, value) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Makes the calling thread own what it makes in file systems as this user and group, without
/// taking from it any right over files.
///
/// # Errors
/// EPERM: the caller may not be that user.
pub fn own_files_as(uid: u32, gid: u32) -> io::Result<()> {
    for (number, id) in [(libc::SYS_setfsgid, gid), (libc::SYS_setfsuid, uid)] {
        // They return the id before; only an id that is none leaves it and tells what it is.
        // SAFETY: an integer; the call changes the credentials of the calling thread alone.
        let now = unsafe {
            libc::syscall(number, id);
            libc::syscall(number, u32::MAX)
        };
        if now != libc::c_long::from(id) {
            return Err(io::Error::from_raw_os_error(libc::EPERM));
        }
    }
    // The kernel took the rights of root over files away with its id.
    let mut sets = rustix::thread::capabilities(None)?;
    sets.effective = sets.permitted;
    Ok(rustix::thread::set_capabilities(None, sets)?)
}

/// Opens a copy of `fd`'s file description's file with other access: what `/proc/self/fd/N` would
/// open, through `directory`, an open `/proc/self/fd` of the caller's choice.
///
/// # Errors
/// What open(2) says.
pub fn reopen(
    directory: BorrowedFd<'_>,
    fd: BorrowedFd<'_>,
    flags: rustix::fs::OFlags,
) -> io::Result<OwnedFd> {
    Ok(rustix::fs::openat(
        directory,
        fd.as_fd().as_raw_fd().to_string(),
        flags | rustix::fs::OFlags::CLOEXEC,
        rustix::fs::Mode::empty(),
    )?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threaded_process_is_not_copied() {
        // The test harness runs this test on a thread of its own.
        let error = clone_process(&CloneOptions::default())
            .map(drop)
            .expect_err("two threads");
        assert_eq!(error.raw_os_error(), Some(libc::EDEADLK));
    }
}
