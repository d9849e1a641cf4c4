//! `context …`: named engines.

pub(super) mod change;
pub(super) mod inspect;
pub(super) mod ls;
pub(super) mod pick;
pub(super) mod transfer;

use std::collections::BTreeMap;

use super::Context;
use crate::failure::{Failure, chain};
use crate::grammar::Invalid;
use crate::options::csv;
use crate::settings::contexts::{Certificates, DEFAULT, DOCKER, Endpoint, Meta, Metadata, Store};
use crate::settings::tls::{self, FILES};
use crate::settings::{self, address};

/// What is said of the context that is in no file.
pub(super) const DEFAULT_ABOUT: &str = "Current DOCKER_HOST based configuration";

impl Context {
    /// The user's contexts.
    pub(super) fn contexts(&self) -> Store {
        Store::new(&self.directory())
    }

    /// The name of the context that is meant.
    pub(super) fn context_name(&self) -> String {
        settings::context_name(self.choice(), self.config())
    }

    /// The context that is in no file.
    pub(super) fn default_context(&self) -> Meta {
        let host = settings::default_host(self.choice())
            .unwrap_or_else(|| format!("unix://{}", settings::DEFAULT_SOCKET));
        Meta {
            name: DEFAULT.to_owned(),
            metadata: Metadata::default(),
            endpoints: [(
                DOCKER.to_owned(),
                Endpoint {
                    host,
                    ..Endpoint::default()
                },
            )]
            .into(),
        }
    }

    /// A context with its certificates, wherever it is.
    fn context(&self, name: &str) -> Result<(Meta, Certificates), Failure> {
        if name == DEFAULT {
            return Ok((self.default_context(), Certificates::new()));
        }
        let store = self.contexts();
        let meta = store.get(name).map_err(|error| Failure::of(&error))?;
        let certificates = store
            .certificates(name)
            .map_err(|error| Failure::of(&error))?;
        Ok((meta, certificates))
    }
}

/// The keys of `--docker`.
type Keys = BTreeMap<String, String>;

/// Adds `key=value,key=value` to those there are.
fn add_keys(keys: &mut Keys, text: &str) -> Result<(), Invalid> {
    for pair in csv::record(text)? {
        let (key, value) = pair
            .split_once('=')
            .ok_or_else(|| Invalid(format!("{pair} must be formatted as key=value")))?;
        keys.insert(key.to_owned(), value.to_owned());
    }
    Ok(())
}

const KNOWN: [&str; 6] = ["from", "host", "ca", "cert", "key", "skip-tls-verify"];

/// The endpoint that `--docker` describes, and its certificates.
fn endpoint(context: &Context, keys: &Keys) -> Result<(Endpoint, Certificates), Failure> {
    let failed =
        |text: String| Failure::message(format!("unable to create docker endpoint config: {text}"));
    if let Some(key) = keys.keys().find(|key| !KNOWN.contains(&key.as_str())) {
        return Err(failed(format!("unrecognized config key: {key}")));
    }
    if let Some(from) = keys.get("from") {
        let (mut meta, certificates) = context.context(from)?;
        let endpoint = meta
            .endpoints
            .remove(DOCKER)
            .ok_or_else(|| failed(format!("unable to get endpoint from context {from:?}")))?;
        return Ok((endpoint, certificates));
    }
    let mut files = BTreeMap::new();
    for (key, file) in ["ca", "cert", "key"].into_iter().zip(FILES) {
        if let Some(path) = keys.get(key).filter(|path| !path.is_empty()) {
            let bytes = tls::file(path.as_ref()).map_err(|error| failed(chain(&error)))?;
            files.insert(file.to_owned(), bytes);
        }
    }
    let skip = keys.get("skip-tls-verify").filter(|text| !text.is_empty());
    let skip = skip.map_or(Ok(false), |text| {
        crate::grammar::parse_bool(text).map_err(|error| failed(error.to_string()))
    })?;
    let host = keys.get("host").cloned().unwrap_or_default();
    if !host.is_empty() {
        address::parse(&host)
            .map_err(|error| failed(format!("unable to apply docker endpoint options: {error}")))?;
    }
    let endpoint = Endpoint {
        host,
        skip_tls_verify: skip,
        ..Endpoint::default()
    };
    let certificates = if files.is_empty() {
        Certificates::new()
    } else {
        [(DOCKER.to_owned(), files)].into()
    };
    Ok((endpoint, certificates))
}
