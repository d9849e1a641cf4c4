//! What is opened on the caller's side before the child exists.
//!
//! The child may have less rights than the caller (a user namespace) or another view (a mount
//! namespace it joins), so everything of the host that the container gets, the root and the sources of
//! bind mounts, is opened here as a detached mount with its attributes set. The child only puts it
//! in place.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::CWD;
use rustix::mount::{MountPropagationFlags as Propagation, OpenTreeFlags};
use wharf_oci::runtime::{Linux, NamespaceKind, Spec};
use wharf_sys::mount::{AttributeChange, set_attributes};

use crate::error::{CreateError, IoError, ProcessError, SpecError};
use crate::launch::RootSource;
use crate::mounts::{Attributes, IdMap, MountKind, MountPlan};
use crate::namespaces::Namespaces;
use crate::rootfs::DEFAULT_DEVICES;
use crate::user_namespace::UserNamespace;

/// The host's part of a container's file system.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// The root, detached.
    pub(crate) root: OwnedFd,
    /// Propagation of the root, when asked for.
    pub(crate) root_propagation: Option<(Propagation, bool)>,
    /// The mounts, in order.
    pub(crate) mounts: Vec<PreparedMount>,
    /// Device nodes of the host, where the child cannot make its own.
    pub(crate) device_trees: Vec<(PathBuf, OwnedFd)>,
}

/// A mount, with the detached source of a bind mount.
#[derive(Debug)]
pub(crate) struct PreparedMount {
    pub(crate) plan: MountPlan,
    pub(crate) tree: Option<OwnedFd>,
}

impl Prepared {
    /// Opens everything.
    pub(crate) fn open(
        spec: &Spec,
        bundle: &Path,
        root: RootSource,
        namespaces: &Namespaces,
    ) -> Result<Self, CreateError> {
        let linux = spec.linux.as_ref().ok_or(SpecError::Missing("linux"))?;
        let root_propagation = linux
            .rootfs_propagation
            .as_deref()
            .map(propagation)
            .transpose()?;
        let inherited = root_propagation.unwrap_or((Propagation::DOWNSTREAM, true));
        let root = match root {
            RootSource::Detached(root) => root,
            RootSource::Bundle => open_root(spec, bundle, inherited)?,
        };
        let mut mappings = Mappings {
            linux,
            own: namespaces.joined(NamespaceKind::User),
            made: Vec::new(),
        };
        let mounts = spec.mounts.iter().map(|mount| {
            let plan = MountPlan::parse(mount, spec, bundle)?;
            let tree = match &plan.kind {
                MountKind::Bind { source, recursive } => Some(open_bind(
                    &plan,
                    source,
                    *recursive,
                    inherited,
                    &mut mappings,
                )?),
                _ => None,
            };
            Ok(PreparedMount { plan, tree })
        });
        Ok(Self {
            root,
            root_propagation,
            mounts: mounts.collect::<Result<_, CreateError>>()?,
            device_trees: match namespaces.has(NamespaceKind::User) {
                true => open_devices(linux)?,
                false => Vec::new(),
            },
        })
    }
}

/// The value of `linux.rootfsPropagation`.
fn propagation(name: &str) -> Result<(Propagation, bool), SpecError> {
    let (name, recursive) = match name.strip_prefix('r') {
        Some(name) => (name, true),
        None => (name, false),
    };
    let propagation = match name {
        "private" => Propagation::PRIVATE,
        "shared" => Propagation::SHARED,
        "slave" => Propagation::DOWNSTREAM,
        "unbindable" => Propagation::UNBINDABLE,
        _ => {
            return Err(SpecError::Invalid {
                member: "linux.rootfsPropagation",
                value: name.to_owned(),
                reason: "no such propagation",
            });
        }
    };
    Ok((propagation, recursive))
}

fn open_root(
    spec: &Spec,
    bundle: &Path,
    (propagation, _): (Propagation, bool),
) -> Result<OwnedFd, CreateError> {
    let root = spec.root.as_ref().ok_or(SpecError::Missing("root"))?;
    let path = bundle.join(&root.path);
    let io = |step: &str, source| {
        CreateError::Io(IoError {
            step: format!("{step} the root {}", path.display()),
            source,
        })
    };
    let tree = open_tree(&path, true).map_err(|error| io("open", error))?;
    // The copy is in the host's peer group where the host's mount is shared. It has to leave it before
    // the pivot; what was asked for in place of this is set after.
    let propagation = match propagation {
        Propagation::PRIVATE => Propagation::PRIVATE,
        _ => Propagation::DOWNSTREAM,
    };
    let change = AttributeChange {
        propagation: Some(propagation),
        recursive: true,
        ..AttributeChange::default()
    };
    set_attributes(tree.as_fd(), &change).map_err(|error| io("detach", error))?;
    Ok(tree)
}

fn open_tree(path: &Path, recursive: bool) -> std::io::Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    Ok(rustix::mount::open_tree(CWD, path, flags)?)
}

fn open_bind(
    plan: &MountPlan,
    source: &Path,
    recursive: bool,
    inherited: (Propagation, bool),
    mappings: &mut Mappings<'_>,
) -> Result<OwnedFd, CreateError> {
    let failed = |what: &str, error: &std::io::Error| {
        CreateError::Process(ProcessError::Mount {
            source_path: plan.source_name(),
            destination: plan.destination.clone(),
            what: what.to_owned(),
            errno: error.raw_os_error().unwrap_or_default(),
        })
    };
    let tree = open_tree(source, recursive).map_err(|error| failed("open the source", &error))?;
    let id_map = match &plan.id_map {
        Some(map) => Some((mappings.namespace(map)?, map.recursive)),
        None => None,
    };
    let own = AttributeChange {
        set: plan.attributes.set,
        clear: plan.attributes.clear,
        ..AttributeChange::default()
    };
    let below = AttributeChange {
        set: plan.recursive.set,
        clear: plan.recursive.clear,
        recursive: true,
        ..AttributeChange::default()
    };
    let mapped = id_map.map(|(namespace, recursive)| AttributeChange {
        id_map: Some(namespace),
        recursive,
        ..AttributeChange::default()
    });
    // Without a wish the mount is what the root is; a copy left in the host's peer group would
    // carry the container's mounts out.
    let shared = inherited.0 == Propagation::SHARED;
    let default = (plan.propagation.is_empty() && !shared).then_some(inherited);
    let propagation = plan.propagation.iter().copied().chain(default);
    let propagation = propagation.map(|(propagation, recursive)| AttributeChange {
        propagation: Some(propagation),
        recursive,
        ..AttributeChange::default()
    });
    let given = |attributes: Attributes, change| (!attributes.is_empty()).then_some(change);
    let changes = [
        mapped,
        given(plan.attributes, own),
        given(plan.recursive, below),
    ];
    for change in changes.into_iter().flatten().chain(propagation) {
        set_attributes(tree.as_fd(), &change)
            .map_err(|error| failed("set the attributes", &error))?;
    }
    Ok(tree)
}

/// The host's devices, by the paths they have in the container.
fn open_devices(linux: &Linux) -> Result<Vec<(PathBuf, OwnedFd)>, CreateError> {
    let default = DEFAULT_DEVICES
        .iter()
        .map(|(name, ..)| Path::new("/dev").join(name));
    let mut paths: Vec<PathBuf> = default.collect();
    for device in &linux.devices {
        if !paths.contains(&device.path) {
            paths.push(device.path.clone());
        }
    }
    let open = |path: PathBuf| match open_tree(&path, false) {
        Ok(tree) => Ok((path, tree)),
        Err(source) => Err(CreateError::Io(IoError {
            step: format!("open the device {}", path.display()),
            source,
        })),
    };
    paths.into_iter().map(open).collect()
}

/// The user namespaces that id-mapped mounts name; each mapping's is made once.
struct Mappings<'a> {
    linux: &'a Linux,
    /// The namespace that the container joins, which has its mapping.
    own: Option<&'a OwnedFd>,
    made: Vec<(IdMap, OwnedFd)>,
}

impl Mappings<'_> {
    fn namespace(&mut self, map: &IdMap) -> Result<BorrowedFd<'_>, CreateError> {
        let linux = self.linux;
        if let Some(own) = self.own
            && map.uids == linux.uid_mappings
            && map.gids == linux.gid_mappings
        {
            return Ok(own.as_fd());
        }
        let same = |(made, _): &(IdMap, OwnedFd)| made.uids == map.uids && made.gids == map.gids;
        let at = match self.made.iter().position(same) {
            Some(at) => at,
            None => {
                let namespace = UserNamespace::new(&map.uids, &map.gids, false)?.open()?;
                self.made.push((map.clone(), namespace));
                self.made.len() - 1
            }
        };
        Ok(self.made[at].1.as_fd())
    }
}
