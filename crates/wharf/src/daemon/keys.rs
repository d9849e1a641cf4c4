//! The settings there are: their keys in the configuration file, what their values look like, and which of dockerd's
//! are refused, with the reason.

use super::flags::Given;
use wharf_cli::grammar::Flag;

/// What a setting's value looks like in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// A string.
    Text,
    /// `true` or `false`.
    Truth,
    /// A whole number.
    Number,
    /// Bytes: a number, or a string with a unit.
    Size,
    /// A list of strings.
    List,
    /// An object.
    Object,
    /// A list of objects.
    Objects,
    /// `true` or `false`, of which one only is possible; the reason why.
    Only(bool, &'static str),
}

/// One setting.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) form: Form,
    /// Whether a change counts without a restart.
    pub(super) live: bool,
}

const fn key(name: &'static str, form: Form) -> Key {
    Key {
        name,
        form,
        live: false,
    }
}

const fn live(name: &'static str, form: Form) -> Key {
    Key {
        name,
        form,
        live: true,
    }
}

const OWN_TABLE: &str =
    "the engine's rules are in an nftables table of its own, without which there is no network";

/// Every setting that is served.
pub(super) static KEYS: &[Key] = &[
    key("allow-insecure-tcp", Form::Truth),
    key("bip", Form::Text),
    key("bridge", Form::Text),
    key("cdi-spec-dirs", Form::List),
    key("cgroup-parent", Form::Text),
    live("certs-directories", Form::List),
    key("data-root", Form::Text),
    live("debug", Form::Truth),
    key("default-address-pools", Form::Objects),
    live("default-cgroupns-mode", Form::Text),
    live("default-ipc-mode", Form::Text),
    live("default-runtime", Form::Text),
    live("default-shm-size", Form::Size),
    live("default-ulimits", Form::Object),
    key("dns", Form::List),
    key("dns-opts", Form::List),
    key("dns-search", Form::List),
    key("exec-opts", Form::List),
    key("exec-root", Form::Text),
    key(
        "experimental",
        Form::Only(false, "the engine has no experimental features"),
    ),
    key("features", Form::Object),
    key("firewall-backend", Form::Text),
    key("group", Form::Text),
    key("host-gateway-ip", Form::Text),
    key("hosts", Form::List),
    key(
        "icc",
        Form::Only(true, "containers of the default bridge reach each other"),
    ),
    live("image-collection", Form::Object),
    live("init", Form::Truth),
    live("insecure-registries", Form::List),
    key("ip", Form::Text),
    key(
        "ip-forward",
        Form::Only(
            true,
            "without forwarding there is no network for containers",
        ),
    ),
    key(
        "ip-masq",
        Form::Only(
            true,
            "containers of the default bridge leave with the host's address",
        ),
    ),
    key("iptables", Form::Only(true, OWN_TABLE)),
    key(
        "ipv6",
        Form::Only(false, "the default bridge has IPv4 addresses only"),
    ),
    live("labels", Form::List),
    live(
        "live-restore",
        Form::Only(true, "containers always go on without the engine"),
    ),
    live("log-driver", Form::Text),
    key("log-format", Form::Text),
    live("log-level", Form::Text),
    live("log-opts", Form::Object),
    live("max-concurrent-downloads", Form::Number),
    live("max-concurrent-uploads", Form::Number),
    live("max-download-attempts", Form::Number),
    live("mirrors", Form::Object),
    key("mtu", Form::Number),
    live("no-new-privileges", Form::Truth),
    key("pidfile", Form::Text),
    live("proxies", Form::Object),
    // The log has no colours to take away.
    key("raw-logs", Form::Truth),
    live("registry-mirrors", Form::List),
    live("runtimes", Form::Object),
    live("seccomp-profile", Form::Text),
    key(
        "selinux-enabled",
        Form::Only(false, "SELinux labels are not served"),
    ),
    live("shutdown-timeout", Form::Number),
    key("storage-driver", Form::Text),
    key("tls", Form::Truth),
    key("tlscacert", Form::Text),
    key("tlscert", Form::Text),
    key("tlskey", Form::Text),
    key("tlsverify", Form::Truth),
    live("trust-policy", Form::Text),
    key(
        "userland-proxy",
        Form::Only(false, "ports are published without a process each"),
    ),
    key("userns-remap", Form::Text),
];

/// A setting of dockerd's that is refused.
#[derive(Debug)]
pub(super) struct Refused {
    /// Its flag, or nothing where there is none.
    pub(super) flag: &'static str,
    /// Its key in the file, or nothing where there is none.
    pub(super) key: &'static str,
    pub(super) reason: &'static str,
}

macro_rules! refused {
    ($($flag:literal, $key:literal: $reason:expr;)*) => {
        /// Settings of dockerd's that are not served.
        pub(super) static REFUSED: &[Refused] = &[$(Refused { flag: $flag, key: $key, reason: $reason }),*];

        /// Their flags.
        pub(super) static REFUSED_FLAGS: &[Flag<Given>] = &[$(Flag::refused($flag)),*];
    };
}

const NO_CONTAINERD: &str = "the engine runs containers itself, without containerd";
const IN_PROXIES: &str = "write it as a member of proxies";
const NO_SWARM: &str = "the engine has no Swarm mode yet";
const NO_IPV6: &str = "the default bridge has IPv4 addresses only";
const NO_PLUGINS: &str = "the engine has no plugins";
const NO_REAL_TIME: &str = "real-time scheduling is not shared out among containers";

refused! {
    "allow-direct-routing", "allow-direct-routing": "the host's own rules decide what is routed to containers";
    "allow-nondistributable-artifacts", "allow-nondistributable-artifacts": "layers of every kind may go to every registry";
    "api-cors-header", "api-cors-header": "web pages never get to speak to the engine";
    "authorization-plugin", "authorization-plugins": NO_PLUGINS;
    "bip6", "bip6": NO_IPV6;
    "bridge-accept-fwmark", "bridge-accept-fwmark": "the engine's rules do not look at marks";
    "", "builder": "the engine does not build images yet";
    "containerd", "containerd": NO_CONTAINERD;
    "containerd-namespace", "containerd-namespace": NO_CONTAINERD;
    "containerd-plugins-namespace", "containerd-plugins-namespace": NO_CONTAINERD;
    "cpu-rt-period", "cpu-rt-period": NO_REAL_TIME;
    "cpu-rt-runtime", "cpu-rt-runtime": NO_REAL_TIME;
    "cri-containerd", "cri-containerd": NO_CONTAINERD;
    "default-gateway", "default-gateway": "the gateway of the default bridge is its own address: set bip";
    "default-gateway-v6", "default-gateway-v6": NO_IPV6;
    "default-network-opt", "default-network-opts": "networks have no options yet";
    "", "deprecated-key-path": "the engine has no key";
    "fixed-cidr", "fixed-cidr": "containers' addresses come from the whole subnet of the default bridge: set bip";
    "fixed-cidr-v6", "fixed-cidr-v6": NO_IPV6;
    "", "host-gateway-ips": "set host-gateway-ip, to one IPv4 address";
    "", "http-headers": "the engine's answers have Docker's headers only";
    "", "http-proxy": IN_PROXIES;
    "", "https-proxy": IN_PROXIES;
    "init-path", "init-path": "the init process is part of the program";
    "ip-forward-no-drop", "ip-forward-no-drop": "the engine never changes the policy of a chain that is not its own";
    "ip6tables", "ip6tables": NO_IPV6;
    "metrics-addr", "metrics-addr": "the engine has no metrics yet";
    "", "min-api-version": "the API is served from version 1.24 on";
    "network-control-plane-mtu", "network-control-plane-mtu": NO_SWARM;
    "", "no-proxy": IN_PROXIES;
    "node-generic-resource", "node-generic-resources": NO_SWARM;
    "oom-score-adjust", "oom-score-adjust": "set OOMScoreAdjust in the engine's service unit";
    "rootless", "rootless": "the engine needs to be started as root";
    "storage-opt", "storage-opts": "the storage drivers have no options";
    "swarm-default-advertise-addr", "swarm-default-advertise-addr": NO_SWARM;
    "userland-proxy-path", "userland-proxy-path": "ports are published without a process each";
}

/// Why a flag is refused, if it is.
pub(super) fn refused_flag(flag: &str) -> Option<&'static str> {
    let found = REFUSED
        .iter()
        .find(|refused| !refused.flag.is_empty() && flag.strip_prefix("--") == Some(refused.flag));
    found.map(|refused| refused.reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_served_or_refused_and_stands_once() {
        let mut names: Vec<_> = KEYS.iter().map(|key| key.name).collect();
        names.extend(REFUSED.iter().map(|refused| refused.key));
        names.sort_unstable();
        let repeated: Vec<_> = names.windows(2).filter(|pair| pair[0] == pair[1]).collect();
        assert!(repeated.is_empty(), "{repeated:?}");
    }

    #[test]
    fn the_documentation_names_every_setting() {
        let text = include_str!("../../../../docs/daemon.md");
        let (served, refused) = text.split_once("## Refused").expect("both are documented");
        let missing: Vec<_> = KEYS
            .iter()
            .map(|key| (served, key.name))
            .chain(REFUSED.iter().map(|setting| (refused, setting.key)))
            .filter(|(text, key)| !text.contains(&format!("`{key}`")))
            .collect();
        assert!(
            missing.is_empty(),
            "{:?}",
            missing.iter().map(|(_, key)| key).collect::<Vec<_>>()
        );
    }
}
