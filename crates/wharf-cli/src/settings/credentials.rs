//! Who the user is at registries: kept in the configuration, or by helper programs that it names.
//!
//! Docker's command line has the same: an entry of `auths` for each registry, `credsStore` for a program that keeps them
//! all, `credHelpers` for programs that keep those of one registry. A user who has chosen nothing and has one of the
//! usual programs installed gets it chosen.

mod helper;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};
use wharf_wire::{AuthConfig, base64};

use super::config::{self, ConfigError};
use crate::environment;
use helper::Helper;
pub(crate) use helper::HelperError;

/// What Docker Hub is called where credentials are kept.
pub(crate) const HUB: &str = "https://index.docker.io/v1/";

/// What the user names Docker Hub by.
const HUB_DOMAINS: [&str; 2] = ["docker.io", "index.docker.io"];

/// The key of the credentials for a registry, by the registry's host and port.
pub(crate) fn key(domain: &str) -> &str {
    if HUB_DOMAINS.contains(&domain) {
        HUB
    } else {
        domain
    }
}

/// Credentials that cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CredentialsError {
    /// The configuration cannot be read or written.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// An entry is no name and password.
    #[error("Error parsing config file ({}): Invalid auth configuration file", .0.display())]
    Entry(PathBuf),
    /// A helper program does not help.
    #[error(transparent)]
    Helper(#[from] HelperError),
}

/// What the configuration says of credentials.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Entries {
    auths: Option<BTreeMap<String, Option<AuthConfig>>>,
    creds_store: Option<String>,
    cred_helpers: Option<BTreeMap<String, String>>,
}

/// The user's credentials.
pub(crate) struct Credentials {
    directory: PathBuf,
    auths: BTreeMap<String, AuthConfig>,
    helpers: BTreeMap<String, String>,
    /// The program for all registries without one of their own; empty is the configuration itself.
    store: String,
    /// Whether the configuration does not name that program yet.
    detected: bool,
}

impl Credentials {
    /// Reads what there is in a directory of configuration.
    pub(crate) fn load(directory: &Path) -> Result<Self, CredentialsError> {
        let entries: Entries = config::load(directory)?;
        let auths = entries.auths.unwrap_or_default();
        let mut credentials = Self {
            directory: directory.to_owned(),
            auths: auths
                .into_iter()
                .map(|(server, auth)| (server, auth.unwrap_or_default()))
                .collect(),
            helpers: entries.cred_helpers.unwrap_or_default(),
            store: entries.creds_store.unwrap_or_default(),
            detected: false,
        };
        let chosen = !credentials.auths.is_empty()
            || !credentials.helpers.is_empty()
            || !credentials.store.is_empty();
        if !chosen && let Some(store) = installed_store() {
            store.clone_into(&mut credentials.store);
            credentials.detected = true;
        }
        Ok(credentials)
    }

    /// No credentials, for a configuration that cannot be read.
    pub(crate) fn none(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
            auths: BTreeMap::new(),
            helpers: BTreeMap::new(),
            store: String::new(),
            detected: false,
        }
    }

    /// Where the configuration is.
    pub(crate) fn file(&self) -> PathBuf {
        config::file(&self.directory)
    }

    /// The registries that the configuration has entries for, as they are kept.
    pub(crate) fn servers(&self) -> Vec<String> {
        self.auths
            .keys()
            .chain(self.helpers.keys())
            .cloned()
            .collect()
    }

    /// Who the user is at a registry; nobody when they never said.
    pub(crate) fn get(&self, server: &str) -> Result<AuthConfig, CredentialsError> {
        match self.helper(server)? {
            None => self.kept_here(server),
            Some(helper) => Ok(AuthConfig {
                email: self.kept_here(server).unwrap_or_default().email,
                ..helper.get(server)?.unwrap_or_default()
            }),
        }
    }

    /// Remembers who the user is at the registry of its `server_address`. Returns whether a password is now in
    /// a file for those who can read it.
    pub(crate) fn put(&self, auth: &AuthConfig) -> Result<bool, CredentialsError> {
        let server = auth.server_address.as_str();
        let Some(helper) = self.helper(server)? else {
            if self.kept_here(server).is_ok_and(|kept| kept == *auth) {
                return Ok(false);
            }
            self.write(server, Some(auth))?;
            return Ok(!auth.password.is_empty());
        };
        helper.store(auth)?;
        // That there are credentials is no secret, and Docker's client looks for the entry.
        let public = AuthConfig {
            email: auth.email.clone(),
            ..AuthConfig::default()
        };
        let kept = self.auths.get(server);
        if self.detected || kept.is_none_or(|kept| *kept != public) {
            self.write(server, Some(&public))?;
        }
        Ok(false)
    }

    /// Forgets who the user is at a registry.
    pub(crate) fn erase(&self, server: &str) -> Result<(), CredentialsError> {
        if let Some(helper) = self.helper(server)? {
            helper.erase(server)?;
        }
        if self.auths.contains_key(server) {
            self.write(server, None)?;
        }
        Ok(())
    }

    /// Who the user is at all registries. Programs for one registry come before the one for all.
    pub(crate) fn all(&self) -> Result<BTreeMap<String, AuthConfig>, CredentialsError> {
        let mut all = BTreeMap::new();
        let servers = match self.store.as_str() {
            "" => self.auths.keys().cloned().collect(),
            store => Helper::named(store)?.list()?,
        };
        for server in servers.into_iter().chain(self.helpers.keys().cloned()) {
            let auth = self.get(&server)?;
            all.insert(server, auth);
        }
        Ok(all)
    }

    fn helper(&self, server: &str) -> Result<Option<Helper>, HelperError> {
        let name = self.helpers.get(server).unwrap_or(&self.store);
        if name.is_empty() {
            return Ok(None);
        }
        Helper::named(name).map(Some)
    }

    /// The entry for a registry. Those of old have a whole address for a key.
    fn kept_here(&self, server: &str) -> Result<AuthConfig, CredentialsError> {
        let exact = self.auths.get_key_value(server);
        let found = exact.or_else(|| self.auths.iter().find(|(key, _)| hostname(key) == server));
        let Some((key, entry)) = found else {
            return Ok(AuthConfig::default());
        };
        let mut auth = entry.clone();
        if !auth.auth.is_empty() {
            let (name, password) =
                unpack(&auth.auth).ok_or_else(|| CredentialsError::Entry(self.file()))?;
            (auth.username, auth.password) = (name, password);
            auth.auth.clear();
        }
        auth.server_address.clone_from(key);
        Ok(auth)
    }

    fn write(&self, server: &str, auth: Option<&AuthConfig>) -> Result<(), ConfigError> {
        config::edit(&self.directory, |document| {
            if self.detected {
                document.insert("credsStore".to_owned(), self.store.clone().into());
            }
            let auths = document.entry("auths").or_insert_with(|| Map::new().into());
            if !auths.is_object() {
                *auths = Map::new().into();
            }
            if let Value::Object(auths) = auths {
                match auth {
                    Some(auth) => change(auths, server, auth),
                    None => drop(auths.shift_remove(server)),
                }
            }
        })
    }
}

/// A configuration with credentials alone.
pub(crate) fn document(all: &BTreeMap<String, AuthConfig>) -> String {
    let mut auths = Map::new();
    for (server, auth) in all {
        change(&mut auths, server, auth);
    }
    serde_json::json!({ "auths": auths }).to_string()
}

/// Reads such a configuration.
pub(crate) fn read(text: &str) -> Option<BTreeMap<String, AuthConfig>> {
    let entries: Entries = serde_json::from_str(text).ok()?;
    let mut all = BTreeMap::new();
    for (server, auth) in entries.auths.unwrap_or_default() {
        let mut auth = auth.unwrap_or_default();
        if !auth.auth.is_empty() {
            (auth.username, auth.password) = unpack(&auth.auth)?;
            auth.auth.clear();
        }
        auth.server_address.clone_from(&server);
        all.insert(server, auth);
    }
    Some(all)
}

/// Writes an entry; members we know nothing of stay.
fn change(auths: &mut Map<String, Value>, server: &str, auth: &AuthConfig) {
    let entry = auths.entry(server).or_insert_with(|| Map::new().into());
    if !entry.is_object() {
        *entry = Map::new().into();
    }
    let Value::Object(entry) = entry else { return };
    for secret in ["username", "password", "serveraddress"] {
        entry.shift_remove(secret);
    }
    for (name, value) in [
        ("auth", pack(&auth.username, &auth.password)),
        ("email", auth.email.clone()),
        ("identitytoken", auth.identity_token.clone()),
        ("registrytoken", auth.registry_token.clone()),
    ] {
        if value.is_empty() {
            entry.shift_remove(name);
        } else {
            entry.insert(name.to_owned(), value.into());
        }
    }
}

/// Name and password as an entry has them.
fn pack(name: &str, password: &str) -> String {
    if name.is_empty() && password.is_empty() {
        return String::new();
    }
    base64::encode(format!("{name}:{password}").as_bytes())
}

fn unpack(text: &str) -> Option<(String, String)> {
    let text = String::from_utf8(base64::decode(text)?).ok()?;
    let (name, password) = text.split_once(':').filter(|(name, _)| !name.is_empty())?;
    Some((name.to_owned(), password.trim_matches('\0').to_owned()))
}

/// The host and port of what may be an address.
pub(crate) fn hostname(text: &str) -> &str {
    let rest = match text.split_once("://") {
        Some((_, rest)) => {
            let host = rest.split(['/', '?', '#']).next().unwrap_or(rest);
            host.rsplit_once('@').map_or(host, |(_, host)| host)
        }
        None => text,
    };
    let host = rest.split('/').next().unwrap_or(rest);
    if host.is_empty() { text } else { host }
}

/// The usual program, if it is installed: `pass` where that is, else the desktop's.
fn installed_store() -> Option<&'static str> {
    let path = environment::read(environment::PATH)?;
    let installed = |program: &str| {
        let is_program = |directory: &str| Path::new(directory).join(program).is_file();
        path.split(':').any(is_program)
    };
    let store = if installed("pass") {
        "pass"
    } else {
        "secretservice"
    };
    installed(&format!("{}{store}", helper::PREFIX)).then_some(store)
}

#[cfg(test)]
mod tests;
