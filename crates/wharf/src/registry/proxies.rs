//! The upstreams of a pull-through registry, with their passwords.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context as _, bail};
use base64::Engine as _;
use serde::Deserialize;
use wharf_registry::{Proxies, ProxySettings, Upstream};

use super::flags::Serve;

/// Docker's registry under the name it has in `config.json`.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

/// The part of Docker's `config.json` that has passwords.
#[derive(Debug, Default, Deserialize)]
struct Config {
    #[serde(default)]
    auths: HashMap<String, Auth>,
}

#[derive(Debug, Deserialize)]
struct Auth {
    /// `name:password`, base64.
    #[serde(default)]
    auth: String,
}

pub(super) fn resolve(flags: &Serve) -> anyhow::Result<Option<Proxies>> {
    let mut upstreams = flags.proxy.clone();
    if let Some(url) = &flags.proxy_all {
        let credentials = flags
            .proxy_username
            .clone()
            .zip(flags.proxy_password.clone());
        upstreams.push(Upstream {
            prefix: String::new(),
            url: url.clone(),
            credentials,
        });
    }
    if upstreams.is_empty() {
        if flags.proxy_auth.is_some() {
            bail!("--proxy-auth needs --proxy");
        }
        return Ok(None);
    }
    if let Some(path) = &flags.proxy_auth {
        let config = read(path)?;
        for upstream in upstreams
            .iter_mut()
            .filter(|upstream| upstream.credentials.is_none())
        {
            upstream.credentials = config.credentials(&upstream.url)?;
        }
    }
    let variable = |name: &str| {
        let value = std::env::var(name).or_else(|_| std::env::var(name.to_lowercase()));
        value.unwrap_or_default()
    };
    let way = wharf_distribution::Proxies {
        http: variable("HTTP_PROXY"),
        https: variable("HTTPS_PROXY"),
        no_proxy: variable("NO_PROXY"),
    };
    let proxies = Proxies::new(ProxySettings {
        upstreams,
        fresh: flags.proxy_fresh,
        keep: Some(flags.proxy_keep).filter(|keep| !keep.is_zero()),
        way,
    })?;
    Ok(Some(proxies))
}

fn read(path: &Path) -> anyhow::Result<Config> {
    let shown = || format!("passwords of upstreams in {}", path.display());
    let text = std::fs::read(path).with_context(shown)?;
    serde_json::from_slice(&text).with_context(shown)
}

impl Config {
    /// Returns the name and password for the host of an upstream.
    fn credentials(&self, url: &str) -> anyhow::Result<Option<(String, String)>> {
        let host = host(url);
        let hub = ["docker.io", "index.docker.io", "registry-1.docker.io"].contains(&host);
        let found = self
            .auths
            .iter()
            .find(|(name, _)| self::host(name) == host || (hub && *name == DOCKER_HUB));
        let Some((name, auth)) = found else {
            return Ok(None);
        };
        let decoded = base64::engine::general_purpose::STANDARD.decode(&auth.auth);
        let decoded = decoded.ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let pair = decoded.as_deref().and_then(|text| text.split_once(':'));
        let (user, password) =
            pair.with_context(|| format!("the entry of {name} has no name and password"))?;
        Ok(Some((user.to_owned(), password.to_owned())))
    }
}

fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split('/').next().unwrap_or(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_those_of_the_host() {
        let config: Config = serde_json::from_str(
            r#"{"auths": {"quay.io": {"auth": "YTpi"}, "https://index.docker.io/v1/": {"auth": "aHViOng="}, "bad.io": {}}}"#,
        )
        .expect("a file");
        let found = |url: &str| {
            let credentials = config.credentials(url).expect("readable");
            credentials.map(|(name, password)| format!("{name}/{password}"))
        };
        assert_eq!(found("https://quay.io/team").as_deref(), Some("a/b"));
        assert_eq!(
            found("https://registry-1.docker.io").as_deref(),
            Some("hub/x")
        );
        assert_eq!(found("https://quay.io.evil.example"), None);
        assert!(config.credentials("https://bad.io").is_err());
    }
}
