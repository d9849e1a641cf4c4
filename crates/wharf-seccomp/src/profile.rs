//! Docker's default profile, as a table.
//!
//! The rules are those of Docker Engine 28, with one thing more that later engines deny as well:
//! sockets of the kernel's crypto interface (`AF_ALG`), beside those of the host's virtual machine
//! bus (`AF_VSOCK`). What needs a capability is allowed to containers that have it, so that the
//! capability alone decides.

use std::num::ParseIntError;

use wharf_oci::runtime::{Seccomp, SeccompArg, SeccompSyscall};

use crate::Arch;

const EPERM: u32 = 1;
const ENOSYS: u32 = 38;
/// All `CLONE_NEW*` flags.
const NEW_NAMESPACES: u64 = 0x7e02_0000;

/// Version of the running kernel, major and minor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct KernelVersion {
    /// Major.
    pub major: u32,
    /// Minor.
    pub minor: u32,
}

impl KernelVersion {
    /// The running kernel's, from uname(2); 0.0 when it does not look like a version.
    #[must_use]
    pub fn running() -> Self {
        let uname = rustix::system::uname();
        let release = uname.release().to_string_lossy();
        Self::parse(&release).unwrap_or(Self { major: 0, minor: 0 })
    }

    /// Reads the beginning of a release such as `6.18.44-cloud`.
    fn parse(release: &str) -> Result<Self, ParseIntError> {
        let mut numbers = release.split(|c: char| !c.is_ascii_digit());
        let mut next = || numbers.next().unwrap_or("").parse();
        Ok(Self {
            major: next()?,
            minor: next()?,
        })
    }
}

/// When a rule is part of the profile.
#[derive(Debug, Clone, Copy)]
enum When {
    Always,
    /// The container is granted the capability.
    Granted(&'static str),
    /// It is not.
    Denied(&'static str),
    /// The architecture is this one (with its 32-bit ones).
    On(Arch),
    /// The kernel is at least this one.
    Since(KernelVersion),
}

struct Rule {
    when: When,
    /// Names of the calls, separated by white space.
    calls: &'static str,
    condition: Option<(u32, &'static str, u64, u64)>,
    /// Error number; `None` allows.
    errno: Option<u32>,
}

const fn allow(when: When, calls: &'static str) -> Rule {
    Rule {
        when,
        calls,
        condition: None,
        errno: None,
    }
}

/// Allows `call` when its argument 0 is `value`.
const fn allow_value(call: &'static str, op: &'static str, value: u64) -> Rule {
    Rule {
        when: When::Always,
        calls: call,
        condition: Some((0, op, value, 0)),
        errno: None,
    }
}

const AF_ALG: u64 = 38;
const AF_VSOCK: u64 = 40;

#[rustfmt::skip]
const RULES: &[Rule] = &[
    allow(When::Always, ALWAYS),
    // Before 4.8 a tracer could change the call after the filter had seen it.
    allow(When::Since(KernelVersion { major: 4, minor: 8 }), "process_vm_readv process_vm_writev ptrace"),
    allow_value("socket", "SCMP_CMP_LT", AF_ALG),
    allow_value("socket", "SCMP_CMP_EQ", 39),
    allow_value("socket", "SCMP_CMP_GT", AF_VSOCK),
    // PER_LINUX, PER_LINUX32, each also with UNAME26, and the query.
    allow_value("personality", "SCMP_CMP_EQ", 0x0),
    allow_value("personality", "SCMP_CMP_EQ", 0x8),
    allow_value("personality", "SCMP_CMP_EQ", 0x2_0000),
    allow_value("personality", "SCMP_CMP_EQ", 0x2_0008),
    allow_value("personality", "SCMP_CMP_EQ", 0xffff_ffff),
    allow(When::On(Arch::Aarch64), "arm_fadvise64_64 arm_sync_file_range sync_file_range2 breakpoint cacheflush set_tls"),
    allow(When::On(Arch::X86_64), "arch_prctl modify_ldt"),
    allow(When::Granted("CAP_DAC_READ_SEARCH"), "open_by_handle_at"),
    allow(When::Granted("CAP_SYS_ADMIN"),
        "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie lsm_get_self_attr lsm_list_modules
         lsm_set_self_attr mount mount_setattr move_mount open_tree perf_event_open quotactl quotactl_fd setdomainname
         sethostname setns syslog umount umount2 unshare"),
    Rule {
        when: When::Denied("CAP_SYS_ADMIN"),
        calls: "clone",
        condition: Some((0, "SCMP_CMP_MASKED_EQ", NEW_NAMESPACES, 0)),
        errno: None,
    },
    // Its flags are in memory, out of a filter's sight; with ENOSYS the C library takes clone.
    Rule { when: When::Denied("CAP_SYS_ADMIN"), calls: "clone3", condition: None, errno: Some(ENOSYS) },
    allow(When::Granted("CAP_SYS_BOOT"), "reboot"),
    allow(When::Granted("CAP_SYS_CHROOT"), "chroot"),
    allow(When::Granted("CAP_SYS_MODULE"), "delete_module init_module finit_module"),
    allow(When::Granted("CAP_SYS_PACCT"), "acct"),
    allow(When::Granted("CAP_SYS_PTRACE"), "kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace"),
    allow(When::Granted("CAP_SYS_RAWIO"), "iopl ioperm"),
    allow(When::Granted("CAP_SYS_TIME"), "settimeofday stime clock_settime clock_settime64"),
    allow(When::Granted("CAP_SYS_TTY_CONFIG"), "vhangup"),
    allow(When::Granted("CAP_SYS_NICE"), "get_mempolicy mbind set_mempolicy set_mempolicy_home_node"),
    allow(When::Granted("CAP_SYSLOG"), "syslog"),
    allow(When::Granted("CAP_BPF"), "bpf"),
    allow(When::Granted("CAP_PERFMON"), "perf_event_open"),
];

/// What every container may call.
const ALWAYS: &str = "
    accept accept4 access adjtimex alarm bind brk cachestat capget capset chdir chmod chown chown32
    clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64
    clock_nanosleep clock_nanosleep_time64 close close_range connect copy_file_range creat dup dup2
    dup3 epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait
    epoll_wait_old eventfd eventfd2 execve execveat exit exit_group faccessat faccessat2 fadvise64
    fadvise64_64 fallocate fanotify_mark fchdir fchmod fchmodat fchmodat2 fchown fchown32 fchownat
    fcntl fcntl64 fdatasync fgetxattr flistxattr flock fork fremovexattr fsetxattr fstat fstat64
    fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64 futex futex_requeue futex_time64
    futex_wait futex_waitv futex_wake futimesat getcpu getcwd getdents getdents64 getegid getegid32
    geteuid geteuid32 getgid getgid32 getgroups getgroups32 getitimer getpeername getpgid getpgrp
    getpid getppid getpriority getrandom getresgid getresgid32 getresuid getresuid32 getrlimit
    get_robust_list getrusage getsid getsockname getsockopt get_thread_area gettid gettimeofday
    getuid getuid32 getxattr getxattrat inotify_add_watch inotify_init inotify_init1
    inotify_rm_watch io_cancel ioctl io_destroy io_getevents io_pgetevents io_pgetevents_time64
    ioprio_get ioprio_set io_setup io_submit ipc kill landlock_add_rule landlock_create_ruleset
    landlock_restrict_self lchown lchown32 lgetxattr link linkat listen listmount listxattr
    listxattrat llistxattr _llseek lremovexattr lseek lsetxattr lstat lstat64 madvise
    map_shadow_stack membarrier memfd_create memfd_secret mincore mkdir mkdirat mknod mknodat mlock
    mlock2 mlockall mmap mmap2 mprotect mq_getsetattr mq_notify mq_open mq_timedreceive
    mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 mq_unlink mremap mseal msgctl msgget
    msgrcv msgsnd msync munlock munlockall munmap name_to_handle_at nanosleep newfstatat _newselect
    open openat openat2 pause pidfd_open pidfd_send_signal pipe pipe2 pkey_alloc pkey_free
    pkey_mprotect poll ppoll ppoll_time64 prctl pread64 preadv preadv2 prlimit64 process_mrelease
    pselect6 pselect6_time64 pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv recv
    recvfrom recvmmsg recvmmsg_time64 recvmsg remap_file_pages removexattr removexattrat rename
    renameat renameat2 restart_syscall rmdir rseq rt_sigaction rt_sigpending rt_sigprocmask
    rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64
    rt_tgsigqueueinfo sched_getaffinity sched_getattr sched_getparam sched_get_priority_max
    sched_get_priority_min sched_getscheduler sched_rr_get_interval sched_rr_get_interval_time64
    sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield seccomp select
    semctl semget semop semtimedop semtimedop_time64 send sendfile sendfile64 sendmmsg sendmsg
    sendto setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups setgroups32 setitimer
    setpgid setpriority setregid setregid32 setresgid setresgid32 setresuid setresuid32 setreuid
    setreuid32 setrlimit set_robust_list setsid setsockopt set_thread_area set_tid_address setuid
    setuid32 setxattr setxattrat shmat shmctl shmdt shmget shutdown sigaltstack signalfd signalfd4
    sigprocmask sigreturn socketcall socketpair splice stat stat64 statfs statfs64 statmount statx
    symlink symlinkat sync sync_file_range syncfs sysinfo tee tgkill time timer_create timer_delete
    timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64 timerfd_create
    timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64 times tkill truncate
    truncate64 ugetrlimit umask uname unlink unlinkat uretprobe utime utimensat utimensat_time64
    utimes vfork vmsplice wait4 waitid waitpid write writev
";

/// Docker's default profile for a container that is granted `capabilities` (`CAP_SYS_ADMIN`, …).
#[must_use]
pub fn default_profile<S: AsRef<str>>(
    capabilities: &[S],
    arch: Arch,
    kernel: KernelVersion,
) -> Seccomp {
    let granted = |name: &str| capabilities.iter().any(|one| one.as_ref() == name);
    let syscalls = RULES
        .iter()
        .filter(|rule| match rule.when {
            When::Always => true,
            When::Granted(capability) => granted(capability),
            When::Denied(capability) => !granted(capability),
            When::On(wanted) => wanted == arch,
            When::Since(version) => kernel >= version,
        })
        .map(Rule::document)
        .collect();
    let architectures: &[&str] = match arch {
        Arch::X86_64 => &["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        Arch::Aarch64 => &["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"],
    };
    Seccomp {
        default_action: "SCMP_ACT_ERRNO".to_owned(),
        default_errno_ret: Some(EPERM),
        architectures: architectures.iter().map(|&name| name.to_owned()).collect(),
        syscalls,
        ..Seccomp::default()
    }
}

impl Rule {
    fn document(&self) -> SeccompSyscall {
        let action = match self.errno {
            None => "SCMP_ACT_ALLOW",
            Some(_) => "SCMP_ACT_ERRNO",
        };
        SeccompSyscall {
            names: self
                .calls
                .split_ascii_whitespace()
                .map(str::to_owned)
                .collect(),
            action: action.to_owned(),
            errno_ret: self.errno,
            args: self
                .condition
                .iter()
                .map(|&(index, op, value, value_two)| SeccompArg {
                    index,
                    value,
                    value_two,
                    op: op.to_owned(),
                })
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests;
