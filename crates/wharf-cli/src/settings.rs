//! What the global flags, the environment and the user's configuration come to.

pub(crate) mod address;
pub(crate) mod config;
pub(crate) mod contexts;
pub(crate) mod credentials;
pub(crate) mod tls;

use std::path::{Path, PathBuf};

pub(crate) use address::{Address, AddressError, SshAddress};
pub(crate) use config::Config;
pub(crate) use credentials::Credentials;

use crate::environment;
use contexts::{ContextError, DEFAULT, DOCKER, Store};
use tls::{Flags, Tls, TlsFileError};

/// The socket an engine listens on unless it is told otherwise.
pub(crate) const DEFAULT_SOCKET: &str = "/run/wharf.sock";

/// The flags before the command that say which engine is meant.
#[derive(Debug, Default)]
pub(crate) struct Choice {
    pub(crate) host: Option<String>,
    pub(crate) context: Option<String>,
    pub(crate) tls: Flags,
}

/// An engine that cannot be told.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HostError {
    #[error(transparent)]
    Address(#[from] AddressError),
    #[error("Failed to initialize: unable to resolve docker endpoint")]
    Context(#[source] ContextError),
    #[error("Failed to initialize: unable to resolve docker endpoint")]
    Tls(#[source] TlsFileError),
    #[error("conflicting options: cannot specify both --host and --context")]
    HostAndContext,
}

/// The engine to talk to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Host {
    /// Where it is.
    pub(crate) address: Address,
    /// What the connection is secured with.
    pub(crate) tls: Option<Tls>,
    /// Whether somebody chose it; the default one is started when it does not run.
    pub(crate) chosen: bool,
}

impl Host {
    /// Finds the engine that is meant.
    pub(crate) fn resolve(
        choice: &Choice,
        config: &Config,
        directory: &Path,
    ) -> Result<Self, HostError> {
        if choice.host.is_some() && choice.context.is_some() {
            return Err(HostError::HostAndContext);
        }
        let name = context_name(choice, config);
        if name == DEFAULT {
            return Self::without_context(choice, directory);
        }
        let store = Store::new(directory);
        let meta = store.get(&name).map_err(HostError::Context)?;
        let endpoint = meta
            .endpoints
            .get(DOCKER)
            .ok_or(ContextError::NoEndpoint(name.clone()))
            .map_err(HostError::Context)?;
        let tls = store.tls(&name, endpoint).map_err(HostError::Context)?;
        let address = if endpoint.host.is_empty() {
            Address::Unix(PathBuf::from(DEFAULT_SOCKET))
        } else {
            address::parse(&endpoint.host)?
        };
        Ok(Self::at(address, tls))
    }

    /// The engine of flags and environment.
    fn without_context(choice: &Choice, directory: &Path) -> Result<Self, HostError> {
        let certificates = environment::read(environment::DOCKER_CERT_PATH).map(PathBuf::from);
        let certificates = certificates.as_deref().unwrap_or(directory);
        let mut flags = &choice.tls;
        let by_variable;
        if !flags.tls && environment::read(environment::DOCKER_TLS).is_some() {
            by_variable = Flags {
                tls: true,
                verify: flags.verify,
                ca: flags.ca.clone(),
                certificate: flags.certificate.clone(),
                key: flags.key.clone(),
            };
            flags = &by_variable;
        }
        let verify = environment::read(environment::DOCKER_TLS_VERIFY).is_some();
        let tls = flags.load(certificates, verify).map_err(HostError::Tls)?;
        match default_host(choice) {
            Some(text) => Ok(Self::at(address::parse(&text)?, tls)),
            None => Ok(Self {
                address: Address::Unix(PathBuf::from(DEFAULT_SOCKET)),
                tls: None,
                chosen: false,
            }),
        }
    }

    /// An engine that was chosen; only connections to a host and port are secured here.
    fn at(address: Address, tls: Option<Tls>) -> Self {
        let tls = tls.filter(|_| matches!(address, Address::Tcp(_)));
        Self {
            address,
            tls,
            chosen: true,
        }
    }
}

/// The host that flag or environment name.
pub(crate) fn default_host(choice: &Choice) -> Option<String> {
    choice
        .host
        .clone()
        .filter(|host| !host.is_empty())
        .or_else(host_variable)
}

fn host_variable() -> Option<String> {
    environment::read(environment::WHARF_HOST)
        .or_else(|| environment::read(environment::DOCKER_HOST))
}

/// The name of the context that is meant.
pub(crate) fn context_name(choice: &Choice, config: &Config) -> String {
    if let Some(name) = choice.context.clone().filter(|name| !name.is_empty()) {
        return name;
    }
    if choice.host.is_some() || host_variable().is_some() {
        return DEFAULT.to_owned();
    }
    environment::read(environment::DOCKER_CONTEXT)
        .or_else(|| Some(config.current_context.clone()).filter(|name| !name.is_empty()))
        .unwrap_or_else(|| DEFAULT.to_owned())
}
