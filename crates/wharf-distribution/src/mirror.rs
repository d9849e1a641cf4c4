//! Mirrors as `daemon.json` lists them: addresses by registry.

use std::collections::BTreeMap;

use crate::address::{Origin, decode};
use crate::credentials::Credentials;
use crate::settings::SettingsError;

/// A mirror.
#[derive(Debug, Clone)]
pub(crate) struct Mirror {
    /// Where it is.
    pub(crate) origin: Origin,
    /// What comes before `/v2`.
    pub(crate) path: String,
    /// Its own credentials, from its address.
    pub(crate) credentials: Credentials,
}

/// The mirrors of each registry.
pub(crate) type Mirrors = BTreeMap<String, Vec<Mirror>>;

pub(crate) fn parse_all(
    settings: &BTreeMap<String, Vec<String>>,
) -> Result<Mirrors, SettingsError> {
    settings
        .iter()
        .map(|(registry, mirrors)| {
            if Origin::parse(registry, true).is_none() {
                return Err(SettingsError::Registry(registry.clone()));
            }
            let mirrors = mirrors
                .iter()
                .map(|text| parse(text))
                .collect::<Result<_, _>>()?;
            Ok((registry.clone(), mirrors))
        })
        .collect()
}

fn parse(text: &str) -> Result<Mirror, SettingsError> {
    let fault = |reason| SettingsError::Mirror(without_user(text), reason);
    let (secure, rest) = match text.split_once("://") {
        Some(("https", rest)) => (true, rest),
        Some(("http", rest)) => (false, rest),
        _ => return Err(fault("expected http:// or https://")),
    };
    if rest.contains(['?', '#']) {
        return Err(fault("it has a query or a fragment"));
    }
    let (authority, path) = match rest.split_once('/') {
        Some((authority, path)) => (authority, path.trim_end_matches('/')),
        None => (rest, ""),
    };
    let (user, authority) = match authority.rsplit_once('@') {
        Some((user, authority)) => (Some(user), authority),
        None => (None, authority),
    };
    let origin = Origin::parse(authority, secure).ok_or_else(|| fault("expected host[:port]"))?;
    let credentials = match user {
        None => Credentials::None,
        Some(user) => {
            let (name, password) = user.split_once(':').unwrap_or((user, ""));
            match (decode(name), decode(password)) {
                (Some(name), Some(password)) => Credentials::basic(name, password),
                _ => return Err(fault("its user cannot be read")),
            }
        }
    };
    let path = if path.is_empty() {
        String::new()
    } else {
        format!("/{path}")
    };
    if origin.at(&path_or_root(&path)).is_none() {
        return Err(fault("its path cannot be read"));
    }
    Ok(Mirror {
        origin,
        path,
        credentials,
    })
}

fn path_or_root(path: &str) -> String {
    if path.is_empty() {
        "/".to_owned()
    } else {
        path.to_owned()
    }
}

/// An address in an error does not show its password.
fn without_user(text: &str) -> String {
    match (text.split_once("://"), text.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, rest))) => format!("{scheme}://…@{rest}"),
        (None, Some((_, rest))) => format!("…@{rest}"),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mirror_has_its_own_credentials() {
        let mirror = parse("https://me:p%40ss@Mirror.example:5000/hub/").expect("mirror");
        assert_eq!(mirror.origin.to_string(), "https://mirror.example:5000");
        assert_eq!(mirror.path, "/hub");
        assert_eq!(mirror.credentials, Credentials::basic("me", "p@ss"));
        let mirror = parse("http://10.0.0.1").expect("mirror");
        assert_eq!(mirror.origin.to_string(), "http://10.0.0.1");
        assert!(mirror.credentials.is_none());
    }

    #[test]
    fn what_is_no_mirror_is_refused_without_its_password() {
        for text in [
            "mirror.example",
            "ftp://mirror.example",
            "https://",
            "https://a/b?c",
            "https://me:secret@",
            "https://me:sec%ret@a.b",
            "https://a:x/",
        ] {
            let error = parse(text).expect_err(text);
            assert!(!error.to_string().contains("sec"), "{error}");
        }
    }
}
