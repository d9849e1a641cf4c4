//! The client: what all repositories share.

use std::sync::Arc;

use http::HeaderValue;
use wharf_types::Reference;

use crate::auth::Tokens;
use crate::credentials::Credentials;
use crate::error::Error;
use crate::exchange::PlainHosts;
use crate::insecure::Insecure;
use crate::mirror::Mirrors;
use crate::names::Names;
use crate::proxy::ProxyRules;
use crate::repository::Repository;
use crate::search::SearchResult;
use crate::settings::{Settings, SettingsError};
use crate::transport::Transport;

/// A client of registries. Clones share connections, tokens and what was learnt about registries.
///
/// Making one costs nothing: no file is read, no connection and no task made, before it is used.
#[derive(Debug, Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) settings: Settings,
    pub(crate) insecure: Insecure,
    pub(crate) mirrors: Mirrors,
    pub(crate) names: Names,
    pub(crate) proxies: ProxyRules,
    pub(crate) user_agent: HeaderValue,
    pub(crate) tokens: Tokens,
    pub(crate) plain: PlainHosts,
    pub(crate) transport: Transport,
}

/// What a login brought.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoggedIn {
    /// What to keep in the place of the password, when the token server gives something.
    pub identity_token: Option<String>,
}

impl Client {
    /// Makes a client.
    ///
    /// # Errors
    /// [`SettingsError`] names the first setting that cannot be used.
    pub fn new(settings: Settings) -> Result<Self, SettingsError> {
        let inner = Inner {
            insecure: Insecure::parse(&settings.insecure_registries)?,
            mirrors: crate::mirror::parse_all(&settings.mirrors)?,
            names: Names::new(&settings.hosts_file, &settings.resolv_conf),
            proxies: ProxyRules::parse(&settings.proxies)?,
            user_agent: HeaderValue::from_str(&settings.user_agent)
                .map_err(|_| SettingsError::UserAgent(settings.user_agent.clone()))?,
            tokens: Tokens::default(),
            plain: PlainHosts::default(),
            transport: Transport::default(),
            settings,
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Returns the repository a reference is in; its tag and digest do not count.
    #[must_use]
    pub fn repository(&self, name: &Reference, credentials: Credentials) -> Repository {
        Repository::new(Arc::clone(&self.inner), name, credentials)
    }

    /// Checks credentials at a registry (`docker.io`, `host:port`).
    ///
    /// # Errors
    /// [`Error::Request`] in Docker's words (`Get "https://host/v2/": unauthorized: …`) when the
    /// registry or its token server refuses them, or cannot be reached.
    pub async fn login(
        &self,
        registry: &str,
        credentials: &Credentials,
    ) -> Result<LoggedIn, Error> {
        crate::login::login(&self.inner, registry, credentials).await
    }

    /// Searches an index (`docker.io`, `host:port`) for a term, by the first version of the API,
    /// which is still the one all clients use. A limit of 0 is Docker's 25, and 100 is the most.
    ///
    /// # Errors
    /// The index cannot be reached or refuses.
    pub async fn search(
        &self,
        index: &str,
        term: &str,
        limit: u32,
        credentials: &Credentials,
    ) -> Result<Vec<SearchResult>, Error> {
        crate::search::search(&self.inner, index, term, limit, credentials).await
    }
}
