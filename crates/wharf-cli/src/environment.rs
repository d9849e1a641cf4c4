//! The environment variables the command line reads, all of them.

/// The engine to talk to: `unix:///path` or `tcp://address:port`.
pub(crate) const WHARF_HOST: &str = "WHARF_HOST";

/// The same for Docker's users; `WHARF_HOST` comes first.
pub(crate) const DOCKER_HOST: &str = "DOCKER_HOST";

/// Set and not empty: engines are reached by TLS alone, which is not served yet.
pub(crate) const DOCKER_TLS_VERIFY: &str = "DOCKER_TLS_VERIFY";

/// Reads a variable; empty is unset.
pub(crate) fn read(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
