use super::*;
use crate::interpreter::{Call, run};
use crate::{Program, compile};

const NOTHING: &[&str] = &[];
const KERNEL: KernelVersion = KernelVersion {
    major: 6,
    minor: 18,
};
const X86_64: u32 = 0xc000_003e;
const I386: u32 = 0x4000_0003;
const ALLOW: u32 = 0x7fff_0000;
const DENY: u32 = 0x0005_0001;
const UNKNOWN: u32 = 0x0005_0026;

fn profile(capabilities: &[&str]) -> Program {
    compile(
        &default_profile(capabilities, Arch::X86_64, KERNEL),
        Arch::X86_64,
    )
    .unwrap()
}

fn verdict(program: &Program, arch: u32, number: u32, first: u64) -> u32 {
    let args = [first, 0, 0, 0, 0, 0];
    run(program.instructions(), &Call { arch, number, args })
}

fn number(name: &str) -> u32 {
    crate::arch::Abi::X86_64.number(name).unwrap()
}

#[test]
fn arguments_decide_where_docker_says_so() {
    let program = profile(NOTHING);
    for (call, first, expected) in [
        ("socket", 1, ALLOW),
        ("socket", 2, ALLOW),
        ("socket", 16, ALLOW),
        ("socket", 38, DENY),
        ("socket", 39, ALLOW),
        ("socket", 40, DENY),
        ("socket", 41, ALLOW),
        ("personality", 0, ALLOW),
        ("personality", 8, ALLOW),
        ("personality", 0x2_0000, ALLOW),
        ("personality", 0x2_0008, ALLOW),
        ("personality", 0xffff_ffff, ALLOW),
        ("personality", 0x004_0000, DENY),
        ("clone", 0x0100_0011, ALLOW),
        ("clone", 0x1000_0011, DENY),
        ("clone", 0x0002_0011, DENY),
        ("clone3", 0, UNKNOWN),
        ("unshare", 0x1000_0000, DENY),
        ("mount", 0, DENY),
        ("keyctl", 0, DENY),
        ("io_uring_setup", 0, DENY),
        ("ptrace", 0, ALLOW),
        ("read", 0, ALLOW),
        ("statmount", 0, ALLOW),
    ] {
        let found = verdict(&program, X86_64, number(call), first);
        assert_eq!(found, expected, "{call}({first:#x})");
    }
    assert_eq!(verdict(&program, X86_64, 500, 0), UNKNOWN);
    assert_eq!(verdict(&program, X86_64, 0x4000_0000, 0), ALLOW, "x32 read");
    assert_eq!(verdict(&program, I386, 3, 0), ALLOW, "i386 read");
    assert_eq!(verdict(&program, I386, 21, 0), DENY, "i386 mount");
}

#[test]
fn capabilities_open_their_calls() {
    for (capability, call) in [
        ("CAP_SYS_ADMIN", "mount"),
        ("CAP_SYS_ADMIN", "clone3"),
        ("CAP_SYS_ADMIN", "setns"),
        ("CAP_DAC_READ_SEARCH", "open_by_handle_at"),
        ("CAP_SYS_BOOT", "reboot"),
        ("CAP_SYS_CHROOT", "chroot"),
        ("CAP_SYS_MODULE", "finit_module"),
        ("CAP_SYS_PACCT", "acct"),
        ("CAP_SYS_PTRACE", "pidfd_getfd"),
        ("CAP_SYS_RAWIO", "iopl"),
        ("CAP_SYS_TIME", "clock_settime"),
        ("CAP_SYS_TTY_CONFIG", "vhangup"),
        ("CAP_SYS_NICE", "mbind"),
        ("CAP_SYSLOG", "syslog"),
        ("CAP_BPF", "bpf"),
        ("CAP_PERFMON", "perf_event_open"),
    ] {
        let call_number = number(call);
        assert_ne!(
            verdict(&profile(NOTHING), X86_64, call_number, 0),
            ALLOW,
            "{call}"
        );
        let program = profile(&[capability]);
        assert_eq!(
            verdict(&program, X86_64, call_number, 0),
            ALLOW,
            "{capability} {call}"
        );
    }
}

#[test]
fn tracing_needs_a_kernel_that_checks_again() {
    let old = KernelVersion { major: 4, minor: 7 };
    let document = default_profile(NOTHING, Arch::X86_64, old);
    let program = compile(&document, Arch::X86_64).unwrap();
    assert_eq!(verdict(&program, X86_64, number("ptrace"), 0), DENY);
}

/// The kernel runs the filter once a call number at installation: its length is start time.
#[test]
fn program_is_short() {
    let length = profile(NOTHING).instructions().len();
    assert!(length < 420, "{length} instructions");
}

#[test]
fn names_of_calls_are_known_somewhere() {
    use crate::arch::Abi;
    // Calls of architectures this crate has no table of, or that none has any more.
    let document = default_profile(&["CAP_SYS_ADMIN"], Arch::X86_64, KERNEL);
    for name in document.syscalls.iter().flat_map(|rule| &rule.names) {
        let known = [Abi::X86_64, Abi::X86, Abi::Arm, Abi::Aarch64]
            .iter()
            .any(|abi| abi.number(name).is_some());
        assert!(known, "{name}");
    }
}

#[test]
fn versions_are_read_from_releases() {
    for (release, expected) in [
        ("6.18.44-fc-v669", Ok((6, 18))),
        ("4.8-rc3", Ok((4, 8))),
        ("linux", Err(())),
    ] {
        let found = KernelVersion::parse(release)
            .map(|version| (version.major, version.minor))
            .map_err(|_| ());
        assert_eq!(found, expected, "{release}");
    }
}
