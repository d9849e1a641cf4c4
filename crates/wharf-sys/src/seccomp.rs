//! Installing a system call filter (seccomp(2)).

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

/// One instruction of classic BPF, as the kernel takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Instruction {
    /// Operation.
    pub code: u16,
    /// Instructions skipped when a jump's condition holds.
    pub jump_true: u8,
    /// Instructions skipped when it does not.
    pub jump_false: u8,
    /// Operand.
    pub operand: u32,
}

/// Flags of `SECCOMP_SET_MODE_FILTER`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FilterFlags(pub u32);

impl FilterFlags {
    /// All threads of the process get the filter.
    pub const TSYNC: Self = Self(1);
    /// Every action but allow is logged.
    pub const LOG: Self = Self(1 << 1);
    /// Speculative store bypass stays on.
    pub const SPEC_ALLOW: Self = Self(1 << 2);
    /// Installing returns a descriptor that gets the notifications.
    pub const NEW_LISTENER: Self = Self(1 << 3);
    /// A failed `TSYNC` is `ESRCH`, so that it can stand beside `NEW_LISTENER`.
    pub const TSYNC_ESRCH: Self = Self(1 << 4);
    /// A call whose notification was received can be interrupted by a fatal signal only.
    pub const WAIT_KILLABLE_RECV: Self = Self(1 << 5);

    /// Whether all flags of `other` are set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both sets of flags.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Installs `program` for the calling thread, and returns the listener when `NEW_LISTENER` is
/// among the flags.
///
/// Fails with `EACCES` when neither `no_new_privs` nor `CAP_SYS_ADMIN` is there, with `EINVAL`
/// for a program the kernel's checker rejects.
pub fn install(program: &[Instruction], flags: FilterFlags) -> io::Result<Option<OwnedFd>> {
    let length =
        u16::try_from(program.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let description = libc::sock_fprog {
        len: length,
        filter: program.as_ptr().cast::<libc::sock_filter>().cast_mut(),
    };
    // SAFETY: `description` names `length` instructions that live across the call and have the
    // layout of `sock_filter` (checked below); the kernel copies and does not write them.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            flags.0,
            &raw const description,
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    if flags.contains(FilterFlags::NEW_LISTENER) {
        let raw = i32::try_from(result).map_err(io::Error::other)?;
        // SAFETY: with NEW_LISTENER a result that is not negative is a new descriptor of ours.
        return Ok(Some(unsafe { OwnedFd::from_raw_fd(raw) }));
    }
    if result > 0 {
        // TSYNC without TSYNC_ESRCH: the id of the thread that could not be brought along.
        return Err(io::Error::from_raw_os_error(libc::ESRCH));
    }
    Ok(None)
}

/// Whether the kernel knows all of `flags`.
#[must_use]
pub fn supports(flags: FilterFlags) -> bool {
    // SAFETY: a null program makes the kernel check the flags first, then fail with EFAULT
    // without installing anything.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            flags.0,
            std::ptr::null::<libc::sock_fprog>(),
        )
    };
    result < 0 && io::Error::last_os_error().raw_os_error() == Some(libc::EFAULT)
}

const _: () = assert!(
    size_of::<Instruction>() == size_of::<libc::sock_filter>()
        && align_of::<Instruction>() == align_of::<libc::sock_filter>()
);
