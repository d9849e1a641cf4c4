//! What can go wrong, in Docker's words where clients depend on them.

use std::io;
use std::path::PathBuf;

use http::StatusCode;
use wharf_types::Digest;

use crate::manifest::ManifestFault;
use crate::refusal::Refusal;

/// Why an operation at a registry failed.
///
/// The texts are whole: what was the cause is in them, as in Go's errors, so that one line may be
/// shown to a person. [`Error::kind`] is for programs.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The registry does not let this be pulled, or will not say whether it is there.
    #[error(
        "pull access denied for {name}, repository does not exist or may require 'docker login': {refusal}"
    )]
    PullDenied {
        /// The repository, as people write it.
        name: String,
        /// The registry's words.
        refusal: Refusal,
    },
    /// The repository has no such manifest.
    #[error("manifest for {reference} not found: {refusal}")]
    ManifestUnknown {
        /// The image, as people write it.
        reference: String,
        /// The registry's words.
        refusal: Refusal,
    },
    /// The registry has no such repository.
    #[error("repository {name} not found: {refusal}")]
    RepositoryUnknown {
        /// The repository, as people write it.
        name: String,
        /// The registry's words.
        refusal: Refusal,
    },
    /// The registry refused for another reason.
    #[error("{0}")]
    Refused(Refusal),
    /// The registry does not let this name in with this password.
    #[error("login attempt to {url} failed with status: {status}", status = refusal.shown_status())]
    NotLetIn {
        /// The address that was asked.
        url: String,
        /// The registry's words.
        refusal: Refusal,
    },
    /// There was no answer, or no token for the request.
    #[error("{method} \"{url}\": {reason}", method = titled(method))]
    Request {
        /// The method.
        method: http::Method,
        /// The address, without a query that might hold a secret.
        url: String,
        /// Why.
        reason: RequestError,
    },
    /// An answer does not follow the protocol.
    #[error("invalid answer of {endpoint}: {fault}")]
    Answer {
        /// Who answered.
        endpoint: String,
        /// What is wrong with it.
        fault: AnswerFault,
    },
    /// A manifest is not one, or one that must not be believed.
    #[error("invalid manifest {name}: {fault}")]
    Manifest {
        /// The image, as people write it.
        name: String,
        /// What is wrong with it.
        fault: ManifestFault,
    },
    /// An index has nothing for this platform.
    #[error("no matching manifest for {platform} in the manifest list entries")]
    NoMatch {
        /// `os/architecture`, and the variant.
        platform: String,
    },
    /// Content is not what its digest says.
    #[error("{endpoint} gave content that is not {expected} but {actual}")]
    Digest {
        /// Who gave it.
        endpoint: String,
        /// What was asked for.
        expected: Digest,
        /// What came.
        actual: Digest,
    },
    /// Content has another length than it should.
    #[error("{endpoint} gave {actual} bytes for {digest}, which has {expected}")]
    Size {
        /// Who gave it.
        endpoint: String,
        /// What was asked for.
        digest: Digest,
        /// The length it has.
        expected: u64,
        /// The length that came or was announced.
        actual: u64,
    },
    /// The bytes to send cannot be read.
    #[error("cannot read {digest} to upload it: {reason}")]
    Source {
        /// What was to be sent.
        digest: Digest,
        /// Why.
        reason: io::Error,
    },
    /// A file about the registry (`hosts.toml`, a certificate) cannot be used.
    #[error("{path}: {reason}", path = path.display())]
    HostFile {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

/// Why there was no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RequestError {
    /// The name of the host was not found.
    #[error("dial tcp: lookup {host}: {reason}")]
    Lookup {
        /// The name.
        host: String,
        /// Why.
        reason: LookupError,
    },
    /// The host cannot be reached.
    #[error("dial tcp {address}: {reason}")]
    Dial {
        /// Address and port.
        address: String,
        /// Why.
        reason: DialError,
    },
    /// The proxy cannot be reached, or refused.
    #[error("proxyconnect tcp: {0}")]
    Proxy(String),
    /// The server does not speak TLS.
    #[error("http: server gave HTTP response to HTTPS client")]
    PlainAnswer,
    /// The connection could not be secured.
    #[error("tls: {0}")]
    Tls(TlsError),
    /// The connection ended before the answer did.
    #[error("unexpected EOF")]
    Cut,
    /// The server took too long.
    #[error("net/http: timeout awaiting response headers")]
    Timeout,
    /// The connection broke, or what came is not HTTP.
    #[error("{0}")]
    Broken(String),
    /// A redirect that must not be followed.
    #[error("redirect to {to} refused: {reason}")]
    Redirect {
        /// Where to.
        to: String,
        /// Why not.
        reason: RedirectFault,
    },
    /// The registry names a token server that must not be told a secret.
    #[error("the token server {realm} is refused: {reason}")]
    Realm {
        /// The token server.
        realm: String,
        /// Why.
        reason: RealmFault,
    },
    /// The token server refused.
    #[error("{0}")]
    Token(Refusal),
    /// The token server gave no token.
    #[error("invalid answer of the token server {realm}: {fault}")]
    TokenAnswer {
        /// The token server.
        realm: String,
        /// What is wrong.
        fault: AnswerFault,
    },
    /// The registry wants a proof that this client does not know.
    #[error("no basic auth credentials")]
    NoCredentials,
}

/// Why a name was not found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// It does not exist.
    #[error("no such host")]
    NoSuchHost,
    /// The name servers did not answer in time.
    #[error("i/o timeout")]
    Timeout,
    /// The name servers answered that they cannot tell.
    #[error("server misbehaving")]
    Misbehaving,
}

/// Why a host cannot be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DialError {
    /// Nobody listens.
    #[error("connect: connection refused")]
    Refused,
    /// There is no route.
    #[error("connect: no route to host")]
    NoRoute,
    /// There is no network.
    #[error("connect: network is unreachable")]
    NoNetwork,
    /// Nobody answers.
    #[error("i/o timeout")]
    Timeout,
    /// Something else.
    #[error("connect: {0}")]
    Other(io::ErrorKind),
}

/// Why a connection could not be secured.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsError {
    /// Nobody known vouches for the certificate.
    #[error("failed to verify certificate: x509: certificate signed by unknown authority")]
    UnknownAuthority,
    /// The certificate is too old or too young.
    #[error("failed to verify certificate: x509: certificate has expired or is not yet valid")]
    Expired,
    /// The certificate is another host's.
    #[error("failed to verify certificate: x509: certificate is not valid for {0}")]
    WrongName(String),
    /// Something else.
    #[error("{0}")]
    Other(String),
}

/// Why a redirect is not followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RedirectFault {
    /// It leads from `https` to `http`.
    #[error("it would leave https")]
    Downgrade,
    /// It is no address, or one of another scheme.
    #[error("it is no http or https address")]
    Invalid,
    /// There were too many.
    #[error("stopped after 10 redirects")]
    TooMany,
}

/// Why a token server is not asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RealmFault {
    /// It is no address, or one of another scheme.
    #[error("it is no http or https address")]
    Invalid,
    /// It is another host than the registry, and not reached over https.
    #[error("it is not reached over https")]
    Plain,
}

/// What is wrong with an answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnswerFault {
    /// A status that this request does not have.
    #[error("unexpected status {0}")]
    Status(StatusCode),
    /// A header is missing.
    #[error("no header {0}")]
    MissingHeader(&'static str),
    /// A header cannot be read.
    #[error("invalid header {0}")]
    Header(&'static str),
    /// The body is longer than it may be.
    #[error("longer than {0} bytes")]
    TooLong(usize),
    /// The body is not the document it should be.
    #[error("not the document that was asked for: {0}")]
    Document(String),
    /// A list goes on for more pages or entries than is sensible.
    #[error("a list without end")]
    Endless,
    /// Another range than was asked for.
    #[error("another range than was asked for")]
    Range,
    /// The body is compressed, which was not asked for.
    #[error("an encoding that was not asked for")]
    Encoding,
}

/// What an error is to a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// It is not there, or not to be seen.
    NotFound,
    /// Who asks may not.
    Denied,
    /// Who asks is not known, or gave a wrong password.
    Unauthorized,
    /// The registry wants to be asked less often.
    TooManyRequests,
    /// The registry cannot be reached or has trouble of its own.
    Unavailable,
    /// What the registry gave must not be believed.
    Untrustworthy,
    /// The request is wrong, or something on this machine is.
    Invalid,
}

impl Error {
    /// Returns what the error is to a program.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::PullDenied { .. } | Self::ManifestUnknown { .. } | Self::NoMatch { .. } => {
                Kind::NotFound
            }
            Self::RepositoryUnknown { .. } => Kind::NotFound,
            Self::Refused(refusal) | Self::NotLetIn { refusal, .. } => refused(refusal),
            Self::Request { reason, .. } => match reason {
                RequestError::Token(refusal) => refused(refusal),
                RequestError::NoCredentials => Kind::Unauthorized,
                RequestError::Redirect { .. }
                | RequestError::Realm { .. }
                | RequestError::TokenAnswer { .. } => Kind::Untrustworthy,
                _ => Kind::Unavailable,
            },
            Self::Answer { fault, .. } => match fault {
                AnswerFault::Status(status) if status.is_server_error() => Kind::Unavailable,
                _ => Kind::Untrustworthy,
            },
            Self::Manifest { .. } | Self::Digest { .. } | Self::Size { .. } => Kind::Untrustworthy,
            Self::Source { .. } | Self::HostFile { .. } => Kind::Invalid,
        }
    }

    /// Returns the registry's own words, when it had any.
    #[must_use]
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::PullDenied { refusal, .. }
            | Self::ManifestUnknown { refusal, .. }
            | Self::RepositoryUnknown { refusal, .. }
            | Self::Refused(refusal)
            | Self::NotLetIn { refusal, .. }
            | Self::Request {
                reason: RequestError::Token(refusal),
                ..
            } => Some(refusal),
            _ => None,
        }
    }
}

impl RequestError {
    /// Whether there was no connection to send the request over.
    pub(crate) fn is_about_connection(&self) -> bool {
        matches!(
            self,
            Self::Lookup { .. }
                | Self::Dial { .. }
                | Self::Proxy(_)
                | Self::PlainAnswer
                | Self::Tls(_)
        )
    }

    /// Whether it may be another time: the line or the server failed at it.
    pub(crate) fn is_passing(&self) -> bool {
        matches!(self, Self::Cut | Self::Timeout | Self::Broken(_))
    }
}

fn refused(refusal: &Refusal) -> Kind {
    match (refusal.code(), refusal.status()) {
        ("DENIED", _) | (_, 403) => Kind::Denied,
        ("UNAUTHORIZED", _) | (_, 401) => Kind::Unauthorized,
        ("TOOMANYREQUESTS", _) | (_, 429) => Kind::TooManyRequests,
        (_, 404) => Kind::NotFound,
        (_, status) if status >= 500 => Kind::Unavailable,
        _ => Kind::Invalid,
    }
}

/// Go's spelling of a method in an error: `Get`.
fn titled(method: &http::Method) -> String {
    let text = method.as_str();
    let (first, rest) = text.split_at(text.len().min(1));
    format!("{first}{}", rest.to_ascii_lowercase())
}
