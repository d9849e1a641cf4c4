//! What a container that starts gets from elsewhere: namespaces of another container, a directory
//! inside a volume, memory that others may join.
//!
//! What may change while the start is under way is opened here, once it is known to be what was
//! meant, and the runtime is pointed at this process's descriptor of it. They are held until it has
//! answered.
//!
//! Memory that another container is to share (`--ipc shareable`) is the one mount this engine makes
//! on the host, below its exec root, because a mount that lives in one container's namespace cannot
//! be mounted into another's. It goes when its container ends.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::mount::{MountFlags, UnmountFlags};
use wharf_types::ContainerId;

use crate::container::{Container, Definition};
use crate::create::check::modes::joined;
use crate::error::Error;
use crate::inner::Inner;
use crate::mounts::{Mount, Volume, check_propagation};
use crate::state::State;
use crate::volumes::Binding;

/// What a start borrows.
#[derive(Debug, Default)]
pub(crate) struct Borrowed {
    /// Namespaces to join instead of making new ones.
    pub(crate) pid: Option<PathBuf>,
    pub(crate) ipc: Option<PathBuf>,
    /// The user namespace that the other ones belong to.
    pub(crate) user: Option<PathBuf>,
    /// Directory that is mounted at /dev/shm.
    pub(crate) shm: Option<PathBuf>,
    /// The container whose network it has, with that one's names.
    pub(crate) network: Option<Lender>,
    /// Where volumes are found, by their places in the container.
    pub(crate) volumes: BTreeMap<PathBuf, Found>,
    held: Vec<OwnedFd>,
}

/// A container whose network another one has.
#[derive(Debug)]
pub(crate) struct Lender {
    pub(crate) id: ContainerId,
    pub(crate) hostname: String,
    pub(crate) domainname: String,
}

/// Where a volume is.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) source: PathBuf,
    /// Further options of the mount.
    pub(crate) flags: Vec<String>,
    pub(crate) recursive: bool,
    /// Whether it is a directory of the volume's own, which nobody but the engine reaches.
    pub(crate) own: bool,
}

impl Borrowed {
    /// Holds a descriptor, and returns the path others reach it by.
    fn hold(&mut self, descriptor: OwnedFd) -> PathBuf {
        let path = format!("/proc/{}/fd/{}", std::process::id(), descriptor.as_raw_fd());
        self.held.push(descriptor);
        PathBuf::from(path)
    }
}

impl Inner {
    /// Gets what a container's start borrows. Blocks.
    pub(crate) fn borrow(&self, container: &Container) -> Result<Borrowed, Error> {
        let host = &container.definition.host;
        let mut borrowed = self.borrow_files(&container.definition)?;
        for mount in &container.definition.mounts {
            if let Mount::Bind(bind) = mount {
                check_propagation(bind)?;
            }
        }
        if let Some(name) = joined(&host.pid_mode) {
            let lender = self.registry.find(name)?;
            let pid = running(&lender).ok_or_else(|| {
                Error::conflict(format!(
                    "cannot join PID of a non running container: {}",
                    lender.id()
                ))
            })?;
            let namespace = namespace(&lender, pid, "pid")?;
            borrowed.pid = Some(borrowed.hold(namespace));
        }
        if let Some(name) = joined(&host.ipc_mode) {
            self.borrow_ipc(&mut borrowed, name)?;
        }
        self.borrow_user(&mut borrowed, &container.definition)?;
        if host.ipc_mode == "shareable" {
            borrowed.shm = Some(self.make_shm(container)?);
        }
        Ok(borrowed)
    }

    /// Gets what the files of a container are made of that are somewhere else, running or not.
    pub(crate) fn borrow_files(&self, definition: &Definition) -> Result<Borrowed, Error> {
        let mut borrowed = Borrowed::default();
        if let Some(name) = joined(&definition.host.network_mode) {
            let lender = self.registry.find(name)?;
            let config = &lender.definition.config;
            borrowed.network = Some(Lender {
                id: lender.id(),
                hostname: config.hostname.clone(),
                domainname: config.domainname.clone(),
            });
        }
        for mount in &definition.mounts {
            if let Mount::Volume(volume) = mount {
                self.borrow_volume(&mut borrowed, volume)?;
            }
        }
        Ok(borrowed)
    }

    /// The network namespace of the container whose network another one has.
    pub(crate) fn borrow_network(&self, name: &str) -> Result<OwnedFd, Error> {
        let lender = self.registry.find(name)?;
        let pid = running(&lender).ok_or_else(|| {
            Error::conflict(format!(
                "cannot join network of a non running container: {}",
                lender.id()
            ))
        })?;
        namespace(&lender, pid, "net")
    }

    /// The name a container's processes know their host by, if it is not the host's own.
    pub(crate) fn hostname(&self, definition: &Definition) -> Option<String> {
        let lender =
            joined(&definition.host.network_mode).and_then(|name| self.registry.find(name).ok());
        let config = match &lender {
            Some(lender) => &lender.definition.config,
            None => &definition.config,
        };
        crate::spec::own_name(&definition.host, &config.hostname).map(str::to_owned)
    }

    /// What a container with a user namespace shares with another one belongs to that one's, so it
    /// joins that too, which must have the same ids. It can join one only.
    pub(crate) fn borrow_user(
        &self,
        borrowed: &mut Borrowed,
        definition: &Definition,
    ) -> Result<(), Error> {
        let host = &definition.host;
        if definition.user_namespace.is_none() {
            return Ok(());
        }
        let mut lent: Option<(ContainerId, (u64, u64))> = None;
        for name in [&host.network_mode, &host.pid_mode, &host.ipc_mode]
            .into_iter()
            .filter_map(|mode| joined(mode))
        {
            let lender = self.registry.find(name)?;
            let id = lender.id();
            if lender.definition.user_namespace != definition.user_namespace {
                return Err(Error::conflict(format!(
                    "cannot share a namespace of container {id}: it has other ids in its user namespace"
                )));
            }
            // Who lends what and does not run is told by what is borrowed.
            let Some(pid) = running(&lender) else {
                continue;
            };
            let namespace = namespace(&lender, pid, "user")?;
            let failed = |error: rustix::io::Errno| {
                Error::internal(format!("cannot join container {id}"), error)
            };
            let stat = rustix::fs::fstat(&namespace).map_err(failed)?;
            let own = (stat.st_dev, stat.st_ino);
            match lent {
                None => {
                    borrowed.user = Some(borrowed.hold(namespace));
                    lent = Some((id, own));
                }
                Some((_, known)) if known == own => {}
                Some((first, _)) => {
                    return Err(Error::conflict(format!(
                        "cannot share namespaces of containers {first} and {id}: each has a user namespace of its \
                         own, and only one can be joined"
                    )));
                }
            }
        }
        Ok(())
    }

    fn borrow_ipc(&self, borrowed: &mut Borrowed, name: &str) -> Result<(), Error> {
        let lender = self.registry.find(name)?;
        let id = lender.id();
        let cannot =
            |reason: &str| Error::conflict(format!("can't join IPC of container {id}: {reason}"));
        let pid =
            running(&lender).ok_or_else(|| cannot(&format!("container {id} is not running")))?;
        match lender.definition.host.ipc_mode.as_str() {
            "shareable" => borrowed.shm = Some(self.shm(id)),
            "host" => {}
            _ => {
                return Err(cannot(
                    "non-shareable IPC (hint: use IpcMode:shareable for the donor container)",
                ));
            }
        }
        let namespace = namespace(&lender, pid, "ipc")?;
        borrowed.ipc = Some(borrowed.hold(namespace));
        Ok(())
    }

    fn borrow_volume(&self, borrowed: &mut Borrowed, mounted: &Volume) -> Result<(), Error> {
        let name = &mounted.name;
        let failed = |what: String, error: io::Error| {
            Error::internal(format!("volume {name}: {what}"), error)
        };
        let volume = self
            .volumes
            .get(name)
            .ok_or_else(|| Error::not_found(format!("get {name}: no such volume")))?;
        let mut found = match Binding::read(name, &volume.options)? {
            None => Found {
                source: mounted.source.clone(),
                flags: Vec::new(),
                recursive: true,
                own: true,
            },
            Some(binding) => Found {
                source: binding.device,
                flags: binding.flags,
                recursive: binding.recursive,
                own: false,
            },
        };
        // What is not there would be an error of the runtime's, who does not know of volumes.
        let directory = File::open(&found.source)
            .map_err(|error| failed(format!("cannot open {}", found.source.display()), error))?;
        if let Some(subpath) = &mounted.subpath {
            let opened = rustix::fs::openat2(
                &directory,
                subpath,
                OFlags::PATH | OFlags::CLOEXEC,
                Mode::empty(),
                // Containers write here: a link leads nowhere outside.
                ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS,
            );
            let opened = opened.map_err(|error| {
                let subpath = subpath.display();
                Error::invalid(format!(
                    "cannot access path {subpath} of volume {name}: {error}"
                ))
            })?;
            found.source = borrowed.hold(opened);
        }
        borrowed.volumes.insert(mounted.target.clone(), found);
        Ok(())
    }

    fn shm(&self, id: ContainerId) -> PathBuf {
        self.places.shared_memory().join(id.to_string())
    }

    /// Mounts the memory of a container that others may join.
    fn make_shm(&self, container: &Container) -> Result<PathBuf, Error> {
        let path = self.shm(container.id());
        self.drop_shm(container.id());
        let size = container.definition.host.shm_size;
        let data = format!("mode=1777,size={size}\0");
        let data = std::ffi::CString::from_vec_with_nul(data.into_bytes())
            .map_err(|error| Error::internal("cannot mount shared memory", error))?;
        let flags = MountFlags::NOEXEC | MountFlags::NOSUID | MountFlags::NODEV;
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&path);
        made.and_then(|()| {
            Ok(rustix::mount::mount(
                "shm",
                &path,
                "tmpfs",
                flags,
                Some(&*data),
            )?)
        })
        .map_err(|error| Error::internal("cannot mount shared memory", error))?;
        Ok(path)
    }

    /// Takes the memory away that a container shared, if it did.
    pub(crate) fn release_shm(&self, container: &Container) {
        if container.definition.host.ipc_mode == "shareable" {
            self.drop_shm(container.id());
        }
    }

    fn drop_shm(&self, id: ContainerId) {
        let path = self.shm(id);
        match rustix::mount::unmount(&path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
            // Not mounted, or not there.
            Ok(()) | Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) => {}
            Err(error) => {
                tracing::error!(container.id = %id, %error, "its shared memory is still mounted");
            }
        }
        match fs::remove_dir(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::error!(container.id = %id, %error, "a directory is left");
            }
            _ => {}
        }
    }

    /// Takes away the memory of containers that do not run.
    pub(crate) fn remove_orphan_shm(&self, runs: impl Fn(&str) -> bool) {
        let entries = fs::read_dir(self.places.shared_memory());
        for entry in entries.into_iter().flatten().flatten() {
            let name = entry.file_name();
            let id = name.to_str().filter(|name| !runs(name));
            if let Some(id) = id.and_then(|name| name.parse().ok()) {
                self.drop_shm(id);
            }
        }
    }
}

fn running(container: &Arc<Container>) -> Option<i32> {
    match &container.status().state {
        State::Running(running) | State::Paused(running) => Some(running.pid),
        _ => None,
    }
}

/// Opens a namespace of a running container. Its process may end at any time, and its number be
/// another's: only the one in the container's own control group is meant.
fn namespace(lender: &Container, pid: i32, kind: &str) -> Result<OwnedFd, Error> {
    let id = lender.id();
    let failed = |error: io::Error| Error::internal(format!("cannot join container {id}"), error);
    let process = Path::new("/proc").join(pid.to_string());
    let opened = File::open(process.join("ns").join(kind)).map_err(failed)?;
    let groups = fs::read_to_string(process.join("cgroup")).map_err(failed)?;
    let name = id.to_string();
    let own = groups
        .lines()
        .any(|line| line.split('/').any(|part| part == name));
    if !own {
        return Err(Error::conflict(format!("container {id} is not running")));
    }
    Ok(opened.into())
}
