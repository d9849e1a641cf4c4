//! Signals of a single-threaded program: ignoring and blocking them, and taking one by descriptor.

use std::io;
use std::os::fd::{AsFd, AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::process::Signal;

/// Ignores each of `signals` in this process.
///
/// What is ignored stays ignored over exec: whoever starts a program afterwards resets it.
///
/// # Errors
/// EINVAL for a signal that cannot be ignored (SIGKILL, SIGSTOP).
pub fn ignore(signals: &[Signal]) -> io::Result<()> {
    for signal in signals {
        // SAFETY: signal(2) reads two integers; SIG_IGN runs no code of ours.
        let previous = unsafe { libc::signal(signal.as_raw(), libc::SIG_IGN) };
        if previous == libc::SIG_ERR {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Blocks every signal that can be blocked for the calling thread, and for the program it becomes.
///
/// # Errors
/// None that a kernel is known to give.
pub fn block_all() -> io::Result<()> {
    set_mask(&full_set())
}

/// Lets the program of `command` begin with no signal blocked, whatever its parent blocks.
pub fn start_unblocked(command: &mut Command) {
    let none = set_of(&[]);
    // SAFETY: between fork and exec only pthread_sigmask(3) is called, which is async-signal-safe, on a
    // set that the closure owns.
    unsafe { command.pre_exec(move || set_mask(&none)) };
}

/// Receives signals by descriptor; the signals are blocked for the calling thread.
#[derive(Debug)]
pub struct SignalFd(OwnedFd);

impl SignalFd {
    /// Blocks `signals` for the calling thread and returns a non-blocking descriptor that becomes
    /// readable when one is pending. Threads made before must block them too.
    ///
    /// # Errors
    /// What sigprocmask(2) and signalfd(2) return.
    pub fn block(signals: &[Signal]) -> io::Result<Self> {
        let set = set_of(signals);
        // SAFETY: the set is initialised and outlives the call; no old mask is asked for.
        let code = unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut()) };
        if code != 0 {
            return Err(io::Error::from_raw_os_error(code));
        }
        Self::of(&set)
    }

    /// Blocks every signal that can be blocked for the calling thread, and receives all of them but
    /// those in `left`, which just stay blocked.
    ///
    /// # Errors
    /// What signalfd(2) returns.
    pub fn all_but(left: &[Signal]) -> io::Result<Self> {
        block_all()?;
        let mut set = full_set();
        for signal in left {
            // SAFETY: sigdelset(3) writes into an initialised set, and a `Signal` is a valid number.
            unsafe { libc::sigdelset(&raw mut set, signal.as_raw()) };
        }
        Self::of(&set)
    }

    fn of(set: &libc::sigset_t) -> io::Result<Self> {
        // SAFETY: -1 asks for a new descriptor; the set is initialised and outlives the call.
        let fd = unsafe { libc::signalfd(-1, set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: signalfd(2) just returned this descriptor, and nothing else owns it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Takes one pending signal, or `None` when there is none.
    ///
    /// # Errors
    /// What read(2) returns, except EAGAIN.
    pub fn take(&self) -> io::Result<Option<Taken>> {
        // SAFETY: signalfd_siginfo is plain integers, for which zero is a value.
        let mut info: libc::signalfd_siginfo = unsafe { std::mem::zeroed() };
        let size = size_of::<libc::signalfd_siginfo>();
        // SAFETY: the buffer is the structure itself, of exactly the size passed.
        let read = unsafe { libc::read(self.0.as_raw_fd(), (&raw mut info).cast(), size) };
        if read < 0 {
            let error = io::Error::last_os_error();
            return match error.kind() {
                io::ErrorKind::WouldBlock => Ok(None),
                _ => Err(error),
            };
        }
        let number = i32::try_from(info.ssi_signo).map_err(io::Error::other)?;
        Ok(Some(Taken {
            number,
            from_kernel: info.ssi_code > 0,
        }))
    }
}

impl AsFd for SignalFd {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A signal taken from a [`SignalFd`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// Its number.
    pub number: i32,
    /// Whether the kernel raised it (a terminal, a child's end) and not another process.
    pub from_kernel: bool,
}

/// Sends the signal numbered `number` (real-time ones included) to `pid`.
///
/// # Errors
/// What kill(2) returns.
pub fn send(pid: rustix::process::Pid, number: i32) -> io::Result<()> {
    // SAFETY: kill(2) reads two integers; a `Pid` is positive, so no process group is meant.
    let code = unsafe { libc::kill(pid.as_raw_nonzero().get(), number) };
    if code < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Sends the signal numbered `number` (real-time ones included) to the process of a pidfd.
///
/// # Errors
/// What pidfd_send_signal(2) returns; ESRCH once the process was waited for.
pub fn send_to(pidfd: impl AsFd, number: i32) -> io::Result<()> {
    let null = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: the descriptor is open for the call, and a null siginfo asks for kill(2)'s.
    let code = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_fd().as_raw_fd(),
            number,
            null,
            0,
        )
    };
    if code < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

fn set_mask(set: &libc::sigset_t) -> io::Result<()> {
    // SAFETY: the set is initialised and outlives the call; no old mask is asked for.
    let code = unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, set, std::ptr::null_mut()) };
    if code != 0 {
        return Err(io::Error::from_raw_os_error(code));
    }
    Ok(())
}

fn full_set() -> libc::sigset_t {
    // SAFETY: a sigset_t is an array of integers, which sigfillset(3) only writes into.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut set);
        set
    }
}

fn set_of(signals: &[Signal]) -> libc::sigset_t {
    // SAFETY: a sigset_t is an array of integers; sigemptyset and sigaddset only write into it, and
    // a `Signal` is a valid number.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        for signal in signals {
            libc::sigaddset(&raw mut set, signal.as_raw());
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blocked_signal_is_taken_by_descriptor() {
        let signals = SignalFd::block(&[Signal::USR1]).expect("signalfd");
        assert_eq!(signals.take().expect("read"), None);
        // SAFETY: the thread is the calling one; the signal is blocked for it just above.
        let code = unsafe { libc::pthread_kill(libc::pthread_self(), libc::SIGUSR1) };
        assert_eq!(code, 0);
        let taken = signals.take().expect("read").expect("a signal");
        assert_eq!((taken.number, taken.from_kernel), (libc::SIGUSR1, false));
    }
}
