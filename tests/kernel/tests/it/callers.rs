//! Engines of others that run their containers on our runtime.
//!
//! `WHARF_TEST_RUNTIME=/usr/sbin/runc` runs the same tests on another runtime: what fails there too
//! is the engine's doing.

mod dockerd;
mod podman;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::Signal;
use wharf_tests_system::{binary, command, image};

/// A directory for one test, removed after it.
struct Place {
    root: PathBuf,
    name: String,
}

impl Place {
    fn new(kind: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        // Sockets in it have names of at most 108 bytes.
        let name = format!("wt-{kind}-{}-{next}", std::process::id());
        let root = std::env::temp_dir().join(&name);
        fs::create_dir_all(&root).unwrap();
        Self { root, name }
    }

    fn join(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// The runtime's program: callers give no first argument, the program's name says what it is.
    fn runtime(&self) -> PathBuf {
        if let Some(other) = std::env::var_os("WHARF_TEST_RUNTIME") {
            return other.into();
        }
        let link = self.join("wharf-runtime");
        symlink(binary::wharf(), &link).unwrap();
        link
    }

    /// A root file system of busybox.
    fn busybox(&self) -> PathBuf {
        let root = self.join("rootfs");
        fs::create_dir(&root).unwrap();
        let mut tar = Command::new("tar");
        tar.arg("-xf").arg(image::busybox()).arg("-C").arg(&root);
        command::run(tar, b"").succeeded();
        root
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let removed = fs::remove_dir_all(&self.root);
        if !std::thread::panicking() {
            removed.unwrap();
        }
    }
}

/// Asserts that nothing of a caller's is left among the control groups.
fn assert_no_cgroups(name: &str) {
    let hierarchies = wharf_cgroup::Hierarchies::detect().unwrap();
    for controller in ["cpu", "memory", "pids"] {
        let dir = hierarchies.dir(controller, Path::new(name)).unwrap();
        let left: Vec<PathBuf> = match fs::read_dir(&dir) {
            Ok(entries) => entries
                .filter_map(Result::ok)
                // podman's monitors are in one of podman's own.
                .filter(|entry| entry.path().is_dir() && entry.file_name() != "conmon")
                .map(|entry| entry.path())
                .collect(),
            Err(_) => Vec::new(),
        };
        assert_eq!(left, Vec::<PathBuf>::new());
    }
}

/// Ends what runs in a caller's parent group, without asking the caller, and removes the group.
fn clear_cgroup(name: &str) {
    let hierarchies = wharf_cgroup::Hierarchies::detect().unwrap();
    if let Ok(group) = wharf_cgroup::Cgroup::open(&hierarchies, Path::new(name)) {
        group.kill_all(Signal::KILL).unwrap();
        group.remove().unwrap();
    }
}
