//! What can go wrong between a command and the engine.

use std::io;

use hyper::StatusCode;

use super::connect::TlsError;
use crate::launch::LaunchError;
use crate::program::Program;
use crate::settings::Address;

/// Why a request has no good answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// There is no engine.
    #[error("Cannot connect to the {daemon} at {address}. Is the {small} running?{cause}")]
    Connect {
        /// The engine's name as a title.
        daemon: &'static str,
        /// The engine's name in a sentence.
        small: &'static str,
        /// Where it should be.
        address: String,
        /// Why not, where that tells more.
        cause: String,
    },
    /// The engine's socket is not ours to use.
    #[error("permission denied while trying to connect to the {daemon} socket at {address}")]
    Permission {
        /// The engine's name as a title.
        daemon: &'static str,
        /// Where it is.
        address: String,
    },
    /// The engine that was to be started did not start.
    #[error("cannot start the engine")]
    Launch {
        /// Why.
        source: LaunchError,
    },
    /// The system's `ssh` cannot be run.
    #[error("error during connect: cannot run ssh")]
    Ssh(#[source] io::Error),
    /// Certificates or keys are no good.
    #[error("error during connect")]
    Tls(#[source] TlsError),
    /// The engine and we do not find a common ground, or it is not the one it should be.
    #[error("error during connect: TLS handshake")]
    Handshake(#[source] io::Error),
    /// The other machine's shell ended before an engine answered.
    #[error(
        "error during connect: {address}: the command there has ended, make sure the URL is valid, and wharf or docker is installed on the remote host"
    )]
    Remote {
        /// The engine's place.
        address: String,
        /// How.
        source: hyper::Error,
    },
    /// The connection broke.
    #[error("error during connect to {address}")]
    Exchange {
        /// The engine's place.
        address: String,
        /// How.
        source: hyper::Error,
    },
    /// The engine said no.
    #[error("Error response from daemon: {message}")]
    Engine {
        /// The kind of refusal.
        status: StatusCode,
        /// The engine's words.
        message: String,
    },
    /// A flag needs a newer engine.
    #[error("{0}")]
    TooOld(String),
    /// A registry that was asked without an engine refuses, or cannot be reached.
    #[error(transparent)]
    Registry(Box<wharf_distribution::Error>),
    /// The settings for asking registries are wrong.
    #[error(transparent)]
    RegistryClient(wharf_distribution::SettingsError),
    /// The answer is not what it should be.
    #[error("cannot understand the engine's answer")]
    Decode(#[source] serde_json::Error),
    /// The engine does not hand the connection over.
    #[error("unable to upgrade to tcp, received {0}")]
    NoUpgrade(u16),
    /// The request cannot be written.
    #[error("cannot write the request")]
    Encode(#[source] serde_json::Error),
    /// A name in the request cannot stand in an address.
    #[error("cannot make the request")]
    Request(#[source] hyper::http::Error),
}

impl ClientError {
    /// There is no connection to an engine.
    pub(super) fn connect(program: Program, address: &Address, source: io::Error) -> Self {
        let (daemon, small) = program.daemon();
        if source.kind() == io::ErrorKind::PermissionDenied {
            return Self::Permission {
                daemon,
                address: address.to_string(),
            };
        }
        let cause = match address {
            Address::Unix(_) | Address::Ssh(_) => String::new(),
            Address::Tcp(_) => format!(" ({})", crate::failure::errno_text(&source)),
        };
        Self::Connect {
            daemon,
            small,
            address: address.to_string(),
            cause,
        }
    }

    /// The status of the engine's refusal, if it is one.
    pub(crate) fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Engine { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// The engine's own words, if it is a refusal.
    pub(crate) fn engine_message(&self) -> Option<&str> {
        match self {
            Self::Engine { message, .. } => Some(message),
            _ => None,
        }
    }
}
