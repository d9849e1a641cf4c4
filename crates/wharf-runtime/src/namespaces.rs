//! Which namespaces a container gets: new ones, existing ones, or the caller's.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::thread::{LinkNameSpaceType, ThreadNameSpaceType};
use wharf_oci::runtime::{NamespaceKind, Spec};

use crate::error::{CreateError, IoError, SpecError};

/// The namespaces of a container to be made.
#[derive(Debug)]
pub(crate) struct Namespaces {
    /// Made new.
    pub(crate) new: ThreadNameSpaceType,
    /// Joined, in the order in which it must be done.
    pub(crate) join: Vec<(NamespaceKind, OwnedFd)>,
}

/// The order of joining: the user namespace first, because it gives the right to join the others
/// it owns; the mount namespace last, because paths mean something else afterwards.
const ORDER: [NamespaceKind; 8] = [
    NamespaceKind::User,
    NamespaceKind::Pid,
    NamespaceKind::Time,
    NamespaceKind::Ipc,
    NamespaceKind::Uts,
    NamespaceKind::Network,
    NamespaceKind::Cgroup,
    NamespaceKind::Mount,
];

impl Namespaces {
    /// Opens what is joined. `network` and `user` stand in for what the configuration says of these.
    pub(crate) fn open(
        spec: &Spec,
        network: Option<OwnedFd>,
        user: Option<OwnedFd>,
    ) -> Result<Self, CreateError> {
        let listed = spec
            .linux
            .as_ref()
            .map_or(&[][..], |linux| &linux.namespaces);
        let mut new = ThreadNameSpaceType::empty();
        let mut join = Vec::new();
        let (mut network, mut user) = (network, user);
        for kind in ORDER {
            let mut of_kind = listed.iter().filter(|namespace| namespace.kind == kind);
            let namespace = of_kind.next();
            if of_kind.next().is_some() {
                return Err(invalid(kind, "listed twice").into());
            }
            let given = match kind {
                NamespaceKind::Network => network.take(),
                NamespaceKind::User => user.take(),
                _ => None,
            };
            if let Some(fd) = given {
                join.push((kind, fd));
                continue;
            }
            match namespace.map(|namespace| namespace.path.as_deref()) {
                None => {}
                Some(None) => new |= flag(kind),
                Some(Some(path)) => join.push((kind, open(kind, path)?)),
            }
        }
        let namespaces = Self { new, join };
        namespaces.check(spec)?;
        Ok(namespaces)
    }

    /// Whether the container has its own namespace of `kind`, new or joined.
    pub(crate) fn has(&self, kind: NamespaceKind) -> bool {
        self.is_new(kind) || self.joins(kind)
    }

    /// Whether a new namespace of `kind` is made.
    pub(crate) fn is_new(&self, kind: NamespaceKind) -> bool {
        self.new.contains(flag(kind))
    }

    /// Whether an existing namespace of `kind` is joined.
    pub(crate) fn joins(&self, kind: NamespaceKind) -> bool {
        self.joined(kind).is_some()
    }

    /// Whether the child is born into the namespace of `kind` that it joins.
    pub(crate) fn born_into(&self, kind: NamespaceKind) -> bool {
        match kind {
            NamespaceKind::Pid => true,
            NamespaceKind::User | NamespaceKind::Mount => false,
            _ => self.has(NamespaceKind::User),
        }
    }

    /// The namespace of `kind` that is joined.
    pub(crate) fn joined(&self, kind: NamespaceKind) -> Option<&OwnedFd> {
        self.join
            .iter()
            .find(|(joined, _)| *joined == kind)
            .map(|(_, fd)| fd)
    }

    /// Refuses what cannot be done in the namespaces asked for.
    fn check(&self, spec: &Spec) -> Result<(), SpecError> {
        if !self.has(NamespaceKind::Mount) {
            return Err(SpecError::Unsupported(
                "a container without a mount namespace of its own",
            ));
        }
        let linux = spec.linux.as_ref().ok_or(SpecError::Missing("linux"))?;
        let named = [
            ("hostname", &spec.hostname),
            ("domainname", &spec.domainname),
        ];
        for (member, value) in named {
            if let Some(value) = value
                && !value.is_empty()
                && !self.has(NamespaceKind::Uts)
            {
                let reason = "needs a UTS namespace of the container's own";
                return Err(SpecError::Invalid {
                    member,
                    value: value.clone(),
                    reason,
                });
            }
        }
        let mapped = !linux.uid_mappings.is_empty() || !linux.gid_mappings.is_empty();
        if self.is_new(NamespaceKind::User)
            && (linux.uid_mappings.is_empty() || linux.gid_mappings.is_empty())
        {
            return Err(SpecError::Missing("linux.uidMappings or linux.gidMappings"));
        }
        // With a joined user namespace podman repeats the mappings; they are the namespace's own.
        if mapped && !self.has(NamespaceKind::User) {
            return Err(SpecError::Missing(
                "a user namespace, for linux.uidMappings,",
            ));
        }
        if !linux.time_offsets.is_empty() && !self.is_new(NamespaceKind::Time) {
            return Err(SpecError::Missing(
                "a new time namespace, for linux.timeOffsets,",
            ));
        }
        Ok(())
    }
}

fn open(kind: NamespaceKind, path: &Path) -> Result<OwnedFd, CreateError> {
    if !path.is_absolute() {
        return Err(invalid(kind, "its path is not absolute").into());
    }
    rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).map_err(|errno| {
        CreateError::Io(IoError {
            step: format!("open the {} namespace {}", name(kind), path.display()),
            source: errno.into(),
        })
    })
}

fn invalid(kind: NamespaceKind, reason: &'static str) -> SpecError {
    SpecError::Invalid {
        member: "linux.namespaces",
        value: name(kind).to_owned(),
        reason,
    }
}

/// The kind as the configuration writes it.
pub(crate) fn name(kind: NamespaceKind) -> &'static str {
    match kind {
        NamespaceKind::Mount => "mount",
        NamespaceKind::Pid => "pid",
        NamespaceKind::Network => "network",
        NamespaceKind::Ipc => "ipc",
        NamespaceKind::Uts => "uts",
        NamespaceKind::User => "user",
        NamespaceKind::Cgroup => "cgroup",
        NamespaceKind::Time => "time",
    }
}

/// The kind's file in `/proc/PID/ns`.
pub(crate) fn file(kind: NamespaceKind) -> &'static str {
    match kind {
        NamespaceKind::Mount => "mnt",
        NamespaceKind::Network => "net",
        other => name(other),
    }
}

/// The kind's clone flag.
pub(crate) fn flag(kind: NamespaceKind) -> ThreadNameSpaceType {
    match kind {
        NamespaceKind::Mount => ThreadNameSpaceType::MOUNT,
        NamespaceKind::Pid => ThreadNameSpaceType::PROCESS_ID,
        NamespaceKind::Network => ThreadNameSpaceType::NETWORK,
        NamespaceKind::Ipc => ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION,
        NamespaceKind::Uts => ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME,
        NamespaceKind::User => ThreadNameSpaceType::USER,
        NamespaceKind::Cgroup => ThreadNameSpaceType::CONTROL_GROUP,
        NamespaceKind::Time => ThreadNameSpaceType::TIME,
    }
}

/// The kind as setns(2) checks it.
pub(crate) fn link(kind: NamespaceKind) -> LinkNameSpaceType {
    match kind {
        NamespaceKind::Mount => LinkNameSpaceType::Mount,
        NamespaceKind::Pid => LinkNameSpaceType::ProcessID,
        NamespaceKind::Network => LinkNameSpaceType::Network,
        NamespaceKind::Ipc => LinkNameSpaceType::InterProcessCommunication,
        NamespaceKind::Uts => LinkNameSpaceType::HostNameAndNISDomainName,
        NamespaceKind::User => LinkNameSpaceType::User,
        NamespaceKind::Cgroup => LinkNameSpaceType::ControlGroup,
        NamespaceKind::Time => LinkNameSpaceType::Time,
    }
}

#[cfg(test)]
mod tests {
    use wharf_oci::runtime::{IdMapping, Linux, Namespace};

    use super::*;

    fn spec(kinds: &[NamespaceKind]) -> Spec {
        let namespaces = kinds
            .iter()
            .map(|&kind| Namespace { kind, path: None })
            .collect();
        let linux = Linux {
            namespaces,
            ..Linux::default()
        };
        Spec {
            linux: Some(linux),
            ..Spec::default()
        }
    }

    fn refused(spec: &Spec) -> String {
        Namespaces::open(spec, None, None)
            .expect_err("refused")
            .to_string()
    }

    #[test]
    fn new_namespaces_become_flags() {
        let spec = spec(&[NamespaceKind::Mount, NamespaceKind::Pid]);
        let namespaces = Namespaces::open(&spec, None, None).expect("namespaces");
        assert_eq!(
            namespaces.new,
            ThreadNameSpaceType::MOUNT | ThreadNameSpaceType::PROCESS_ID
        );
    }

    #[test]
    fn what_needs_a_namespace_is_refused_without_it() {
        let mut named = spec(&[NamespaceKind::Mount]);
        named.hostname = Some("box".to_owned());
        assert!(refused(&named).contains("UTS namespace"));
        assert!(refused(&spec(&[NamespaceKind::Pid])).contains("without a mount namespace"));
        let twice = spec(&[NamespaceKind::Mount, NamespaceKind::Pid, NamespaceKind::Pid]);
        assert!(refused(&twice).contains("listed twice"));
        let unmapped = spec(&[NamespaceKind::Mount, NamespaceKind::User]);
        assert!(refused(&unmapped).contains("uidMappings"));
        let mut mapped = spec(&[NamespaceKind::Mount]);
        mapped
            .linux
            .as_mut()
            .expect("linux")
            .uid_mappings
            .push(IdMapping::default());
        assert!(refused(&mapped).contains("user namespace"));
    }
}
