//! AppArmor profile and SELinux label, which the kernel applies at the next `execve`.
//!
//! They are written to a file of the process in `/proc`. A container may have mounted something else there, to
//! have the write ignored or sent elsewhere (CVE-2019-16884, CVE-2025-52881), so the file is opened in
//! the host's `/proc` before the container's mount namespace is entered, and checked to be procfs.

use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags, PROC_SUPER_MAGIC};
use wharf_oci::runtime::Process;

use crate::error::{ProcessError, SpecError};
use crate::process::step;

/// A label for the program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Label {
    AppArmor(String),
    SeLinux(String),
}

impl Label {
    /// The label of a process; the kernel has at most one of the two systems.
    pub(crate) fn of(process: &Process) -> Result<Option<Self>, SpecError> {
        let given = |label: &Option<String>| label.clone().filter(|label| !label.is_empty());
        match (
            given(&process.apparmor_profile),
            given(&process.selinux_label),
        ) {
            (Some(_), None) if !app_armor_is_on() => Err(SpecError::Unsupported(
                "process.apparmorProfile on a kernel without AppArmor",
            )),
            (None, Some(_)) if !selinux_is_on() => Err(SpecError::Unsupported(
                "process.selinuxLabel on a kernel without SELinux",
            )),
            (Some(profile), None) => Ok(Some(Self::AppArmor(profile))),
            (None, Some(label)) => Ok(Some(Self::SeLinux(label))),
            (None, None) => Ok(None),
            (Some(_), Some(_)) => Err(SpecError::Unsupported(
                "an AppArmor profile beside an SELinux label",
            )),
        }
    }

    /// Opens the file the label goes to.
    pub(crate) fn open(&self) -> Result<OwnedFd, ProcessError> {
        let paths: &[&str] = match self {
            Self::AppArmor(_) => &["/proc/self/attr/apparmor/exec", "/proc/self/attr/exec"],
            Self::SeLinux(_) => &["/proc/self/attr/exec"],
        };
        let open =
            |path: &&str| rustix::fs::open(*path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty());
        let mut result = Err(rustix::io::Errno::NOENT);
        for path in paths {
            result = open(path);
            if result.is_ok() {
                break;
            }
        }
        let file = result.map_err(step("open /proc/self/attr/exec"))?;
        let statfs = rustix::fs::fstatfs(&file).map_err(step("check /proc/self/attr/exec"))?;
        if statfs.f_type != PROC_SUPER_MAGIC {
            return Err(ProcessError::Refused(
                "/proc/self/attr/exec is not on procfs".into(),
            ));
        }
        Ok(file)
    }

    /// Has the label applied at the next `execve`.
    pub(crate) fn write(&self, file: &OwnedFd) -> Result<(), ProcessError> {
        let (text, what) = match self {
            Self::AppArmor(profile) => (format!("exec {profile}"), "apply the AppArmor profile"),
            Self::SeLinux(label) => (label.clone(), "apply the SELinux label"),
        };
        rustix::io::write(file, text.as_bytes()).map_err(step(what))?;
        Ok(())
    }
}

/// Whether AppArmor is on.
pub(crate) fn app_armor_is_on() -> bool {
    std::fs::read("/sys/module/apparmor/parameters/enabled")
        .is_ok_and(|text| text.starts_with(b"Y"))
}

/// Whether SELinux is on.
pub(crate) fn selinux_is_on() -> bool {
    std::path::Path::new("/sys/fs/selinux/enforce").exists()
}
