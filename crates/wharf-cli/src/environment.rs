//! The environment variables the command line reads, all of them.

/// The engine to talk to: `unix:///path`, `tcp://address:port`, `ssh://user@host`.
pub(crate) const WHARF_HOST: &str = "WHARF_HOST";

/// The same for Docker's users; `WHARF_HOST` comes first.
pub(crate) const DOCKER_HOST: &str = "DOCKER_HOST";

/// The context to use; the variables above come first.
pub(crate) const DOCKER_CONTEXT: &str = "DOCKER_CONTEXT";

/// The directory of the user's configuration.
pub(crate) const DOCKER_CONFIG: &str = "DOCKER_CONFIG";

/// The directory with `ca.pem`, `cert.pem` and `key.pem`; else the configuration's.
pub(crate) const DOCKER_CERT_PATH: &str = "DOCKER_CERT_PATH";

/// Set and not empty: TLS.
pub(crate) const DOCKER_TLS: &str = "DOCKER_TLS";

/// Set and not empty: TLS, and the engine's certificate is verified.
pub(crate) const DOCKER_TLS_VERIFY: &str = "DOCKER_TLS_VERIFY";

/// The API version to speak, whatever the engine's is.
pub(crate) const DOCKER_API_VERSION: &str = "DOCKER_API_VERSION";

/// The user's credentials as a document, for containers that are given them.
pub(crate) const DOCKER_AUTH_CONFIG: &str = "DOCKER_AUTH_CONFIG";

/// Whether images must be signed by notary, which is refused; the same as `--disable-content-trust=false`.
pub(crate) const DOCKER_CONTENT_TRUST: &str = "DOCKER_CONTENT_TRUST";

/// The platform of images that are fetched and containers that are made, unless `--platform` says otherwise.
pub(crate) const DOCKER_DEFAULT_PLATFORM: &str = "DOCKER_DEFAULT_PLATFORM";

/// Whether hints are given where there is something to hint at: a truth value, and yes.
pub(crate) const DOCKER_CLI_HINTS: &str = "DOCKER_CLI_HINTS";

/// The proxy for registries without TLS, for what the client itself asks of one; in small letters, too.
pub(crate) const HTTP_PROXY: &str = "HTTP_PROXY";

/// The proxy for all other registries.
pub(crate) const HTTPS_PROXY: &str = "HTTPS_PROXY";

/// What no proxy is asked for.
pub(crate) const NO_PROXY: &str = "NO_PROXY";

/// Where programs are.
pub(crate) const PATH: &str = "PATH";

/// Where the user's configuration is when nobody says.
pub(crate) const HOME: &str = "HOME";

/// Reads a variable; empty is unset.
pub(crate) fn read(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
