//! Device nodes and links of `/dev`.

use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Gid, Mode, Uid, makedev};
use rustix::io::Errno;
use wharf_oci::runtime::{Device, NamespaceKind};
use wharf_sys::rooted::{self, Make};

use super::{Builder, attach};
use crate::error::ProcessError;
use crate::process::{setup, step};

/// Devices every container has (`config-linux.md`, "Default Devices"): name and minor number, of major number 1
/// but for the terminal.
pub(crate) const DEFAULT: [(&str, u32, u32); 6] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];

/// Links every container has (`config-linux.md`, "Default symbolic links").
const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

impl Builder<'_> {
    /// Makes the devices and links.
    pub(super) fn devices(&self) -> Result<(), ProcessError> {
        if self.namespaces.has(NamespaceKind::User) {
            self.bind_devices()?;
        } else {
            self.make_devices()?;
        }
        self.links()
    }

    fn make_devices(&self) -> Result<(), ProcessError> {
        let dev = self.dev()?;
        for (name, major, minor) in DEFAULT {
            if self
                .linux
                .devices
                .iter()
                .any(|device| device.path == Path::new("/dev").join(name))
            {
                continue;
            }
            let mode = Mode::from_raw_mode(0o666);
            let made = make_node(
                dev.as_fd(),
                Path::new(name).as_os_str(),
                FileType::CharacterDevice,
                mode,
                makedev(major, minor),
            );
            made.map_err(|errno| step(&format!("make /dev/{name}"))(errno))?;
        }
        for device in &self.linux.devices {
            self.make_device(device)?;
        }
        Ok(())
    }

    fn make_device(&self, device: &Device) -> Result<(), ProcessError> {
        let what = format!("make the device {}", device.path.display());
        let (parent, name) = setup(&what, rooted::open_parent(self.root(), &device.path))?;
        let kind = kind(device)?;
        let number = |number: i64| {
            u32::try_from(number)
                .map_err(|_| ProcessError::Refused(format!("{what}: {number} is no device number")))
        };
        let rdev = match kind {
            FileType::Fifo => 0,
            _ => makedev(number(device.major)?, number(device.minor)?),
        };
        let mode = Mode::from_raw_mode(device.file_mode.unwrap_or(0o666) & 0o7777);
        make_node(parent.as_fd(), &name, kind, mode, rdev).map_err(step(&what))?;
        let (uid, gid) = (device.uid.unwrap_or(0), device.gid.unwrap_or(0));
        if uid != 0 || gid != 0 {
            let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
            let flags = AtFlags::SYMLINK_NOFOLLOW;
            rustix::fs::chownat(&parent, &name, Some(uid), Some(gid), flags)
                .map_err(step(&what))?;
        }
        Ok(())
    }

    /// In a user namespace nodes cannot be made; the host's are mounted instead.
    fn bind_devices(&self) -> Result<(), ProcessError> {
        for (path, tree) in &self.prepared.device_trees {
            let what = format!("mount the device {}", path.display());
            let make = Make::File(Mode::from_raw_mode(0o666));
            let target = setup(&what, rooted::open_or_make(self.root(), path, make))?;
            attach(tree.as_fd(), target.as_fd()).map_err(step(&what))?;
        }
        Ok(())
    }

    fn links(&self) -> Result<(), ProcessError> {
        let dev = self.dev()?;
        for (name, target) in LINKS {
            let what = format!("link /dev/{name}");
            if name == "ptmx" {
                // A node of the image's would belong to the host's devpts.
                match rustix::fs::unlinkat(&dev, name, AtFlags::empty()) {
                    Ok(()) | Err(Errno::NOENT) => {}
                    Err(errno) => return Err(step(&what)(errno)),
                }
            }
            match rustix::fs::symlinkat(target, &dev, name) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(step(&what)(errno)),
            }
        }
        if rustix::fs::stat("/proc/kcore").is_ok() {
            match rustix::fs::symlinkat("/proc/kcore", &dev, "core") {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(step("link /dev/core")(errno)),
            }
        }
        Ok(())
    }

    /// The container's `/dev`, links of the image followed inside the root (CVE-2026-41579).
    fn dev(&self) -> Result<std::os::fd::OwnedFd, ProcessError> {
        let make = Make::Directory(Mode::from_raw_mode(0o755));
        setup(
            "open /dev",
            rooted::open_or_make(self.root(), Path::new("/dev"), make),
        )
    }
}

fn kind(device: &Device) -> Result<FileType, ProcessError> {
    match device.kind.as_str() {
        "c" | "u" => Ok(FileType::CharacterDevice),
        "b" => Ok(FileType::BlockDevice),
        "p" => Ok(FileType::Fifo),
        other => Err(ProcessError::Refused(format!(
            "device {}: no such type {other:?}",
            device.path.display()
        ))),
    }
}

/// Makes a node. One that is there already is good enough when it is the same device, and an
/// error when the image has put something else in its place.
fn make_node(
    parent: std::os::fd::BorrowedFd<'_>,
    name: &std::ffi::OsStr,
    kind: FileType,
    mode: Mode,
    rdev: u64,
) -> Result<(), Errno> {
    match rustix::fs::mknodat(parent, name, kind, mode, rdev) {
        Err(Errno::EXIST) => {}
        result => return result,
    }
    let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
    if FileType::from_raw_mode(stat.st_mode) == kind
        && (kind == FileType::Fifo || stat.st_rdev == rdev)
    {
        Ok(())
    } else {
        Err(Errno::EXIST)
    }
}
