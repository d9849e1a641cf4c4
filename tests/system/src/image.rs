//! Root file systems made from Debian's packages, once per machine.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{FlockOperation, flock};

use crate::needs::program;

/// The suite that images are made of.
const SUITE: &str = "bookworm";

/// Where the archives are kept: `$WHARF_TEST_CACHE`, `$XDG_CACHE_HOME/wharf-tests` or
/// `/var/cache/wharf-tests`.
fn cache() -> PathBuf {
    let directory = std::env::var_os("WHARF_TEST_CACHE")
        .map(PathBuf::from)
        .or_else(|| {
            std::env::var_os("XDG_CACHE_HOME").map(|home| PathBuf::from(home).join("wharf-tests"))
        });
    let directory = directory.unwrap_or_else(|| PathBuf::from("/var/cache/wharf-tests"));
    std::fs::create_dir_all(&directory).expect("the cache directory can be made");
    directory
}

/// Returns the cached file `name`, made by `make` if it is not there; one process makes it, the
/// others wait.
fn cached(name: &str, make: impl FnOnce(&Path)) -> PathBuf {
    let directory = cache();
    let path = directory.join(name);
    let lock = File::create(directory.join(format!("{name}.lock"))).expect("the cache is writable");
    flock(&lock, FlockOperation::LockExclusive).expect("nobody interrupts");
    if !path.exists() {
        let partial = directory.join(format!("partial-{name}"));
        make(&partial);
        std::fs::rename(&partial, &path).expect("both names are in the cache");
    }
    path
}

/// An archive of busybox and nothing else: 2 MB.
#[must_use]
pub fn busybox() -> PathBuf {
    cached("busybox.tar", |path| {
        let file = File::create(path).expect("the cache is writable");
        write_busybox(file).expect("busybox-static is installed");
    })
}

/// An archive of Debian with what the scenarios call.
#[must_use]
pub fn debian() -> PathBuf {
    debian_with("debian", &["procps", "iproute2"])
}

/// An archive of Debian with packages.
#[must_use]
pub fn debian_with(name: &str, packages: &[&str]) -> PathBuf {
    cached(&format!("{name}-{SUITE}.tar"), |path| {
        let made = Command::new("mmdebstrap")
            .args(["--quiet", "--variant=minbase", "--format=tar"])
            .arg(format!("--include={}", packages.join(",")))
            .args([SUITE.as_ref(), path.as_os_str()])
            .output()
            .expect("mmdebstrap is installed");
        assert!(
            made.status.success(),
            "mmdebstrap: {}",
            String::from_utf8_lossy(&made.stderr)
        );
    })
}

fn write_busybox(file: File) -> std::io::Result<()> {
    let binary = program("busybox").ok_or(std::io::ErrorKind::NotFound)?;
    let applets = Command::new(&binary).arg("--list").output()?;
    let mut archive = Archive::new(file);
    for directory in [
        "bin", "dev", "etc", "home", "proc", "root", "sys", "usr", "var",
    ] {
        archive.directory(directory, 0o755)?;
    }
    archive.directory("tmp", 0o1777)?;
    archive.file("bin/busybox", 0o755, &std::fs::read(binary)?)?;
    for applet in String::from_utf8_lossy(&applets.stdout)
        .lines()
        .filter(|a| *a != "busybox")
    {
        archive.symlink(&format!("bin/{applet}"), "/bin/busybox")?;
    }
    let passwd = "root:x:0:0:root:/root:/bin/sh\nwww:x:33:33:www:/var/www:/bin/sh\n";
    archive.file("etc/passwd", 0o644, passwd.as_bytes())?;
    archive.file(
        "etc/group",
        0o644,
        b"root:x:0:\nwww:x:33:\nextra:x:1234:www\n",
    )?;
    archive.finish()?.flush()
}

/// An archive under construction, for images that no tool would make.
pub struct Archive<W: std::io::Write> {
    builder: tar::Builder<W>,
}

impl<W: std::io::Write> std::fmt::Debug for Archive<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Archive").finish_non_exhaustive()
    }
}

impl<W: std::io::Write> Archive<W> {
    /// Starts an archive.
    pub fn new(writer: W) -> Self {
        Self {
            builder: tar::Builder::new(writer),
        }
    }

    /// Adds an entry with its name taken as it is, `..` and all.
    ///
    /// # Errors
    /// Returns the writer's error.
    pub fn raw(
        &mut self,
        name: &str,
        kind: tar::EntryType,
        mode: u32,
        link: &str,
        content: &[u8],
    ) -> std::io::Result<()> {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(u64::try_from(content.len()).expect("files fit memory"));
        let old = header.as_old_mut();
        // Not set_path and set_link_name, which refuse what these tests are about.
        old.name[..name.len()].copy_from_slice(name.as_bytes());
        old.linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_cksum();
        self.builder.append(&header, content)
    }

    /// Adds a directory.
    ///
    /// # Errors
    /// As [`Self::raw`].
    pub fn directory(&mut self, name: &str, mode: u32) -> std::io::Result<()> {
        self.raw(name, tar::EntryType::Directory, mode, "", &[])
    }

    /// Adds a file.
    ///
    /// # Errors
    /// As [`Self::raw`].
    pub fn file(&mut self, name: &str, mode: u32, content: &[u8]) -> std::io::Result<()> {
        self.raw(name, tar::EntryType::Regular, mode, "", content)
    }

    /// Adds a symbolic link.
    ///
    /// # Errors
    /// As [`Self::raw`].
    pub fn symlink(&mut self, name: &str, target: &str) -> std::io::Result<()> {
        self.raw(name, tar::EntryType::Symlink, 0o777, target, &[])
    }

    /// Ends the archive.
    ///
    /// # Errors
    /// As [`Self::raw`].
    pub fn finish(self) -> std::io::Result<W> {
        self.builder.into_inner()
    }
}

/// The digest of some bytes as OCI writes it, for archives with, or without, the right ones.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    digest
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// A file system of busybox with more in it, or with other things under the names it has.
///
/// # Panics
/// Panics when the cached archive cannot be read.
#[must_use]
pub fn busybox_with(add: impl FnOnce(&mut Archive<Vec<u8>>) -> std::io::Result<()>) -> Vec<u8> {
    let mut added = Archive::new(Vec::new());
    add(&mut added).expect("memory takes everything");
    let added = added.finish().expect("memory takes everything");
    let file = File::open(busybox()).expect("the archive was just made");
    let mut archive = Archive::new(Vec::new());
    let mut replaced = std::collections::BTreeSet::new();
    let mut new = tar::Archive::new(added.as_slice());
    copy(&mut new, &mut archive, &mut replaced);
    let mut present = tar::Archive::new(file);
    copy(&mut present, &mut archive, &mut replaced);
    archive.finish().expect("memory takes everything")
}

/// Copies entries whose names are not `seen` yet.
fn copy(
    from: &mut tar::Archive<impl std::io::Read>,
    to: &mut Archive<Vec<u8>>,
    seen: &mut std::collections::BTreeSet<Vec<u8>>,
) {
    for entry in from.entries().expect("the archive is ours") {
        let entry = entry.expect("the archive is ours");
        if seen.insert(entry.path_bytes().into_owned()) {
            let header = entry.header().clone();
            to.builder
                .append(&header, entry)
                .expect("memory takes everything");
        }
    }
}
