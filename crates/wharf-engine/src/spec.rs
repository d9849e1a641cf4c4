//! A container as the runtime is told it: the OCI configuration, with Docker's defaults.

use std::path::{Path, PathBuf};

use wharf_oci::runtime::{
    Capabilities, ConsoleSize, Linux, Mount, Namespace, NamespaceKind, Process, Rlimit, Root, Spec,
    User, VERSION,
};
use wharf_wire as wire;

use crate::borrowed::Borrowed;
use crate::container::{Definition, Places};
use crate::error::Error;
use crate::security::Security;

pub(crate) mod devices;
mod limits;

pub(crate) use limits::resources;

/// Search path of a process that has none.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Where the init process is mounted with `--init`; Docker's name, because scripts know it.
const INIT_PATH: &str = "/sbin/docker-init";

/// What a specification is made of beside the container's definition.
#[derive(Debug)]
pub(crate) struct Circumstances<'a> {
    pub(crate) user: User,
    pub(crate) security: &'a Security,
    pub(crate) places: &'a Places,
    pub(crate) cgroup_parent: &'a Path,
    /// The program to mount as init process.
    pub(crate) program: &'a Path,
    pub(crate) borrowed: &'a Borrowed,
}

/// Makes the specification of a container's start.
pub(crate) fn container(definition: &Definition, given: Circumstances<'_>) -> Result<Spec, Error> {
    let host = &definition.host;
    let config = &definition.config;
    let own = |name| own_name(host, name).map(str::to_owned);
    let cgroup = definition.cgroup(given.cgroup_parent);
    let ids = definition.user_namespace.as_ref();
    let (hostname, domainname) = names(config, given.borrowed);
    Ok(Spec {
        oci_version: VERSION.to_owned(),
        root: Some(Root {
            path: PathBuf::from("rootfs"),
            readonly: host.readonly_rootfs,
        }),
        mounts: mounts(definition, &given),
        hostname: own(hostname),
        domainname: own(domainname),
        annotations: host.annotations.clone(),
        linux: Some(Linux {
            sysctl: host.sysctls.clone(),
            resources: Some(resources(host)?),
            cgroups_path: Some(cgroup.display().to_string()),
            uid_mappings: ids.map_or_else(Vec::new, |ids| ids.uids.clone()),
            gid_mappings: ids.map_or_else(Vec::new, |ids| ids.gids.clone()),
            namespaces: namespaces(host, given.borrowed, ids.is_some()),
            devices: devices::nodes(host)?,
            rootfs_propagation: propagation(definition),
            masked_paths: paths(given.security, host.masked_paths.as_ref()),
            readonly_paths: paths(given.security, host.readonly_paths.as_ref()),
            ..Default::default()
        }),
        process: Some(process(definition, given)),
        ..Default::default()
    })
}

/// Whether `wharf init` is the container's first process. On the host's process ids it would not be.
pub(crate) fn has_init(host: &wire::HostConfig) -> bool {
    host.init == Some(true) && host.pid_mode.is_empty()
}

/// Who has another's network has its names too.
fn names<'a>(config: &'a wire::ContainerConfig, borrowed: &'a Borrowed) -> (&'a str, &'a str) {
    match &borrowed.network {
        Some(lender) => (&lender.hostname, &lender.domainname),
        None => (&config.hostname, &config.domainname),
    }
}

/// A name of the container's own; with the host's names it has none.
pub(crate) fn own_name<'a>(host: &wire::HostConfig, name: &'a str) -> Option<&'a str> {
    Some(name).filter(|name| host.uts_mode != "host" && !name.is_empty())
}

fn paths(security: &Security, given: Option<&Vec<String>>) -> Vec<PathBuf> {
    if security.system_paths {
        return Vec::new();
    }
    given.into_iter().flatten().map(PathBuf::from).collect()
}

fn process(definition: &Definition, given: Circumstances<'_>) -> Process {
    let config = &definition.config;
    let host = &definition.host;
    let mut args = definition.command.clone();
    if has_init(host) {
        let init = [INIT_PATH, "init", "--"].map(str::to_owned);
        args.splice(0..0, init);
    }
    let (hostname, _) = names(config, given.borrowed);
    let [height, width] = host.console_size;
    let size = (config.tty && height > 0 && width > 0).then(|| ConsoleSize {
        height: u16::try_from(height).unwrap_or(u16::MAX),
        width: u16::try_from(width).unwrap_or(u16::MAX),
    });
    let cwd = if config.working_dir.is_empty() {
        "/"
    } else {
        &config.working_dir
    };
    Process {
        terminal: config.tty,
        console_size: size,
        user: given.user,
        args,
        env: environment(config, own_name(host, hostname)),
        cwd: PathBuf::from(cwd),
        capabilities: Some(capabilities(&given.security.capabilities)),
        rlimits: host.ulimits.iter().flatten().map(rlimit).collect(),
        no_new_privileges: given.security.no_new_privileges,
        apparmor_profile: given.security.apparmor.clone(),
        oom_score_adj: Some(host.oom_score_adj).filter(|score| *score != 0),
        ..Default::default()
    }
}

/// The three sets of a container's process; inheritable and ambient stay empty (attack R12).
pub(crate) fn capabilities(names: &[String]) -> Capabilities {
    Capabilities {
        bounding: names.to_vec(),
        effective: names.to_vec(),
        permitted: names.to_vec(),
        ..Default::default()
    }
}

/// Docker's variables first, then the configured ones, of which a name counts once; the runtime
/// adds HOME from the image's passwd file.
pub(crate) fn environment(config: &wire::ContainerConfig, hostname: Option<&str>) -> Vec<String> {
    let mut env = vec![PATH.to_owned()];
    if let Some(hostname) = hostname {
        env.push(format!("HOSTNAME={hostname}"));
    }
    if config.tty {
        env.push("TERM=xterm".to_owned());
    }
    overlay_env(&mut env, config.env.as_deref().unwrap_or_default());
    env
}

/// Lays variables over others; a name that is there already keeps its place.
pub(crate) fn overlay_env(env: &mut Vec<String>, over: &[String]) {
    for entry in over {
        let key = entry.split('=').next();
        match env.iter_mut().find(|old| old.split('=').next() == key) {
            Some(old) => old.clone_from(entry),
            None => env.push(entry.clone()),
        }
    }
}

fn rlimit(ulimit: &wire::Ulimit) -> Rlimit {
    // -1 is no limit, whose number is the largest.
    let value = |value: i64| u64::try_from(value).unwrap_or(u64::MAX);
    Rlimit {
        kind: format!("RLIMIT_{}", ulimit.name.to_ascii_uppercase()),
        soft: value(ulimit.soft),
        hard: value(ulimit.hard),
    }
}

fn namespaces(host: &wire::HostConfig, borrowed: &Borrowed, own_ids: bool) -> Vec<Namespace> {
    let wanted = [
        (NamespaceKind::User, own_ids),
        (NamespaceKind::Mount, true),
        (NamespaceKind::Network, host.network_mode != "host"),
        (NamespaceKind::Uts, host.uts_mode != "host"),
        (NamespaceKind::Pid, host.pid_mode != "host"),
        (NamespaceKind::Ipc, host.ipc_mode != "host"),
        (NamespaceKind::Cgroup, host.cgroupns_mode != "host"),
    ];
    let own = wanted.into_iter().filter(|(_, own)| *own);
    own.map(|(kind, _)| Namespace {
        kind,
        path: match kind {
            NamespaceKind::Pid => borrowed.pid.clone(),
            NamespaceKind::Ipc => borrowed.ipc.clone(),
            NamespaceKind::User => borrowed.user.clone(),
            _ => None,
        },
    })
    .collect()
}

/// A mount that is to reach the host or to follow it needs a root that lets it.
fn propagation(definition: &Definition) -> Option<String> {
    let has = |kind: &str| {
        definition.mounts.iter().any(|mount| match mount {
            crate::mounts::Mount::Bind(bind) => bind.propagation.ends_with(kind),
            _ => false,
        })
    };
    if has("shared") {
        Some("shared".to_owned())
    } else if has("slave") {
        Some("slave".to_owned())
    } else {
        None
    }
}

fn mount(destination: &str, kind: &str, source: &str, options: &[&str]) -> Mount {
    Mount {
        destination: PathBuf::from(destination),
        kind: Some(kind.to_owned()),
        source: Some(PathBuf::from(source)),
        options: options.iter().map(|option| (*option).to_owned()).collect(),
        ..Default::default()
    }
}

fn mounts(definition: &Definition, given: &Circumstances<'_>) -> Vec<Mount> {
    let host = &definition.host;
    let system = if host.privileged { "rw" } else { "ro" };
    let cgroups = if given.security.writable_cgroups {
        "rw"
    } else {
        "ro"
    };
    let mut mounts = vec![
        mount("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
        mount(
            "/dev",
            "tmpfs",
            "tmpfs",
            &["nosuid", "strictatime", "mode=755", "size=65536k"],
        ),
        mount(
            "/dev/pts",
            "devpts",
            "devpts",
            &[
                "nosuid",
                "noexec",
                "newinstance",
                "ptmxmode=0666",
                "mode=0620",
                "gid=5",
            ],
        ),
        mount(
            "/sys",
            "sysfs",
            "sysfs",
            &["nosuid", "noexec", "nodev", system],
        ),
        mount(
            "/sys/fs/cgroup",
            "cgroup",
            "cgroup",
            &["nosuid", "noexec", "nodev", cgroups],
        ),
        mount(
            "/dev/mqueue",
            "mqueue",
            "mqueue",
            &["nosuid", "noexec", "nodev"],
        ),
    ];
    match host.ipc_mode.as_str() {
        "host" => {
            // The queues and segments are the host's, and so is where they are seen.
            mounts.retain(|mount| mount.destination != Path::new("/dev/mqueue"));
            // Not every host has the queues mounted.
            if Path::new("/dev/mqueue").is_dir() {
                mounts.push(mount(
                    "/dev/mqueue",
                    "bind",
                    "/dev/mqueue",
                    &["rbind", "rprivate"],
                ));
            }
            mounts.push(mount(
                "/dev/shm",
                "bind",
                "/dev/shm",
                &["rbind", "rprivate"],
            ));
        }
        "none" => {}
        _ if given.borrowed.shm.is_some() => {
            let mut shm = mount("/dev/shm", "bind", "", &["bind", "rprivate"]);
            shm.source.clone_from(&given.borrowed.shm);
            mounts.push(shm);
        }
        _ => {
            let size = format!("size={}", host.shm_size);
            let options = ["nosuid", "noexec", "nodev", "mode=1777", &size];
            mounts.push(mount("/dev/shm", "tmpfs", "shm", &options));
        }
    }
    if has_init(host) {
        let mut init = mount(INIT_PATH, "bind", "", &["bind", "ro", "nosuid", "rprivate"]);
        init.source = Some(given.program.to_owned());
        mounts.push(init);
    }
    // What the user mounts replaces what is there by default.
    let own = file_mounts(definition, given.places, given.borrowed);
    mounts.retain(|mount| own.iter().all(|o| o.destination != mount.destination));
    mounts.extend(own);
    mounts
}

/// What is mounted into a container and has files of the user's or of the container's own, each
/// mount after what it is mounted upon.
pub(crate) fn file_mounts(
    definition: &Definition,
    places: &Places,
    borrowed: &Borrowed,
) -> Vec<Mount> {
    let network = borrowed.network.as_ref();
    let directory = places.container(network.map_or(definition.id, |lender| lender.id));
    // What is the engine's own belongs to the ids that containers see.
    let mapped = |mut mount: Mount| {
        if definition.user_namespace.is_some() {
            mount.options.push("idmap".to_owned());
        }
        mount
    };
    let mut mounts: Vec<Mount> = ["resolv.conf", "hostname", "hosts"]
        .into_iter()
        .map(|name| Mount {
            source: Some(directory.join(name)),
            ..mount(&format!("/etc/{name}"), "bind", "", &["bind", "rprivate"])
        })
        .map(mapped)
        .collect();
    let own: Vec<Mount> = definition
        .mounts
        .iter()
        .map(|mount| {
            let found = borrowed.volumes.get(mount.target());
            let found = found.filter(|_| mount.volume().is_some());
            let mut oci = mount.to_oci(found.map(|found| found.source.as_path()));
            if let Some(found) = found {
                oci.options.extend(found.flags.iter().cloned());
                if !found.recursive {
                    oci.options.retain(|option| option != "rbind");
                    oci.options.push("bind".to_owned());
                }
            }
            // In a place that others reach, the container's root would be the host's.
            match found {
                Some(found) if found.own => mapped(oci),
                _ => oci,
            }
        })
        .collect();
    mounts.retain(|mount| own.iter().all(|o| o.destination != mount.destination));
    mounts.extend(own);
    // What is mounted below another mount comes after it.
    mounts.sort_by_key(|mount| mount.destination.components().count());
    mounts
}

/// Docker's masked paths.
pub(crate) fn masked_paths() -> Vec<String> {
    let paths = [
        "/proc/acpi",
        "/proc/asound",
        "/proc/interrupts",
        "/proc/kcore",
        "/proc/keys",
        "/proc/latency_stats",
        "/proc/sched_debug",
        "/proc/scsi",
        "/proc/timer_list",
        "/proc/timer_stats",
        "/sys/devices/virtual/powercap",
        "/sys/firmware",
    ];
    paths.map(str::to_owned).to_vec()
}

/// Docker's read-only paths.
pub(crate) fn readonly_paths() -> Vec<String> {
    let paths = [
        "/proc/bus",
        "/proc/fs",
        "/proc/irq",
        "/proc/sys",
        "/proc/sysrq-trigger",
    ];
    paths.map(str::to_owned).to_vec()
}

#[cfg(test)]
mod tests {
    use crate::defaults::Defaults;
    use std::collections::BTreeMap;

    use jiff::Timestamp;
    use wharf_types::{ContainerId, Digest};

    use super::*;

    fn definition(
        change: impl FnOnce(&mut wire::ContainerConfig, &mut wire::HostConfig),
    ) -> Definition {
        let mut config = wire::ContainerConfig::default();
        let mut host = wire::HostConfig::default();
        change(&mut config, &mut host);
        Definition {
            id: ContainerId::random(),
            created: Timestamp::UNIX_EPOCH,
            image: Digest::of(b""),
            image_name: "busybox".to_owned(),
            command: vec!["true".to_owned()],
            config,
            host,
            mounts: Vec::new(),
            user_namespace: None,
        }
    }

    fn spec(definition: &Definition) -> Spec {
        let security = Security::read(&definition.host, &Defaults::default()).expect("security");
        let places = Places {
            data_root: PathBuf::from("/data"),
            exec_root: PathBuf::from("/exec"),
        };
        let given = Circumstances {
            user: User::default(),
            security: &security,
            places: &places,
            cgroup_parent: Path::new("/wharf"),
            program: Path::new("/usr/bin/wharf"),
            borrowed: &Borrowed::default(),
        };
        container(definition, given).expect("spec")
    }

    #[test]
    fn attack_r12_no_capability_is_inheritable() {
        let spec = spec(&definition(|_, host| host.privileged = true));
        let capabilities = spec
            .process
            .expect("process")
            .capabilities
            .expect("capabilities");
        assert_eq!(capabilities.inheritable, Vec::<String>::new());
        assert_eq!(capabilities.ambient, Vec::<String>::new());
    }

    #[test]
    fn attack_r20_labels_do_not_become_annotations() {
        let definition = definition(|config, _| {
            let label = ("org.criu.config".to_owned(), "/etc/shadow".to_owned());
            config.labels = Some(BTreeMap::from([label]));
        });
        assert_eq!(spec(&definition).annotations, BTreeMap::new());
    }

    #[test]
    fn attack_r24_variables_are_the_containers_own() {
        let definition = definition(|config, _| config.env = Some(vec!["A=1".to_owned()]));
        assert_eq!(
            spec(&definition).process.expect("process").env,
            [PATH, "A=1"]
        );
    }

    #[test]
    fn an_init_process_goes_first() {
        let definition = definition(|_, host| host.init = Some(true));
        let spec = spec(&definition);
        assert_eq!(
            spec.process.expect("process").args,
            ["/sbin/docker-init", "init", "--", "true"]
        );
        let init = spec
            .mounts
            .iter()
            .find(|m| m.destination == Path::new(INIT_PATH));
        assert_eq!(
            init.and_then(|mount| mount.source.clone()),
            Some(PathBuf::from("/usr/bin/wharf"))
        );
    }

    #[test]
    fn the_hosts_namespaces_are_shared_when_asked() {
        let definition = definition(|_, host| {
            "host".clone_into(&mut host.pid_mode);
            "host".clone_into(&mut host.uts_mode);
            "host".clone_into(&mut host.network_mode);
        });
        let kinds: Vec<_> = spec(&definition)
            .linux
            .expect("linux")
            .namespaces
            .iter()
            .map(|namespace| namespace.kind)
            .collect();
        use NamespaceKind::{Cgroup, Ipc, Mount};
        assert_eq!(kinds, [Mount, Ipc, Cgroup]);
    }
}
