//! Settings about registries.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;
use wharf_distribution::Proxies;
use wharf_engine::RegistrySettings;
use wharf_types::DEFAULT_DOMAIN;

use super::{SettingsError, invalid};
use crate::daemon::values::Values;

/// Most transfers at the same time, and most attempts at each.
const MOST: usize = 100;

pub(super) fn read(values: &Values) -> Result<RegistrySettings, SettingsError> {
    let mut settings = RegistrySettings::default();
    let client = &mut settings.client;
    client.insecure_registries = values
        .list("insecure-registries")
        .map(str::to_owned)
        .collect();
    client.mirrors = mirrors(values)?;
    client.proxies = proxies(values)?;
    let directories: Vec<_> = values
        .list("certs-directories")
        .map(PathBuf::from)
        .collect();
    if !directories.is_empty() {
        client.host_directories = directories;
    }
    if let Some(attempts) = count(values, "max-download-attempts")? {
        client.limits.tries = u32::try_from(attempts).unwrap_or(u32::MAX);
    }
    if let Some(downloads) = count(values, "max-concurrent-downloads")? {
        settings.downloads = downloads;
    }
    if let Some(uploads) = count(values, "max-concurrent-uploads")? {
        settings.uploads = uploads;
    }
    settings.trust_policy = values.text("trust-policy").map(PathBuf::from);
    Ok(settings)
}

fn count(values: &Values, key: &'static str) -> Result<Option<usize>, SettingsError> {
    let Some(number) = values.number(key) else {
        return Ok(None);
    };
    usize::try_from(number)
        .ok()
        .filter(|count| (1..=MOST).contains(count))
        .map(Some)
        .ok_or_else(|| invalid(key, number, "it is between 1 and 100"))
}

/// `registry-mirrors` are Docker's registry's; `mirrors` has those of any, by its name.
fn mirrors(values: &Values) -> Result<BTreeMap<String, Vec<String>>, SettingsError> {
    let mut mirrors: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (registry, list) in values.object("mirrors") {
        let wrong = || invalid("mirrors", registry, "a list of addresses is expected");
        let list = list.as_array().ok_or_else(wrong)?;
        let list = list.iter().map(|mirror| mirror.as_str().map(str::to_owned));
        let list: Option<Vec<String>> = list.collect();
        mirrors.insert(registry.clone(), list.ok_or_else(wrong)?);
    }
    let of_docker: Vec<String> = values.list("registry-mirrors").map(str::to_owned).collect();
    if !of_docker.is_empty() {
        if mirrors.contains_key(DEFAULT_DOMAIN) {
            return Err(invalid(
                "mirrors",
                DEFAULT_DOMAIN,
                "registry-mirrors has its mirrors already",
            ));
        }
        mirrors.insert(DEFAULT_DOMAIN.to_owned(), of_docker);
    }
    Ok(mirrors)
}

/// What is not set is as the environment has it, where Go's programs look too.
fn proxies(values: &Values) -> Result<Proxies, SettingsError> {
    let environment = |name: &str| {
        let of = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        of(name)
            .or_else(|| of(&name.to_ascii_lowercase()))
            .unwrap_or_default()
    };
    let mut proxies = Proxies {
        http: environment("HTTP_PROXY"),
        https: environment("HTTPS_PROXY"),
        no_proxy: environment("NO_PROXY"),
    };
    for (name, value) in values.object("proxies") {
        let place = match name.as_str() {
            "http-proxy" => &mut proxies.http,
            "https-proxy" => &mut proxies.https,
            "no-proxy" => &mut proxies.no_proxy,
            _ => {
                let reason = "it is http-proxy, https-proxy or no-proxy";
                return Err(invalid("proxies", name, reason));
            }
        };
        match value {
            Value::String(text) => text.clone_into(place),
            _ => return Err(invalid("proxies", name, "a string is expected")),
        }
    }
    Ok(proxies)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(set: impl FnOnce(&mut Values)) -> Result<RegistrySettings, String> {
        let mut values = Values::default();
        set(&mut values);
        read(&values).map_err(|error| error.to_string())
    }

    #[test]
    fn mirrors_are_any_registry_s() {
        let settings = resolved(|values| {
            values.push("registry-mirrors", "https://one");
            values.push("registry-mirrors", "https://two");
            values.insert("mirrors", "quay.io", serde_json::json!(["https://three"]));
        });
        let mirrors = settings.expect("settings").client.mirrors;
        assert_eq!(mirrors["docker.io"], ["https://one", "https://two"]);
        assert_eq!(mirrors["quay.io"], ["https://three"]);
        let twice = resolved(|values| {
            values.push("registry-mirrors", "https://one");
            values.insert("mirrors", "docker.io", serde_json::json!(["https://two"]));
        });
        assert!(twice.is_err());
        let wrong = resolved(|values| values.insert("mirrors", "quay.io", "https://three"));
        assert!(wrong.is_err());
    }

    #[test]
    fn counts_have_bounds() {
        let with = |number: i64| resolved(|values| values.set("max-concurrent-downloads", number));
        assert_eq!(with(1).expect("one").downloads, 1);
        for wrong in [0, -1, 101] {
            assert!(with(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn proxies_have_three_members() {
        let settings = resolved(|values| values.insert("proxies", "no-proxy", "*"));
        assert_eq!(settings.expect("settings").client.proxies.no_proxy, "*");
        assert!(resolved(|values| values.insert("proxies", "ftp-proxy", "x")).is_err());
        assert!(resolved(|values| values.insert("proxies", "no-proxy", true)).is_err());
    }
}
