//! How the engine deals with registries: settings, the client, and whom it believes.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::Semaphore;
use wharf_distribution::trust::Policy;
use wharf_distribution::{Client, Credentials, Error as RegistryError, Kind};
use wharf_types::{DEFAULT_DOMAIN, Reference};
use wharf_wire as wire;

use crate::error::{Error, ErrorKind};
use crate::images::Transfers;
use crate::inner::Inner;

/// Settings about registries; they may change while the engine runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistrySettings {
    /// How registries are reached.
    pub client: wharf_distribution::Settings,
    /// Layers that come in at the same time.
    pub downloads: usize,
    /// Layers that go out at the same time.
    pub uploads: usize,
    /// A trust policy; without it everything is accepted.
    pub trust_policy: Option<PathBuf>,
}

impl Default for RegistrySettings {
    fn default() -> Self {
        Self {
            client: wharf_distribution::Settings::default(),
            downloads: 3,
            uploads: 5,
            trust_policy: None,
        }
    }
}

impl RegistrySettings {
    /// Checks what only shows when the client is made.
    pub(crate) fn check(&self) -> Result<(), Error> {
        Current::new(self.clone()).map(drop)
    }
}

/// The client, and what is coming in.
#[derive(Debug)]
pub(crate) struct Registries {
    current: RwLock<Arc<Current>>,
    pub(crate) transfers: Transfers,
    /// One image is put in place after the other: a layer that two have is then there for the second.
    pub(crate) assembling: tokio::sync::Mutex<()>,
}

/// What comes of some settings.
#[derive(Debug)]
pub(crate) struct Current {
    settings: RegistrySettings,
    pub(crate) client: Client,
    /// Whom to believe; without one, everybody.
    pub(crate) policy: Option<Policy>,
    pub(crate) downloads: Arc<Semaphore>,
    pub(crate) uploads: Arc<Semaphore>,
}

impl Current {
    fn new(settings: RegistrySettings) -> Result<Self, Error> {
        let client = Client::new(settings.client.clone());
        let policy = settings.trust_policy.as_deref().map(Policy::read);
        Ok(Self {
            client: client.map_err(|error| Error::invalid(error.to_string()))?,
            policy: policy
                .transpose()
                .map_err(|error| Error::invalid(format!("trust policy: {error}")))?,
            downloads: Arc::new(Semaphore::new(settings.downloads)),
            uploads: Arc::new(Semaphore::new(settings.uploads)),
            settings,
        })
    }
}

impl Registries {
    pub(crate) fn new(settings: RegistrySettings) -> Result<Self, Error> {
        Ok(Self {
            current: RwLock::new(Arc::new(Current::new(settings)?)),
            transfers: Transfers::default(),
            assembling: tokio::sync::Mutex::default(),
        })
    }

    /// Returns what counts now; what has begun with it ends with it.
    pub(crate) fn current(&self) -> Arc<Current> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Has other settings count from now on.
    pub(crate) fn reload(&self, settings: &RegistrySettings) -> Result<(), Error> {
        if self.current().settings == *settings {
            return Ok(());
        }
        let current = Arc::new(Current::new(settings.clone())?);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = current;
        Ok(())
    }
}

impl Inner {
    /// See [`crate::Engine::login`].
    pub(crate) async fn login(&self, auth: &wire::AuthConfig) -> Result<wire::AuthResult, Error> {
        let server = registry_of(&auth.server_address);
        let client = self.registries.current().client.clone();
        let login = client.login(&server, &credentials(auth)?).await;
        let login = login.map_err(not_let_in)?;
        Ok(wire::AuthResult {
            status: "Login Succeeded".to_owned(),
            identity_token: login.identity_token.unwrap_or_default(),
        })
    }

    /// See [`crate::Engine::image_search`].
    pub(crate) async fn search(
        &self,
        query: &wire::ImageSearchQuery,
        auth: &wire::AuthConfig,
    ) -> Result<Vec<wire::SearchResult>, Error> {
        const LIMIT: u32 = 25;
        const LIMIT_MAX: u32 = 100;
        let wanted = SearchFilters::read(&query.filters)?;
        let limit = match query.limit {
            None | Some(0) => LIMIT,
            Some(limit) => u32::try_from(limit)
                .ok()
                .filter(|limit| *limit <= LIMIT_MAX)
                .ok_or_else(|| {
                    Error::invalid(format!(
                        "limit {limit} is outside the range of [1, {LIMIT_MAX}]"
                    ))
                })?,
        };
        let (index, term) = search_index(&query.term)?;
        let client = self.registries.current().client.clone();
        let found = client
            .search(&index, &term, limit, &credentials(auth)?)
            .await;
        let found = found.map_err(|error| match error.refusal() {
            Some(refusal) => {
                let status = refusal.status();
                Error::new(
                    ErrorKind::Internal,
                    format!("Unexpected status code {status}"),
                )
            }
            None => refused(error),
        });
        let found = found?.into_iter();
        let prefix = match index.as_str() {
            DEFAULT_DOMAIN => String::new(),
            index => format!("{index}/"),
        };
        let results = found.map(|found| wire::SearchResult {
            name: format!("{prefix}{}", found.name),
            description: found.description,
            star_count: found.star_count,
            is_official: found.is_official,
            is_automated: found.is_automated,
        });
        Ok(results.filter(|result| wanted.are_met_by(result)).collect())
    }

    /// See [`crate::Engine::distribution`].
    pub(crate) async fn distribution(
        &self,
        name: &str,
        auth: &wire::AuthConfig,
    ) -> Result<wire::DistributionInspect, Error> {
        let reference: Reference = name
            .parse()
            .map_err(|error| Error::invalid(format!("{error}")))?;
        let client = self.registries.current().client.clone();
        let repository = client.repository(&reference, credentials(auth)?);
        let target = wharf_distribution::Target::of(&reference);
        let manifest = repository.resolve(&target).await.map_err(refused)?;
        let platforms = match &manifest.document {
            wharf_distribution::Document::Index(index) => {
                let entries = index.manifests.iter();
                entries.filter_map(|entry| entry.platform.clone()).collect()
            }
            wharf_distribution::Document::Image(image) => {
                let config = crate::images::configuration(&repository, image).await?;
                let config: wharf_oci::image::ImageConfig = serde_json::from_slice(&config)
                    .map_err(|error| {
                        Error::internal("the image's configuration is invalid", error)
                    })?;
                vec![wharf_oci::image::Platform {
                    os: config.os,
                    architecture: config.architecture,
                    variant: config.variant,
                    os_version: config.os_version,
                    os_features: Vec::new(),
                }]
            }
        };
        Ok(wire::DistributionInspect {
            descriptor: wire::ImageDescriptor {
                media_type: manifest.media_type,
                digest: manifest.digest.to_string(),
                size: i64::try_from(manifest.bytes.len()).unwrap_or(i64::MAX),
                ..wire::ImageDescriptor::default()
            },
            platforms: platforms.into_iter().map(platform).collect(),
        })
    }
}

fn platform(platform: wharf_oci::image::Platform) -> wire::ImagePlatform {
    wire::ImagePlatform {
        architecture: platform.architecture,
        os: platform.os,
        os_version: platform.os_version.unwrap_or_default(),
        os_features: platform.os_features,
        variant: platform.variant.unwrap_or_default(),
    }
}

/// Filters of `GET /images/search`.
struct SearchFilters {
    stars: i64,
    official: Option<bool>,
    automated: Option<bool>,
}

impl SearchFilters {
    fn read(filters: &wire::Filters) -> Result<Self, Error> {
        let invalid = |error: wire::FilterError| Error::invalid(error.to_string());
        filters
            .validate(&["is-automated", "is-official", "stars"])
            .map_err(invalid)?;
        let mut stars = 0;
        for text in filters.get("stars") {
            let number: i64 = text
                .parse()
                .map_err(|_| Error::invalid(format!("invalid filter 'stars=[{text}]'")))?;
            stars = stars.max(number);
        }
        Ok(Self {
            stars,
            official: filters.flag("is-official").map_err(invalid)?,
            automated: filters.flag("is-automated").map_err(invalid)?,
        })
    }

    fn are_met_by(&self, result: &wire::SearchResult) -> bool {
        result.star_count >= self.stars
            && self
                .official
                .is_none_or(|wanted| wanted == result.is_official)
            && self
                .automated
                .is_none_or(|wanted| wanted == result.is_automated)
    }
}

/// Tells the index of a search from the term: `host:port/term`, or a term for Docker's.
fn search_index(term: &str) -> Result<(String, String), Error> {
    if term.contains("://") {
        return Err(Error::invalid(
            "Invalid repository name (ex: \"registry.domain.tld/myrepos\")",
        ));
    }
    match term.split_once('/') {
        Some((host, rest)) if host.contains(['.', ':']) || host == "localhost" => {
            let index = registry_of(host);
            let rest = rest
                .strip_prefix("library/")
                .filter(|_| index == DEFAULT_DOMAIN);
            let rest = rest.unwrap_or(&term[host.len() + 1..]);
            Ok((index, rest.to_owned()))
        }
        _ => Ok((
            DEFAULT_DOMAIN.to_owned(),
            term.strip_prefix("library/").unwrap_or(term).to_owned(),
        )),
    }
}

/// Returns the registry that a login names: `https://index.docker.io/v1/` and nothing mean Docker's.
fn registry_of(address: &str) -> String {
    let host = address
        .trim_start_matches("https://")
        .trim_start_matches("http://");
    let host = host.split('/').next().unwrap_or_default();
    match host {
        "" | "index.docker.io" | "registry-1.docker.io" | DEFAULT_DOMAIN => DEFAULT_DOMAIN,
        host => host,
    }
    .to_owned()
}

/// Reads who asks.
pub(crate) fn credentials(auth: &wire::AuthConfig) -> Result<Credentials, Error> {
    if !auth.registry_token.is_empty() {
        return Ok(Credentials::RegistryToken(auth.registry_token.clone()));
    }
    if !auth.identity_token.is_empty() {
        return Ok(Credentials::IdentityToken(auth.identity_token.clone()));
    }
    if auth.username.is_empty() && !auth.auth.is_empty() {
        let invalid = || {
            Error::invalid("invalid X-Registry-Auth header: auth is not base64 of name:password")
        };
        let decoded = wire::base64::decode(&auth.auth).ok_or_else(invalid)?;
        let text = String::from_utf8(decoded).map_err(|_| invalid())?;
        let (name, password) = text.split_once(':').ok_or_else(invalid)?;
        return Ok(Credentials::basic(name, password));
    }
    Ok(Credentials::basic(&auth.username, &auth.password))
}

/// Says why a login failed; 401 is what the client is to be told of a wrong password.
fn not_let_in(error: RegistryError) -> Error {
    match error.kind() {
        Kind::Unauthorized | Kind::Denied => Error::new(ErrorKind::Unauthorized, error.to_string()),
        _ => refused(error),
    }
}

/// Says what a registry's refusal, or that it cannot be reached, is to the engine's user.
pub(crate) fn refused(error: RegistryError) -> Error {
    let kind = match error.kind() {
        Kind::NotFound => ErrorKind::NotFound,
        Kind::Denied => ErrorKind::Forbidden,
        Kind::Invalid => ErrorKind::Invalid,
        // To a client, 401 would mean that it is unknown to the engine: Docker's asks for a password.
        Kind::Unauthorized | Kind::TooManyRequests | Kind::Unavailable | Kind::Untrustworthy => {
            ErrorKind::Internal
        }
    };
    Error::new(kind, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_s_address_names_a_registry() {
        for (address, registry) in [
            ("", "docker.io"),
            ("https://index.docker.io/v1/", "docker.io"),
            ("docker.io", "docker.io"),
            ("http://r.example:5000/v2/", "r.example:5000"),
            ("127.0.0.1:5000", "127.0.0.1:5000"),
        ] {
            assert_eq!(registry_of(address), registry, "{address}");
        }
    }

    #[test]
    fn a_search_is_for_docker_s_index_or_a_named_one() {
        for (term, index, rest) in [
            ("nginx", "docker.io", "nginx"),
            ("library/nginx", "docker.io", "nginx"),
            ("me/nginx", "docker.io", "me/nginx"),
            ("localhost:5000/nginx", "localhost:5000", "nginx"),
            ("r.example/a/b", "r.example", "a/b"),
        ] {
            let found = search_index(term).expect(term);
            assert_eq!(found, (index.to_owned(), rest.to_owned()), "{term}");
        }
        assert!(search_index("https://r.example/a").is_err());
    }

    #[test]
    fn who_asks_is_read_in_all_its_forms() {
        let auth = |auth: &str| wire::AuthConfig {
            auth: auth.to_owned(),
            ..wire::AuthConfig::default()
        };
        assert!(credentials(&auth("")).expect("nobody").is_none());
        assert_eq!(
            credentials(&auth("bWU6c2VjcmV0")).expect("base64"),
            Credentials::basic("me", "secret")
        );
        for wrong in ["bWU=", "%", "/w=="] {
            assert!(credentials(&auth(wrong)).is_err(), "{wrong}");
        }
    }
}
