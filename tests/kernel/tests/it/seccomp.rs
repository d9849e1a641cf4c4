//! A filter is a thread's own until it is inherited, so each test installs its filter in a thread
//! that ends with it.

use std::io;
use std::os::fd::OwnedFd;
use std::thread;

use rustix::io::Errno;
use rustix::thread::LinkNameSpaceType;
use wharf_oci::runtime::{Seccomp, SeccompSyscall};
use wharf_seccomp::{Arch, KernelVersion, compile, default_profile};

/// Runs `calls` on a thread under the filter.
fn under<T: Send>(
    document: &Seccomp,
    calls: impl FnOnce(io::Result<Option<OwnedFd>>) -> T + Send,
) -> T {
    let program = compile(document, Arch::native()).unwrap();
    thread::scope(|scope| {
        scope
            .spawn(|| {
                rustix::thread::set_no_new_privs(true).unwrap();
                calls(program.install())
            })
            .join()
            .unwrap()
    })
}

fn errno(name: &str, number: u32) -> SeccompSyscall {
    SeccompSyscall {
        names: vec![name.to_owned()],
        action: "SCMP_ACT_ERRNO".to_owned(),
        errno_ret: Some(number),
        args: Vec::new(),
    }
}

#[test]
fn default_profile_denies_namespaces_and_allows_files() {
    const NOTHING: &[&str] = &[];
    let document = default_profile(NOTHING, Arch::native(), KernelVersion::running());
    under(&document, |installed| {
        assert!(installed.unwrap().is_none());
        std::fs::read("/proc/self/stat").unwrap();
        let hostname = rustix::system::sethostname(b"refused");
        assert_eq!(hostname, Err(Errno::PERM));
        let vsock = rustix::net::socket(
            rustix::net::AddressFamily::from_raw(40),
            rustix::net::SocketType::STREAM,
            None,
        );
        assert_eq!(vsock.unwrap_err(), Errno::PERM);
        let file = std::fs::File::open("/proc/self/ns/net").unwrap();
        let joined = rustix::thread::move_into_link_name_space(
            std::os::fd::AsFd::as_fd(&file),
            Some(LinkNameSpaceType::Network),
        );
        assert_eq!(joined, Err(Errno::PERM));
        thread::spawn(|| ()).join().unwrap();
    });
}

#[test]
fn rule_sets_the_error_number() {
    let document = Seccomp {
        default_action: "SCMP_ACT_ALLOW".to_owned(),
        syscalls: vec![errno("sethostname", 71)],
        ..Seccomp::default()
    };
    under(&document, |installed| {
        assert!(installed.unwrap().is_none());
        assert_eq!(rustix::system::sethostname(b"x"), Err(Errno::PROTO));
    });
}

#[test]
fn notifying_rule_gives_a_listener() {
    let document = Seccomp {
        default_action: "SCMP_ACT_ALLOW".to_owned(),
        syscalls: vec![SeccompSyscall {
            action: "SCMP_ACT_NOTIFY".to_owned(),
            errno_ret: None,
            ..errno("sethostname", 0)
        }],
        ..Seccomp::default()
    };
    under(&document, |installed| {
        let listener = installed.unwrap().expect("a listener");
        // Nobody answers any more: the kernel fails the call instead of waiting for ever.
        drop(listener);
        assert_eq!(rustix::system::sethostname(b"x"), Err(Errno::NOSYS));
    });
}

#[test]
fn kernel_flags_are_probed() {
    use wharf_sys::seccomp::{FilterFlags, supports};
    assert!(supports(FilterFlags::TSYNC));
    assert!(supports(FilterFlags::LOG));
    assert!(!supports(FilterFlags(1 << 30)));
}
