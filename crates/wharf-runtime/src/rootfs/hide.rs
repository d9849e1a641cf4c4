//! Masked and read-only paths.
//!
//! A file is masked by the host's `/dev/null`, checked to be that device: the one in the container's `/dev`
//! may be a link that sends the mount elsewhere (CVE-2025-31133). A directory is masked by an empty
//! read-only tmpfs, one for all of them.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, makedev};
use rustix::mount::MountAttrFlags;
use wharf_sys::mount::{AttributeChange, set_attributes};
use wharf_sys::rooted;

use super::{Builder, attach, clone_tree, mounts};
use crate::error::ProcessError;
use crate::process::{setup, step};

impl Builder<'_> {
    /// Protects what is to be read-only, then masks what is to be hidden.
    pub(super) fn hide(&self) -> Result<(), ProcessError> {
        for path in &self.linux.readonly_paths {
            if let Some(target) = self.find(path)? {
                self.protect(path, &target)?;
            }
        }
        let mut null = None;
        let mut empty = None;
        for path in &self.linux.masked_paths {
            let Some(target) = self.find(path)? else {
                continue;
            };
            let what = format!("mask {}", path.display());
            let stat = rustix::fs::fstat(&target).map_err(step(&what))?;
            let mask = if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                empty_directory(&mut empty, &what)?
            } else {
                null_device(&mut null)?
            };
            attach(mask.as_fd(), target.as_fd()).map_err(step(&what))?;
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory && empty.is_none() {
                empty = Some(mask);
            }
        }
        Ok(())
    }

    /// What a path of the configuration names in the container; nothing is fine.
    fn find(&self, path: &Path) -> Result<Option<OwnedFd>, ProcessError> {
        match rooted::open(self.root(), path, OFlags::PATH) {
            Ok(target) => Ok(Some(target)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => setup(&format!("find {}", path.display()), Err(error)),
        }
    }

    fn protect(&self, path: &Path, target: &OwnedFd) -> Result<(), ProcessError> {
        let what = format!("make {} read-only", path.display());
        let tree = clone_tree(target.as_fd(), true).map_err(step(&what))?;
        let change = AttributeChange {
            set: MountAttrFlags::MOUNT_ATTR_RDONLY,
            recursive: true,
            ..AttributeChange::default()
        };
        setup(&what, set_attributes(tree.as_fd(), &change))?;
        attach(tree.as_fd(), target.as_fd()).map_err(step(&what))
    }
}

/// A detached mount of the null device; the device is opened once.
fn null_device(null: &mut Option<OwnedFd>) -> Result<OwnedFd, ProcessError> {
    let device = match null.take() {
        Some(device) => device,
        None => {
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            rustix::fs::open("/dev/null", flags, Mode::empty()).map_err(step("open /dev/null"))?
        }
    };
    let mount = clone_tree(device.as_fd(), false).map_err(step("clone /dev/null"))?;
    let stat = rustix::fs::fstat(&mount).map_err(step("stat /dev/null"))?;
    let is_device = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice;
    if !is_device || stat.st_rdev != makedev(1, 3) {
        return Err(ProcessError::Refused(
            "/dev/null is not the null device".into(),
        ));
    }
    *null = Some(device);
    Ok(mount)
}

/// A detached mount of the empty directory; after the first, copies of it.
fn empty_directory(empty: &mut Option<OwnedFd>, what: &str) -> Result<OwnedFd, ProcessError> {
    if let Some(first) = empty {
        return clone_tree(first.as_fd(), false).map_err(step(what));
    }
    let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY;
    mounts::make_file_system("tmpfs", "tmpfs", &[], attributes).map_err(|failed| failed.of(what))
}
