//! User namespaces of containers: which ids of the host stand for those inside.
//!
//! A container's mapping is decided when it is made, and kept with its definition until it is
//! removed, so that files it makes outside of the store (bind mounts) stay its own over restarts:
//!
//! | `UsernsMode` | mapping |
//! |---|---|
//! | `host` | none |
//! | empty | the engine's (`--userns-remap`, see [`remap`]), or none |
//! | `auto`, `auto:size=N` | 65,536 or N ids that no other container has (see [`pool`]) |
//! | `keep-id`, `keep-id:uid=U,gid=G` | as `auto`, but the caller's ids are their own inside, or are U and G |
//!
//! Everything in the store (layers, snapshots, volumes) belongs to the ids that containers see, and
//! is shown to each by id-mapped mounts; so layers are shared by all mappings, and the data root
//! does not move with the mapping. What a user binds is shown as it is: its owners are those of
//! the host, and what the mapping has no id for is nobody's.
//!
//! `keep-id` follows podman: the caller is whoever connected to the socket; the process is that
//! user unless told otherwise; and where the caller is root, all ids are themselves, in a namespace that
//! has no power over the host's.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wharf_types::ContainerId;
use wharf_wire as wire;

use crate::defaults::OWN_RUNTIME;
use crate::error::Error;
use crate::registry::Registry;

mod mapping;
mod mode;
mod namespaces;
mod pool;
mod remap;
mod subids;

pub(crate) use mapping::Mapping;
pub(crate) use namespaces::Namespaces;
pub use remap::RemapError;

use mode::{KeptIds, Mode};
use pool::Range;
use subids::SubIds;

/// Where the host keeps who may use which ids.
const SUBUID: &str = "/etc/subuid";
const SUBGID: &str = "/etc/subgid";

/// Who asks for a container, as far as the connection tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// The user's id.
    pub uid: u32,
    /// The id of the user's group.
    pub gid: u32,
}

/// Decides mappings.
#[derive(Debug)]
pub(crate) struct UserNamespaces {
    /// The engine's own mapping.
    remap: Option<Mapping>,
    /// Mappings of containers that are being made.
    claims: Arc<Mutex<BTreeMap<ContainerId, Mapping>>>,
}

/// A mapping for a container that is being made. Until this is dropped nobody else gets its ids; by
/// then the container is registered, or has failed.
#[derive(Debug)]
pub(crate) struct Claim {
    id: ContainerId,
    mapping: Mapping,
    claims: Arc<Mutex<BTreeMap<ContainerId, Mapping>>>,
}

impl Claim {
    pub(crate) fn mapping(&self) -> &Mapping {
        &self.mapping
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        lock(&self.claims).remove(&self.id);
    }
}

impl UserNamespaces {
    /// With the setting `--userns-remap`.
    pub(crate) fn open(setting: Option<&str>) -> Result<Self, RemapError> {
        let remap = match setting {
            None | Some("") => None,
            Some(setting) => Some(remap::resolve(setting)?),
        };
        Ok(Self {
            remap,
            claims: Arc::default(),
        })
    }

    /// Whether containers have a mapping unless they say otherwise.
    pub(crate) fn is_default(&self) -> bool {
        self.remap.is_some()
    }

    /// Decides a container's mapping, and for `keep-id` who its process is. `registry` has the
    /// containers there are; the caller registers this one before it drops the claim.
    pub(crate) fn decide(
        &self,
        id: ContainerId,
        host: &wire::HostConfig,
        config: &mut wire::ContainerConfig,
        caller: Option<Caller>,
        registry: &Registry,
    ) -> Result<Option<Claim>, Error> {
        let mode: Mode = host.userns_mode.parse()?;
        let private = match mode {
            Mode::Host => false,
            Mode::Default => self.remap.is_some(),
            Mode::Auto { .. } | Mode::KeepId(_) => true,
        };
        if !private {
            return Ok(None);
        }
        check_shared(host)?;
        if !matches!(host.runtime.as_str(), "" | OWN_RUNTIME) {
            return Err(Error::not_implemented(format!(
                "containers of the runtime {} cannot have a user namespace yet",
                host.runtime
            )));
        }
        // Held from the look at what is taken until the claim is in.
        let mut claims = lock(&self.claims);
        let find = |size, kept: KeptIds| {
            let containers = registry.all();
            let taken = containers
                .iter()
                .filter_map(|container| container.definition.user_namespace.as_ref())
                .chain(claims.values())
                .chain(&self.remap);
            allocate(size, kept, taken)
        };
        let mapping = match mode {
            Mode::Host => return Ok(None),
            Mode::Default => self.remap.clone(),
            Mode::Auto { size } => Some(find(size, KeptIds::default())?),
            Mode::KeepId(inside) => {
                let caller = caller.ok_or_else(|| {
                    Error::invalid(
                        "--userns=keep-id needs a client on a unix socket: over the network nobody knows whose id \
                         to keep",
                    )
                })?;
                let kept = KeptIds::new(caller, inside);
                if config.user.is_empty() {
                    config.user = kept.user();
                }
                Some(match caller.uid {
                    0 => Mapping::identity(),
                    _ => find(pool::SIZE, kept)?,
                })
            }
        };
        Ok(mapping.map(|mapping| {
            claims.insert(id, mapping.clone());
            Claim {
                id,
                mapping,
                claims: Arc::clone(&self.claims),
            }
        }))
    }
}

/// Refuses what a user namespace cannot go with, in Docker's words.
fn check_shared(host: &wire::HostConfig) -> Result<(), Error> {
    let refused = [
        (
            host.privileged,
            "privileged mode is incompatible with user namespaces.  You must run the container in the host \
             namespace when running privileged mode",
        ),
        (
            host.network_mode == "host",
            "cannot share the host's network namespace when user namespaces are enabled",
        ),
        (
            host.pid_mode == "host",
            "cannot share the host PID namespace when user namespaces are enabled",
        ),
    ];
    match refused.iter().find(|(asked, _)| *asked) {
        Some((_, message)) => Err(Error::invalid(*message)),
        None => Ok(()),
    }
}

/// Finds ids that nobody has for a mapping.
fn allocate<'a>(
    size: u32,
    kept: KeptIds,
    taken: impl Iterator<Item = &'a Mapping>,
) -> Result<Mapping, Error> {
    let (mut uids, mut gids) = (Vec::new(), Vec::new());
    for mapping in taken {
        uids.extend(mapping.uids.iter().map(Range::outside));
        gids.extend(mapping.gids.iter().map(Range::outside));
    }
    let find = |path: &'static str, kept: Option<(u32, u32)>, mut taken: Vec<Range>| {
        let subids = read_subids(path)?;
        // The kept id is the caller's, and must not be a second id's too.
        taken.extend(kept.map(|(_, outside)| Range::one(outside)));
        let first = pool::of(&subids).allocate(size, &taken).ok_or_else(|| {
            Error::new(
                crate::ErrorKind::Unavailable,
                format!(
                    "no {size} ids in a row are free for a container: see the entries of \"{}\" in {path}",
                    pool::OWNER
                ),
            )
        })?;
        Ok(mapping::lines(first, size, kept))
    };
    Ok(Mapping {
        uids: find(SUBUID, kept.uid, uids)?,
        gids: find(SUBGID, kept.gid, gids)?,
    })
}

/// Reads who may use which ids; a host without the file has given none away.
fn read_subids(path: &str) -> Result<SubIds, Error> {
    let text = match fs::read_to_string(Path::new(path)) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(Error::internal(format!("cannot read {path}"), error)),
    };
    text.parse::<SubIds>()
        .map_err(|error| Error::internal(format!("cannot read {path}"), error))
}

/// A claim is there or it is not; a panic elsewhere cannot leave half of one.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decide(
        setting: Option<Mapping>,
        change: impl FnOnce(&mut wire::HostConfig),
    ) -> Result<Option<Mapping>, String> {
        let namespaces = UserNamespaces {
            remap: setting,
            claims: Arc::default(),
        };
        let mut host = wire::HostConfig::default();
        change(&mut host);
        let mut config = wire::ContainerConfig::default();
        let claim = namespaces.decide(
            ContainerId::random(),
            &host,
            &mut config,
            None,
            &Registry::default(),
        );
        assert_eq!(
            lock(&namespaces.claims).len(),
            usize::from(matches!(claim, Ok(Some(_))))
        );
        claim
            .map(|claim| claim.map(|claim| claim.mapping().clone()))
            .map_err(|error| error.to_string())
    }

    fn remap() -> Mapping {
        let lines = mapping::lines(100_000, 65_536, None);
        Mapping {
            uids: lines.clone(),
            gids: lines,
        }
    }

    #[test]
    fn the_engines_mapping_is_the_default_and_host_has_none() {
        assert_eq!(decide(None, |_| {}), Ok(None));
        assert_eq!(decide(Some(remap()), |_| {}), Ok(Some(remap())));
        let host = |host: &mut wire::HostConfig| host.userns_mode = "host".to_owned();
        assert_eq!(decide(Some(remap()), host), Ok(None));
    }

    #[test]
    fn what_would_reach_the_host_is_refused_as_docker_does() {
        for (change, message) in [
            (
                (|host: &mut wire::HostConfig| host.privileged = true) as fn(&mut wire::HostConfig),
                "privileged mode is incompatible with user namespaces.  You must run the container in the host \
                 namespace when running privileged mode",
            ),
            (
                |host| host.network_mode = "host".to_owned(),
                "cannot share the host's network namespace when user namespaces are enabled",
            ),
            (
                |host| host.pid_mode = "host".to_owned(),
                "cannot share the host PID namespace when user namespaces are enabled",
            ),
        ] {
            assert_eq!(decide(Some(remap()), change), Err(message.to_owned()));
            assert_eq!(decide(None, change), Ok(None));
        }
    }

    #[test]
    fn keep_id_needs_to_know_the_caller() {
        let error = decide(None, |host| host.userns_mode = "keep-id".to_owned());
        assert!(error.expect_err("refused").contains("unix socket"));
    }
}
