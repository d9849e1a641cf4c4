//! How the client reaches registries. Everything is a value here: a library reads no environment.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// How long a connection may take to be made, over all addresses of a host.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// How long TLS may take to be agreed on, Go's figure.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a server may think before it answers.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a body may stand still.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// How often something is tried that makes no progress.
pub const TRIES: u32 = 5;
/// The pause after the first failure; each further one is twice as long.
pub const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// The longest pause.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(8);
/// The longest `Retry-After` that is waited for; who asks for more is believed and told on.
pub const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(30);
/// Largest piece of an upload to a registry that refuses the whole.
pub const UPLOAD_PIECE: u64 = 16 * 1024 * 1024;

/// How the client reaches registries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// What the client calls itself.
    pub user_agent: String,
    /// Registries whose certificates are not verified and that may speak plain HTTP: `host`,
    /// `host:port`, or a network (`10.0.0.0/8`) that their addresses are in. Loopback always is.
    pub insecure_registries: Vec<String>,
    /// Mirrors in the order they are asked, by registry (`docker.io`, `quay.io`, `host:port`). A mirror
    /// is an `http` or `https` address; a name and password in it are the mirror's own.
    pub mirrors: BTreeMap<String, Vec<String>>,
    /// Directories with one directory a registry, `<host[:port]>/{hosts.toml,*.crt,*.cert,*.key}`. The
    /// first that has the registry counts.
    pub host_directories: Vec<PathBuf>,
    /// Proxies.
    pub proxies: Proxies,
    /// Files with the certificates of authorities; the first that is there counts, and with none of
    /// them Mozilla's list in this program.
    pub root_certificates: Vec<PathBuf>,
    /// `/etc/hosts`.
    pub hosts_file: PathBuf,
    /// `/etc/resolv.conf`.
    pub resolv_conf: PathBuf,
    /// How long and how often things are tried.
    pub limits: Limits,
}

/// Proxies, as the variables of the same names have them; empty for none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    /// `HTTP_PROXY`: for plain registries.
    pub http: String,
    /// `HTTPS_PROXY`: for all others.
    pub https: String,
    /// `NO_PROXY`: hosts, domains (`.example.com`), addresses, networks, each with a port or without;
    /// `*` for all.
    pub no_proxy: String,
}

/// How long and how often things are tried. The defaults are the constants of this module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// See [`CONNECT_TIMEOUT`].
    pub connect: Duration,
    /// See [`HANDSHAKE_TIMEOUT`].
    pub handshake: Duration,
    /// See [`ANSWER_TIMEOUT`].
    pub answer: Duration,
    /// See [`IDLE_TIMEOUT`].
    pub idle: Duration,
    /// See [`TRIES`].
    pub tries: u32,
    /// See [`FIRST_PAUSE`].
    pub first_pause: Duration,
    /// See [`LONGEST_PAUSE`].
    pub longest_pause: Duration,
    /// See [`LONGEST_RETRY_AFTER`].
    pub longest_retry_after: Duration,
    /// See [`UPLOAD_PIECE`].
    pub upload_piece: u64,
}

/// Why settings cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// The name of the client does not go into a header.
    #[error("invalid user agent {0:?}")]
    UserAgent(String),
    /// An insecure registry is neither a host nor a network.
    #[error("insecure registry {0} is not valid: it is neither a host[:port] nor a network")]
    InsecureRegistry(String),
    /// A mirror is not an address.
    #[error("invalid mirror {0:?}: {1}")]
    Mirror(String, &'static str),
    /// A registry with mirrors is not one.
    #[error("invalid registry {0:?}: expected host[:port]")]
    Registry(String),
    /// A proxy is not an address.
    #[error("invalid proxy {0:?}: {1}")]
    Proxy(String, &'static str),
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            user_agent: concat!("wharf/", env!("CARGO_PKG_VERSION")).to_owned(),
            insecure_registries: Vec::new(),
            mirrors: BTreeMap::new(),
            host_directories: [
                "/etc/wharf/certs.d",
                "/etc/docker/certs.d",
                "/etc/containerd/certs.d",
            ]
            .map(PathBuf::from)
            .to_vec(),
            proxies: Proxies::default(),
            root_certificates: [
                // Debian, Fedora, SUSE, Alpine: where Go looks too.
                "/etc/ssl/certs/ca-certificates.crt",
                "/etc/pki/tls/certs/ca-bundle.crt",
                "/etc/ssl/ca-bundle.pem",
                "/etc/pki/tls/cacert.pem",
                "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
                "/etc/ssl/cert.pem",
            ]
            .map(PathBuf::from)
            .to_vec(),
            hosts_file: PathBuf::from("/etc/hosts"),
            resolv_conf: PathBuf::from("/etc/resolv.conf"),
            limits: Limits::default(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: CONNECT_TIMEOUT,
            handshake: HANDSHAKE_TIMEOUT,
            answer: ANSWER_TIMEOUT,
            idle: IDLE_TIMEOUT,
            tries: TRIES,
            first_pause: FIRST_PAUSE,
            longest_pause: LONGEST_PAUSE,
            longest_retry_after: LONGEST_RETRY_AFTER,
            upload_piece: UPLOAD_PIECE,
        }
    }
}
