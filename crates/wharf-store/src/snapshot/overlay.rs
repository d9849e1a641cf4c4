//! The kernel's overlay, mounted without a place in the mount table.
//!
//! By the new mount API, one `lowerdir+` a layer (Linux 6.5), so that the number of layers is
//! limited by the kernel alone (500). Before, all layers are one option of one page: `mount(2)`
//! with short names of descriptors (`/proc/self/fd/7`) on a private directory, whose mount is then
//! cloned off and removed; some 200 layers fit.
//!
//! Options are chosen, not inherited from the kernel's configuration, since images and `diff` must
//! mean the same everywhere: no `index` (a second look at a running snapshot would be refused), no
//! `metacopy` and no followed redirects (both are attributes on files, which a container with
//! privileges on the same disk could forge, and `diff` and `commit` read whole files).

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::AtFlags;
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, OpenTreeFlags, UnmountFlags,
};

use crate::files::{self, failed};
use crate::{PathError, SnapshotError};

/// Longest value of a mount option given as a string (`strndup_user` in `fsconfig`).
const OPTION_MAX: usize = 255;
/// All options of `mount(2)` are one page.
const PAGE: usize = 4096;
const OPTIONS: [(&str, &str); 3] = [
    ("index", "off"),
    ("metacopy", "off"),
    ("redirect_dir", "nofollow"),
];

/// How this kernel mounts overlays.
#[derive(Debug)]
pub(crate) struct Overlay {
    pub(super) api: Api,
    /// Where `mount(2)` mounts for a moment.
    pub(super) private: PathBuf,
}

/// The ways to mount one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Api {
    /// `fsopen` with `lowerdir+`.
    Layers,
    /// `mount(2)`.
    Page,
}

/// The writable side of a mount.
pub(super) struct Upper<'a> {
    pub(super) fs: &'a Path,
    pub(super) work: &'a Path,
    pub(super) volatile: bool,
}

impl Overlay {
    /// Tries a mount in the store's directory; the inner result is the kernel's refusal.
    pub(super) fn probe(root: &Path, apis: &[Api]) -> Result<Result<Self, io::Error>, PathError> {
        let probe = root.join("tmp/probe");
        let directories = ["lower", "fs", "work"].map(|name| probe.join(name));
        for directory in [&probe].into_iter().chain(&directories) {
            files::ensure_directory(directory)?;
        }
        let [lower, fs, work] = &directories;
        let upper = Upper {
            fs,
            work,
            volatile: false,
        };
        let mut tried = Err(io::Error::from(Errno::NODEV));
        for &api in apis {
            let overlay = Self {
                api,
                private: root.join("tmp"),
            };
            let mounted = overlay.mount(std::slice::from_ref(lower), Some(&upper), false);
            match mounted {
                Ok(_) => {
                    tried = Ok(overlay);
                    break;
                }
                Err(SnapshotError::Mount { source, .. }) => tried = Err(source),
                Err(SnapshotError::Path(error)) => return Err(error),
                Err(other) => tried = Err(io::Error::other(other)),
            }
        }
        let tmp = files::open_directory(&root.join("tmp"))?;
        crate::remove::remove_at(tmp.as_fd(), "probe".as_ref(), &probe)?;
        Ok(tried)
    }

    /// Mounts layers, top first, with or without a writable directory over them.
    pub(super) fn mount(
        &self,
        layers: &[PathBuf],
        upper: Option<&Upper<'_>>,
        readonly: bool,
    ) -> Result<OwnedFd, SnapshotError> {
        if let Some(upper) = upper.filter(|upper| upper.volatile) {
            forget_volatile(upper.work)?;
        }
        match self.api {
            Api::Layers => mount_layers(layers, upper, readonly),
            Api::Page => self.mount_page(layers, upper, readonly),
        }
    }

    /// Returns a read-only view of layers alone, top first; at least one.
    pub(crate) fn view(&self, layers: &[PathBuf]) -> Result<OwnedFd, SnapshotError> {
        match layers {
            // The kernel wants two where there is no upper directory.
            [only] => super::clone(only, true),
            layers => self.mount(layers, None, true),
        }
    }

    fn mount_page(
        &self,
        layers: &[PathBuf],
        upper: Option<&Upper<'_>>,
        readonly: bool,
    ) -> Result<OwnedFd, SnapshotError> {
        let opened = layers
            .iter()
            .map(|layer| files::open_directory(layer))
            .collect::<Result<Vec<_>, _>>()?;
        let names: Vec<String> = opened.iter().map(|fd| name(fd.as_fd())).collect();
        let mut options = format!("lowerdir={}", names.join(":"));
        let mut kept = Vec::new();
        if let Some(upper) = upper {
            let (fs, work) = (
                files::open_directory(upper.fs)?,
                files::open_directory(upper.work)?,
            );
            let (fs_name, work_name) = (name(fs.as_fd()), name(work.as_fd()));
            options.push_str(&format!(",upperdir={fs_name},workdir={work_name}"));
            if upper.volatile {
                options.push_str(",volatile");
            }
            kept.extend([fs, work]);
        }
        for (key, value) in OPTIONS {
            options.push_str(&format!(",{key}={value}"));
        }
        if options.len() >= PAGE {
            return Err(SnapshotError::TooManyLayers {
                layers: layers.len(),
            });
        }
        let options = CString::new(options).map_err(|error| SnapshotError::Mount {
            operation: "mount",
            source: error.into(),
        })?;
        self.mount_and_clone(&options, readonly)
    }

    /// Mounts by `mount(2)` where nobody looks, and takes the mount off again as a descriptor.
    fn mount_and_clone(&self, options: &CStr, readonly: bool) -> Result<OwnedFd, SnapshotError> {
        let mut flags = MountFlags::empty();
        flags.set(MountFlags::RDONLY, readonly);
        let private = PrivateMount::new(&self.private)?;
        let failed = |operation| {
            move |errno: Errno| SnapshotError::Mount {
                operation,
                source: errno.into(),
            }
        };
        rustix::mount::mount("overlay", &private.place, "overlay", flags, options)
            .map_err(failed("mount"))?;
        let mount = rustix::mount::open_tree(
            rustix::fs::CWD,
            &private.place,
            OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC,
        )
        .map_err(failed("open_tree"));
        rustix::mount::unmount(&private.place, UnmountFlags::DETACH).map_err(failed("umount"))?;
        mount
    }
}

/// A directory to mount on for a moment.
pub(super) struct PrivateMount {
    pub(super) place: PathBuf,
}

impl PrivateMount {
    pub(super) fn new(directory: &Path) -> Result<Self, PathError> {
        use std::sync::atomic::{AtomicU64, Ordering};
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let place = directory.join(format!("mount-{}-{number}", std::process::id()));
        files::make_directory(&place)?;
        Ok(Self { place })
    }
}

impl Drop for PrivateMount {
    fn drop(&mut self) {
        // Left behind, it is an empty directory in tmp/ that the next opening removes.
        drop(std::fs::remove_dir(&self.place));
    }
}

fn mount_layers(
    layers: &[PathBuf],
    upper: Option<&Upper<'_>>,
    readonly: bool,
) -> Result<OwnedFd, SnapshotError> {
    let failed = |operation| {
        move |errno: Errno| SnapshotError::Mount {
            operation,
            source: errno.into(),
        }
    };
    let context =
        rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).map_err(failed("fsopen"))?;
    // Directories whose paths are too long for an option go by descriptor, open until the mount.
    let mut kept = Vec::new();
    let mut set = |key: &str, path: &Path| -> Result<(), SnapshotError> {
        let value = if path.as_os_str().len() <= OPTION_MAX {
            path.to_owned()
        } else {
            let opened = files::open_directory(path)?;
            let path = files::proc_path(opened.as_fd());
            kept.push(opened);
            path
        };
        rustix::mount::fsconfig_set_string(context.as_fd(), key, &value)
            .map_err(|errno| failed("fsconfig")(errno))
    };
    // Tells at once whether this kernel has it.
    for layer in layers {
        set("lowerdir+", layer)?;
    }
    if let Some(upper) = upper {
        set("upperdir", upper.fs)?;
        set("workdir", upper.work)?;
    }
    for (key, value) in OPTIONS {
        rustix::mount::fsconfig_set_string(context.as_fd(), key, value)
            .map_err(failed("fsconfig"))?;
    }
    if upper.is_some_and(|upper| upper.volatile) {
        rustix::mount::fsconfig_set_flag(context.as_fd(), "volatile")
            .map_err(failed("fsconfig volatile"))?;
    }
    rustix::mount::fsconfig_create(context.as_fd()).map_err(failed("fsconfig create"))?;
    let mut attributes = MountAttrFlags::empty();
    attributes.set(MountAttrFlags::MOUNT_ATTR_RDONLY, readonly);
    rustix::mount::fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)
        .map_err(failed("fsmount"))
}

/// A volatile mount leaves a mark that forbids the next one, as the kernel cannot know whether the
/// machine went down in between. The engine does, and whoever asks for volatile takes the risk.
fn forget_volatile(work: &Path) -> Result<(), PathError> {
    let mark = work.join("work/incompat/volatile");
    for (path, flags) in [
        (mark.join("dirty"), AtFlags::empty()),
        (mark, AtFlags::REMOVEDIR),
    ] {
        match rustix::fs::unlinkat(rustix::fs::CWD, &path, flags) {
            Ok(()) | Err(Errno::NOENT | Errno::NOTDIR) => {}
            Err(errno) => return Err(failed("remove", &path)(errno)),
        }
    }
    Ok(())
}

fn name(fd: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layers(directory: &Path, count: usize) -> Vec<PathBuf> {
        (0..count)
            .map(|number| {
                let layer = directory.join(format!("layer-{number}"));
                std::fs::create_dir(&layer).expect("mkdir");
                std::fs::write(layer.join(format!("file-{number}")), b"x").expect("write");
                std::fs::write(layer.join("top"), number.to_string()).expect("write");
                layer
            })
            .rev()
            .collect()
    }

    fn check(api: Api, count: usize) {
        let directory = tempfile::tempdir().expect("tempdir");
        let root = directory.path();
        let overlay = Overlay {
            api,
            private: root.to_owned(),
        };
        for name in ["fs", "work"] {
            std::fs::create_dir(root.join(name)).expect("mkdir");
        }
        let upper = Upper {
            fs: &root.join("fs"),
            work: &root.join("work"),
            volatile: true,
        };
        let layers = layers(root, count);
        for written in ["y", "z"] {
            let mount = overlay.mount(&layers, Some(&upper), false).expect("mount");
            let path = files::proc_path(mount.as_fd());
            let read = |name: &str| std::fs::read_to_string(path.join(name)).expect("read");
            assert_eq!(read("top"), (count - 1).to_string());
            assert_eq!(read("file-1"), "x");
            std::fs::write(path.join("file-0"), written).expect("write");
            let upper = std::fs::read_to_string(root.join("fs/file-0")).expect("read");
            assert_eq!(upper, written);
        }
    }

    #[test]
    fn five_hundred_layers_are_stacked() {
        check(Api::Layers, 500);
    }

    #[test]
    fn older_kernels_stack_a_page_full() {
        check(Api::Page, 130);
    }
}
