//! The mounts of the configuration as typed plans: what each option means, and which are refused.
//!
//! Options are those of `config.md`, "Linux mount options", as runc reads them. A name that is neither a
//! mount attribute, a propagation nor an extension belongs to the file system; a bind mount has
//! none, so there it is an error where mount(2) would ignore it.

use std::path::{Path, PathBuf};

use rustix::mount::{MountAttrFlags as Attr, MountPropagationFlags as Propagation};
use wharf_oci::runtime::{IdMapping, Linux, Mount, Spec};

use crate::error::SpecError;

/// One mount, understood.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct MountPlan {
    pub(crate) destination: PathBuf,
    pub(crate) kind: MountKind,
    /// Attributes of the mount itself.
    pub(crate) attributes: Attributes,
    /// Attributes of it and everything below.
    pub(crate) recursive: Attributes,
    /// Propagation changes in order, and whether each is recursive.
    pub(crate) propagation: Vec<(Propagation, bool)>,
    /// Whether the directory's contents are copied into the tmpfs mounted over it.
    pub(crate) copy_up: bool,
    /// Id mapping of the mount.
    pub(crate) id_map: Option<IdMap>,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum MountKind {
    /// A path of the host.
    Bind { source: PathBuf, recursive: bool },
    /// The container's view of the cgroup hierarchies.
    Cgroup,
    /// A new instance of a file system.
    FileSystem {
        kind: String,
        source: String,
        data: Vec<(String, Option<String>)>,
    },
}

/// Attributes set and cleared.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Attributes {
    pub(crate) set: Attr,
    pub(crate) clear: Attr,
}

/// An id mapping of a mount.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct IdMap {
    pub(crate) uids: Vec<IdMapping>,
    pub(crate) gids: Vec<IdMapping>,
    pub(crate) recursive: bool,
}

impl Attributes {
    const NONE: Self = Self {
        set: Attr::empty(),
        clear: Attr::empty(),
    };

    /// Whether nothing changes.
    pub(crate) fn is_empty(self) -> bool {
        self == Self::NONE
    }

    /// Adds other changes, which win.
    fn merge(&mut self, other: Self) {
        self.set = (self.set - other.clear) | other.set;
        self.clear = (self.clear - other.set) | other.clear;
    }

    /// Adds a change; a later one wins over an earlier one.
    fn change(&mut self, change: Change) {
        match change {
            Change::Set(attribute) => {
                self.set |= attribute;
                self.clear -= attribute;
            }
            Change::Clear(attribute) => {
                self.set -= attribute;
                self.clear |= attribute;
            }
            Change::AccessTime(value) => {
                self.set = (self.set - Attr::MOUNT_ATTR__ATIME) | value;
                // The kernel wants the whole field cleared whatever is set in it.
                self.clear |= Attr::MOUNT_ATTR__ATIME;
            }
        }
    }
}

/// What one option asks for.
#[derive(Debug, Clone, Copy)]
enum Meaning {
    /// A change of the mount itself.
    Own(Change),
    /// A change of it and everything below.
    Below(Change),
    Propagate(Propagation, bool),
    Bind {
        recursive: bool,
    },
    CopyUp,
    IdMapped {
        recursive: bool,
    },
    /// A flag of the superblock.
    SuperBlock,
    Nothing,
    Remount,
}

/// A change of attributes.
#[derive(Debug, Clone, Copy)]
enum Change {
    Set(Attr),
    Clear(Attr),
    /// Access times are one field of several values.
    AccessTime(Attr),
}

impl MountPlan {
    /// Understands a mount of the configuration.
    pub(crate) fn parse(mount: &Mount, spec: &Spec, bundle: &Path) -> Result<Self, SpecError> {
        let mut plan = Self {
            destination: Path::new("/").join(&mount.destination),
            kind: MountKind::Cgroup,
            attributes: Attributes::NONE,
            recursive: Attributes::NONE,
            propagation: Vec::new(),
            copy_up: false,
            id_map: None,
        };
        let mut bind = match mount.kind.as_deref() {
            Some("bind") => Some(false),
            _ => None,
        };
        let mut data = Vec::new();
        let mut id_map = None;
        for option in &mount.options {
            let (name, value) = match option.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (option.as_str(), None),
            };
            match meaning(name) {
                Some(meaning) if value.is_none() => match meaning {
                    Meaning::Bind { recursive } => bind = Some(recursive),
                    Meaning::IdMapped { recursive } => id_map = Some(recursive),
                    Meaning::SuperBlock => data.push((option.clone(), None)),
                    Meaning::Remount => return Err(invalid(option, "remounting is not supported")),
                    meaning => plan.apply(meaning),
                },
                _ => data.push((name.to_owned(), value.map(str::to_owned))),
            }
        }
        plan.id_map = id_map_of(mount, spec.linux.as_ref(), id_map)?;
        plan.kind = kind(mount, bind, data, spec, bundle)?;
        if !matches!(plan.kind, MountKind::Bind { .. }) {
            // Nothing is below a new mount.
            let below = std::mem::replace(&mut plan.recursive, Attributes::NONE);
            plan.attributes.merge(below);
        }
        plan.check(mount)?;
        Ok(plan)
    }

    /// What is mounted, in one word.
    pub(crate) fn source_name(&self) -> String {
        match &self.kind {
            MountKind::Bind { source, .. } => source.display().to_string(),
            MountKind::Cgroup => "cgroup".to_owned(),
            MountKind::FileSystem { source, .. } => source.clone(),
        }
    }

    fn apply(&mut self, meaning: Meaning) {
        match meaning {
            Meaning::Own(change) => self.attributes.change(change),
            Meaning::Below(change) => self.recursive.change(change),
            Meaning::Propagate(propagation, recursive) => {
                self.propagation.push((propagation, recursive));
            }
            Meaning::CopyUp => self.copy_up = true,
            Meaning::Bind { .. }
            | Meaning::IdMapped { .. }
            | Meaning::SuperBlock
            | Meaning::Nothing
            | Meaning::Remount => {}
        }
    }

    fn check(&self, mount: &Mount) -> Result<(), SpecError> {
        let is_tmpfs = mount.kind.as_deref() == Some("tmpfs");
        if self.copy_up && !is_tmpfs {
            return Err(invalid("tmpcopyup", "only a tmpfs can be filled"));
        }
        let mut propagation = self.propagation.iter();
        if self.kind == MountKind::Cgroup
            && propagation.any(|(propagation, _)| *propagation != Propagation::PRIVATE)
        {
            return Err(invalid(
                "propagation",
                "cgroup hierarchies are mounted private",
            ));
        }
        if self.id_map.is_some() && !matches!(self.kind, MountKind::Bind { .. }) {
            return Err(invalid("idmap", "only a bind mount can be id-mapped here"));
        }
        Ok(())
    }
}

fn kind(
    mount: &Mount,
    bind: Option<bool>,
    mut data: Vec<(String, Option<String>)>,
    spec: &Spec,
    bundle: &Path,
) -> Result<MountKind, SpecError> {
    if let Some(recursive) = bind {
        // Flags of the superblock mean nothing to a bind mount, as in mount(2).
        if let Some((option, _)) = data.iter().find(|(name, _)| meaning(name).is_none()) {
            return Err(invalid(option, "a bind mount has no such option"));
        }
        let source = mount
            .source
            .as_deref()
            .filter(|source| !source.as_os_str().is_empty());
        let source = bundle.join(source.ok_or(SpecError::Missing("source of a bind mount"))?);
        return Ok(MountKind::Bind { source, recursive });
    }
    let kind = mount
        .kind
        .clone()
        .ok_or(SpecError::Missing("type of a mount"))?;
    if kind == "cgroup" {
        return Ok(MountKind::Cgroup);
    }
    let label = spec
        .linux
        .as_ref()
        .and_then(|linux| linux.mount_label.as_deref());
    if let Some(label) = label
        && !label.is_empty()
        && !matches!(kind.as_str(), "proc" | "sysfs")
    {
        data.push(("context".to_owned(), Some(label.to_owned())));
    }
    let source = mount.source.as_deref().unwrap_or(Path::new(&kind));
    let source = source
        .to_str()
        .ok_or_else(|| invalid(&source.to_string_lossy(), "not UTF-8"))?;
    Ok(MountKind::FileSystem {
        source: source.to_owned(),
        kind,
        data,
    })
}

/// The mapping of an id-mapped mount: its own, or the container's.
fn id_map_of(
    mount: &Mount,
    linux: Option<&Linux>,
    option: Option<bool>,
) -> Result<Option<IdMap>, SpecError> {
    let own = !mount.uid_mappings.is_empty() || !mount.gid_mappings.is_empty();
    if !own && option.is_none() {
        return Ok(None);
    }
    let (uids, gids) = match linux {
        _ if own => (&mount.uid_mappings, &mount.gid_mappings),
        Some(linux) => (&linux.uid_mappings, &linux.gid_mappings),
        None => return Err(SpecError::Missing("linux.uidMappings")),
    };
    if uids.is_empty() || gids.is_empty() {
        return Err(invalid("idmap", "uid and gid mappings are both needed"));
    }
    Ok(Some(IdMap {
        uids: uids.clone(),
        gids: gids.clone(),
        recursive: option == Some(true),
    }))
}

fn invalid(option: &str, reason: &'static str) -> SpecError {
    SpecError::Invalid {
        member: "mount option",
        value: option.to_owned(),
        reason,
    }
}

/// Names of all options that are not a file system's own, for `features`.
pub(crate) fn option_names() -> impl Iterator<Item = &'static str> {
    OPTIONS.iter().map(|(name, _)| *name)
}

fn meaning(name: &str) -> Option<Meaning> {
    let row = OPTIONS
        .binary_search_by_key(&name, |(known, _)| known)
        .ok()?;
    Some(OPTIONS[row].1)
}

use Meaning::{Below, Bind, CopyUp, IdMapped, Nothing, Own, Propagate, Remount, SuperBlock};

/// The options by name, in order.
const OPTIONS: &[(&str, Meaning)] = &[
    ("acl", SuperBlock),
    ("async", Nothing),
    ("atime", Own(Change::AccessTime(Attr::MOUNT_ATTR_RELATIME))),
    ("bind", Bind { recursive: false }),
    ("defaults", Nothing),
    ("dev", Own(Change::Clear(Attr::MOUNT_ATTR_NODEV))),
    ("diratime", Own(Change::Clear(Attr::MOUNT_ATTR_NODIRATIME))),
    ("dirsync", SuperBlock),
    ("exec", Own(Change::Clear(Attr::MOUNT_ATTR_NOEXEC))),
    ("idmap", IdMapped { recursive: false }),
    ("iversion", SuperBlock),
    ("lazytime", SuperBlock),
    ("loud", Nothing),
    ("mand", SuperBlock),
    ("noatime", Own(Change::AccessTime(Attr::MOUNT_ATTR_NOATIME))),
    ("nodev", Own(Change::Set(Attr::MOUNT_ATTR_NODEV))),
    ("nodiratime", Own(Change::Set(Attr::MOUNT_ATTR_NODIRATIME))),
    ("noexec", Own(Change::Set(Attr::MOUNT_ATTR_NOEXEC))),
    ("noiversion", Nothing),
    ("nolazytime", Nothing),
    ("nomand", Nothing),
    (
        "norelatime",
        Own(Change::AccessTime(Attr::MOUNT_ATTR_STRICTATIME)),
    ),
    (
        "nostrictatime",
        Own(Change::AccessTime(Attr::MOUNT_ATTR_RELATIME)),
    ),
    ("nosuid", Own(Change::Set(Attr::MOUNT_ATTR_NOSUID))),
    (
        "nosymfollow",
        Own(Change::Set(Attr::MOUNT_ATTR_NOSYMFOLLOW)),
    ),
    ("private", Propagate(Propagation::PRIVATE, false)),
    (
        "ratime",
        Below(Change::AccessTime(Attr::MOUNT_ATTR_RELATIME)),
    ),
    ("rbind", Bind { recursive: true }),
    ("rdev", Below(Change::Clear(Attr::MOUNT_ATTR_NODEV))),
    (
        "rdiratime",
        Below(Change::Clear(Attr::MOUNT_ATTR_NODIRATIME)),
    ),
    (
        "relatime",
        Own(Change::AccessTime(Attr::MOUNT_ATTR_RELATIME)),
    ),
    ("remount", Remount),
    ("rexec", Below(Change::Clear(Attr::MOUNT_ATTR_NOEXEC))),
    ("ridmap", IdMapped { recursive: true }),
    (
        "rnoatime",
        Below(Change::AccessTime(Attr::MOUNT_ATTR_NOATIME)),
    ),
    ("rnodev", Below(Change::Set(Attr::MOUNT_ATTR_NODEV))),
    (
        "rnodiratime",
        Below(Change::Set(Attr::MOUNT_ATTR_NODIRATIME)),
    ),
    ("rnoexec", Below(Change::Set(Attr::MOUNT_ATTR_NOEXEC))),
    (
        "rnorelatime",
        Below(Change::AccessTime(Attr::MOUNT_ATTR_STRICTATIME)),
    ),
    (
        "rnostrictatime",
        Below(Change::AccessTime(Attr::MOUNT_ATTR_RELATIME)),
    ),
    ("rnosuid", Below(Change::Set(Attr::MOUNT_ATTR_NOSUID))),
    (
        "rnosymfollow",
        Below(Change::Set(Attr::MOUNT_ATTR_NOSYMFOLLOW)),
    ),
    ("ro", Own(Change::Set(Attr::MOUNT_ATTR_RDONLY))),
    ("rprivate", Propagate(Propagation::PRIVATE, true)),
    (
        "rrelatime",
        Below(Change::AccessTime(Attr::MOUNT_ATTR_RELATIME)),
    ),
    ("rro", Below(Change::Set(Attr::MOUNT_ATTR_RDONLY))),
    ("rrw", Below(Change::Clear(Attr::MOUNT_ATTR_RDONLY))),
    ("rshared", Propagate(Propagation::SHARED, true)),
    ("rslave", Propagate(Propagation::DOWNSTREAM, true)),
    (
        "rstrictatime",
        Below(Change::AccessTime(Attr::MOUNT_ATTR_STRICTATIME)),
    ),
    ("rsuid", Below(Change::Clear(Attr::MOUNT_ATTR_NOSUID))),
    (
        "rsymfollow",
        Below(Change::Clear(Attr::MOUNT_ATTR_NOSYMFOLLOW)),
    ),
    ("runbindable", Propagate(Propagation::UNBINDABLE, true)),
    ("rw", Own(Change::Clear(Attr::MOUNT_ATTR_RDONLY))),
    ("shared", Propagate(Propagation::SHARED, false)),
    ("silent", Nothing),
    ("slave", Propagate(Propagation::DOWNSTREAM, false)),
    (
        "strictatime",
        Own(Change::AccessTime(Attr::MOUNT_ATTR_STRICTATIME)),
    ),
    ("suid", Own(Change::Clear(Attr::MOUNT_ATTR_NOSUID))),
    (
        "symfollow",
        Own(Change::Clear(Attr::MOUNT_ATTR_NOSYMFOLLOW)),
    ),
    ("sync", SuperBlock),
    ("tmpcopyup", CopyUp),
    ("unbindable", Propagate(Propagation::UNBINDABLE, false)),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(kind: &str, source: &str, options: &[&str]) -> Mount {
        Mount {
            destination: "/data".into(),
            kind: Some(kind.to_owned()),
            source: Some(source.into()),
            options: options.iter().map(|&option| option.to_owned()).collect(),
            ..Mount::default()
        }
    }

    fn parse(mount: &Mount) -> Result<MountPlan, SpecError> {
        MountPlan::parse(mount, &Spec::default(), Path::new("/bundle"))
    }

    #[test]
    fn the_table_is_in_order() {
        assert!(OPTIONS.is_sorted_by_key(|(name, _)| name));
    }

    #[test]
    fn a_bind_mount_with_everything() {
        let options = [
            "rbind", "ro", "nosuid", "suid", "rnodev", "noatime", "rslave",
        ];
        let plan = parse(&mount("none", "data", &options)).expect("a plan");
        let source = PathBuf::from("/bundle/data");
        assert_eq!(
            plan.kind,
            MountKind::Bind {
                source,
                recursive: true
            }
        );
        assert_eq!(
            plan.attributes.set,
            Attr::MOUNT_ATTR_RDONLY | Attr::MOUNT_ATTR_NOATIME
        );
        assert_eq!(
            plan.attributes.clear,
            Attr::MOUNT_ATTR_NOSUID | Attr::MOUNT_ATTR__ATIME
        );
        assert_eq!(plan.recursive.set, Attr::MOUNT_ATTR_NODEV);
        assert_eq!(plan.propagation, [(Propagation::DOWNSTREAM, true)]);
    }

    #[test]
    fn a_file_system_gets_its_own_options() {
        let plan = parse(&mount(
            "tmpfs",
            "shm",
            &["nosuid", "mode=1777", "size=64k", "noswap"],
        ));
        let data = [
            ("mode", Some("1777")),
            ("size", Some("64k")),
            ("noswap", None),
        ];
        let data = data
            .map(|(name, value)| (name.to_owned(), value.map(str::to_owned)))
            .to_vec();
        let (kind, source) = ("tmpfs".to_owned(), "shm".to_owned());
        assert_eq!(
            plan.expect("a plan").kind,
            MountKind::FileSystem { kind, source, data }
        );
    }

    #[test]
    fn options_for_what_is_below_are_the_mount_s_own_where_nothing_is() {
        let plan = parse(&mount("tmpfs", "x", &["rw", "rro", "rnosuid"])).expect("a plan");
        assert_eq!(
            plan.attributes.set,
            Attr::MOUNT_ATTR_RDONLY | Attr::MOUNT_ATTR_NOSUID
        );
        assert!(plan.recursive.is_empty());
    }

    #[test]
    fn options_that_mean_nothing_are_refused() {
        let reason = |mount: &Mount| parse(mount).expect_err("refused").to_string();
        let odd = mount("bind", "/x", &["size=1"]);
        assert_eq!(
            reason(&odd),
            r#"invalid mount option "size": a bind mount has no such option"#
        );
        assert!(reason(&mount("bind", "/x", &["tmpcopyup"])).contains("only a tmpfs"));
        assert!(reason(&mount("tmpfs", "x", &["remount"])).contains("remounting"));
        assert!(reason(&mount("bind", "/x", &["idmap"])).contains("uidMappings"));
    }
}
