//! Mounts of the configuration.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, PROC_SUPER_MAGIC};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen,
};
use wharf_sys::mount::{AttributeChange, set_attributes};
use wharf_sys::rooted::{self, Make};

use super::{Builder, attach, copy_up, is_dev};
use crate::error::ProcessError;
use crate::mounts::{MountKind, MountPlan};
use crate::prepare::PreparedMount;

/// fsconfig(2) takes values of up to 255 bytes.
const MAX_VALUE: usize = 255;

/// sysfs, which rustix has no name for.
const SYSFS_MAGIC: rustix::fs::FsWord = 0x6265_6572;

/// Files of procfs that a container may have replaced (by lxcfs, above all).
const REPLACEABLE_IN_PROC: [&str; 10] = [
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/net/dev",
    "/proc/slabinfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/uptime",
];

/// What went wrong in a mount, before it is known which.
pub(super) struct Failed {
    what: &'static str,
    errno: i32,
}

impl Failed {
    /// The failure as one of the step `what`.
    pub(super) fn of(&self, what: &str) -> ProcessError {
        ProcessError::Setup {
            step: format!("{what}: {}", self.what),
            errno: self.errno,
        }
    }
}

fn failed(what: &'static str) -> impl Fn(Errno) -> Failed {
    move |errno| Failed {
        what,
        errno: errno.raw_os_error(),
    }
}

fn io_failed(what: &'static str) -> impl Fn(std::io::Error) -> Failed {
    move |error| Failed {
        what,
        errno: error.raw_os_error().unwrap_or(Errno::IO.raw_os_error()),
    }
}

impl Builder<'_> {
    /// Mounts one of the configuration's mounts; the mount, where it is one that was made here.
    pub(super) fn mount(&self, mount: &PreparedMount) -> Result<Option<OwnedFd>, ProcessError> {
        check_destination(mount)?;
        let result = match &mount.plan.kind {
            MountKind::Cgroup => return self.mount_cgroups(&mount.plan).map(|()| None),
            MountKind::Bind { .. } => self.bind(mount).map(|()| None),
            MountKind::FileSystem { kind, source, data } => {
                self.file_system(mount, kind, source, data).map(Some)
            }
        };
        result.map_err(|failed| mount_error(&mount.plan, &failed))
    }

    fn bind(&self, mount: &PreparedMount) -> Result<(), Failed> {
        let tree = mount.tree.as_ref().ok_or(Failed {
            what: "find the source",
            errno: Errno::BADF.raw_os_error(),
        })?;
        let stat = rustix::fs::fstat(tree).map_err(failed("stat the source"))?;
        let mode = Mode::from_raw_mode(0o755);
        let make = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => Make::Directory(mode),
            _ => Make::File(mode),
        };
        let target = rooted::open_or_make(self.root(), &mount.plan.destination, make)
            .map_err(io_failed("make the mount point"))?;
        check_target(&mount.plan, target.as_fd())?;
        attach(tree.as_fd(), target.as_fd()).map_err(failed("attach"))
    }

    fn file_system(
        &self,
        mount: &PreparedMount,
        kind: &str,
        source: &str,
        data: &[(String, Option<String>)],
    ) -> Result<OwnedFd, Failed> {
        let plan = &mount.plan;
        let (target, existed) = self.directory(plan, kind)?;
        check_target(plan, target.as_fd())?;
        let mut data = data.to_vec();
        if kind == "tmpfs" && existed {
            // A tmpfs over a directory looks like that directory, unless said otherwise.
            let stat = rustix::fs::fstat(&target).map_err(failed("stat the mount point"))?;
            data.insert(
                0,
                (
                    "mode".to_owned(),
                    Some(format!("{:o}", stat.st_mode & 0o7777)),
                ),
            );
        }
        if data
            .iter()
            .any(|(_, value)| value.as_ref().is_some_and(|value| value.len() > MAX_VALUE))
        {
            return mount_by_data(plan, kind, source, &data, target.as_fd());
        }
        let mut attributes = plan.attributes.set;
        if is_dev(mount) || plan.copy_up {
            attributes -= MountAttrFlags::MOUNT_ATTR_RDONLY;
        }
        let made = make_file_system(kind, source, &data, attributes)?;
        for &(propagation, recursive) in &plan.propagation {
            let change = AttributeChange {
                propagation: Some(propagation),
                recursive,
                ..AttributeChange::default()
            };
            set_attributes(made.as_fd(), &change).map_err(io_failed("set the propagation"))?;
        }
        if plan.copy_up {
            copy_up::fill(target.as_fd(), made.as_fd()).map_err(failed("copy up"))?;
            if plan
                .attributes
                .set
                .contains(MountAttrFlags::MOUNT_ATTR_RDONLY)
            {
                let set = MountAttrFlags::MOUNT_ATTR_RDONLY;
                let change = AttributeChange {
                    set,
                    ..AttributeChange::default()
                };
                set_attributes(made.as_fd(), &change).map_err(io_failed("make read-only"))?;
            }
        }
        attach(made.as_fd(), target.as_fd()).map_err(failed("attach"))?;
        Ok(made)
    }

    /// The directory a file system is mounted on, and whether the image has it.
    fn directory(&self, plan: &MountPlan, kind: &str) -> Result<(OwnedFd, bool), Failed> {
        let make = Make::Directory(Mode::from_raw_mode(0o755));
        let path = &plan.destination;
        // An image whose /proc is a link would have another directory taken for procfs
        // (CVE-2023-27561): these two are mounted on real directories only.
        let plain = matches!(kind, "proc" | "sysfs");
        let open = |flags| match plain {
            true => rooted::open_without_links(self.root(), path, flags),
            false => rooted::open(self.root(), path, flags),
        };
        match open(OFlags::PATH | OFlags::DIRECTORY) {
            Ok(target) => Ok((target, true)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let target = rooted::open_or_make(self.root(), path, make);
                let target = target.map_err(io_failed("make the mount point"))?;
                if !plain {
                    return Ok((target, false));
                }
                let target = open(OFlags::PATH | OFlags::DIRECTORY);
                Ok((target.map_err(io_failed("open the mount point"))?, false))
            }
            Err(error) => Err(io_failed("open the mount point")(error)),
        }
    }
}

/// Makes a detached file system.
pub(super) fn make_file_system(
    kind: &str,
    source: &str,
    data: &[(String, Option<String>)],
    attributes: MountAttrFlags,
) -> Result<OwnedFd, Failed> {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC).map_err(failed("fsopen"))?;
    if !source.is_empty() {
        fsconfig_set_string(&context, "source", source).map_err(failed("set the source"))?;
    }
    for (name, value) in data {
        match value {
            Some(value) => fsconfig_set_string(&context, name, value),
            None => fsconfig_set_flag(&context, name),
        }
        .map_err(failed("set an option"))?;
    }
    fsconfig_create(&context).map_err(failed("make the file system"))?;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes).map_err(failed("fsmount"))
}

/// The old way, for values longer than fsconfig(2) takes. The target is named through the host's
/// `/proc`, which is still in place.
fn mount_by_data(
    plan: &MountPlan,
    kind: &str,
    source: &str,
    data: &[(String, Option<String>)],
    target: BorrowedFd<'_>,
) -> Result<OwnedFd, Failed> {
    let words: Vec<String> = data
        .iter()
        .map(|(name, value)| match value {
            Some(value) => format!("{name}={value}"),
            None => name.clone(),
        })
        .collect();
    let words = std::ffi::CString::new(words.join(",")).map_err(|_| Failed {
        what: "set an option",
        errno: Errno::INVAL.raw_os_error(),
    })?;
    let path = format!("/proc/self/fd/{}", target.as_raw_fd());
    rustix::mount::mount(
        source,
        path.as_str(),
        kind,
        MountFlags::empty(),
        words.as_c_str(),
    )
    .map_err(failed("mount"))?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let made = rustix::fs::open(path.as_str(), flags, Mode::empty()).map_err(failed("open"))?;
    let change = AttributeChange {
        set: plan.attributes.set,
        clear: plan.attributes.clear,
        ..AttributeChange::default()
    };
    set_attributes(made.as_fd(), &change).map_err(io_failed("set the attributes"))?;
    Ok(made)
}

/// Refuses destinations that would take the root, or the kernel's own trees, away from the
/// container: a volume over `/proc` or `/sys` makes every later check of them worthless.
fn check_destination(mount: &PreparedMount) -> Result<(), ProcessError> {
    let plan = &mount.plan;
    let mut components = plan.destination.components();
    components.next();
    let destination = components.as_path();
    if destination.as_os_str().is_empty()
        || destination
            .components()
            .any(|part| part == std::path::Component::ParentDir)
    {
        return Err(refused(plan, "is not inside the root"));
    }
    let (own, magic) = match destination.to_str() {
        Some("proc") => ("proc", PROC_SUPER_MAGIC),
        Some("sys") => ("sysfs", SYSFS_MAGIC),
        _ => return Ok(()),
    };
    let fits = match (&plan.kind, &mount.tree) {
        (MountKind::FileSystem { kind, .. }, _) => {
            kind == own || (own == "sysfs" && kind == "tmpfs")
        }
        (_, Some(tree)) => rustix::fs::fstatfs(tree).is_ok_and(|statfs| statfs.f_type == magic),
        _ => false,
    };
    if fits {
        Ok(())
    } else {
        Err(refused(plan, "is reserved for the kernel's file system"))
    }
}

/// Refuses to mount on what turned out to be inside of procfs, but for a few files.
fn check_target(plan: &MountPlan, target: BorrowedFd<'_>) -> Result<(), Failed> {
    let statfs = rustix::fs::fstatfs(target).map_err(failed("check the mount point"))?;
    let replaceable = || {
        let destination = plan.destination.to_str();
        destination.is_some_and(|destination| REPLACEABLE_IN_PROC.contains(&destination))
    };
    // procfs may be mounted over procfs, as with the host's process namespace.
    let is_proc_itself = plan
        .destination
        .components()
        .eq(Path::new("/proc").components());
    if statfs.f_type == PROC_SUPER_MAGIC && !is_proc_itself && !replaceable() {
        let what = "cannot be mounted because it is inside /proc";
        return Err(Failed {
            what,
            errno: Errno::PERM.raw_os_error(),
        });
    }
    Ok(())
}

fn refused(plan: &MountPlan, reason: &str) -> ProcessError {
    ProcessError::Refused(format!("mount destination {:?} {reason}", plan.destination))
}

pub(super) fn mount_error(plan: &MountPlan, failed: &Failed) -> ProcessError {
    ProcessError::Mount {
        source_path: plan.source_name(),
        destination: plan.destination.clone(),
        what: failed.what.to_owned(),
        errno: failed.errno,
    }
}
