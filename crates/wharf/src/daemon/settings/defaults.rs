//! What containers get where they do not say: the settings that may change while the engine runs.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use wharf_cli::options::{size, ulimit};
use wharf_engine::{Defaults, ImageCollection, NamedRuntime, OWN_RUNTIME};

use super::{SettingsError, invalid};
use crate::daemon::values::Values;

/// Longest file with a filter of system calls.
const MAX_PROFILE: u64 = 1 << 20;

/// The filter that lets everything through.
const UNCONFINED: &str = r#"{"defaultAction":"SCMP_ACT_ALLOW"}"#;

/// As long as anybody waits.
const FOREVER: Duration = Duration::from_secs(365 * 24 * 3600);

pub(super) fn read(values: &Values) -> Result<Defaults, SettingsError> {
    let default = Defaults::default();
    let log = wharf_wire::LogConfig {
        driver: values
            .text("log-driver")
            .map_or(default.log.driver, str::to_owned),
        config: log_options(values)?,
    };
    let defaults = Defaults {
        debug: values.truth("debug").unwrap_or(false),
        labels: labels(values)?,
        runtime: values
            .text("default-runtime")
            .unwrap_or(OWN_RUNTIME)
            .to_owned(),
        runtimes: runtimes(values)?,
        log,
        shm_size: shm_size(values)?.unwrap_or(default.shm_size),
        ulimits: ulimits(values)?,
        cgroup_namespace: one_of(values, "default-cgroupns-mode", ["private", "host"])?,
        ipc: one_of(values, "default-ipc-mode", ["private", "shareable"])?,
        init: values.truth("init").unwrap_or(false),
        no_new_privileges: values.truth("no-new-privileges").unwrap_or(false),
        seccomp: seccomp(values)?,
        shutdown_timeout: shutdown_timeout(values).unwrap_or(default.shutdown_timeout),
        registries: super::registries::read(values)?,
        image_collection: image_collection(values)?,
    };
    defaults.check()?;
    Ok(defaults)
}

/// `{"high": 85, "low": 70, "keep": ["debian:*"]}`
fn image_collection(values: &Values) -> Result<Option<ImageCollection>, SettingsError> {
    if values.get("image-collection").is_none() {
        return Ok(None);
    }
    let (mut high, mut low, mut keep) = (None, None, Vec::new());
    for (name, value) in values.object("image-collection") {
        let percent = || value.as_u64().and_then(|number| u8::try_from(number).ok());
        match name.as_str() {
            "high" => high = percent(),
            "low" => low = percent(),
            "keep" => {
                let list = value.as_array().map(|list| {
                    let words = list.iter().map(|word| word.as_str().map(str::to_owned));
                    words.collect::<Option<Vec<String>>>()
                });
                keep = list.flatten().ok_or_else(|| {
                    invalid("image-collection", name, "a list of patterns is expected")
                })?;
            }
            _ => {
                return Err(invalid(
                    "image-collection",
                    name,
                    "it has high, low and keep",
                ));
            }
        }
    }
    let (Some(high), Some(low)) = (high, low) else {
        let reason = "high and low are percentages of the disk";
        return Err(invalid("image-collection", "high, low", reason));
    };
    Ok(Some(ImageCollection { high, low, keep }))
}

/// The first is the one that goes without saying.
fn one_of(
    values: &Values,
    key: &'static str,
    possible: [&'static str; 2],
) -> Result<String, SettingsError> {
    let given = values.text(key).unwrap_or(possible[0]);
    if possible.contains(&given) {
        return Ok(given.to_owned());
    }
    let reason = format!("it is {} or {}", possible[0], possible[1]);
    Err(invalid(key, given, reason))
}

fn labels(values: &Values) -> Result<Vec<String>, SettingsError> {
    let mut labels: BTreeMap<&str, &str> = BTreeMap::new();
    for label in values.list("labels") {
        let pair = label.split_once('=').filter(|(name, _)| !name.is_empty());
        let Some((name, value)) = pair else {
            return Err(invalid("labels", label, "it is not of the form key=value"));
        };
        if labels
            .insert(name, value)
            .is_some_and(|other| other != value)
        {
            return Err(invalid(
                "labels",
                label,
                "the label has another value already",
            ));
        }
    }
    Ok(values.list("labels").map(str::to_owned).collect())
}

fn runtimes(values: &Values) -> Result<BTreeMap<String, NamedRuntime>, SettingsError> {
    let mut runtimes = BTreeMap::new();
    for (name, value) in values.object("runtimes") {
        let wrong = |reason: &str| invalid("runtimes", name, reason);
        if name == OWN_RUNTIME {
            return Err(wrong("the name is the engine's own runtime's"));
        }
        let object = value
            .as_object()
            .ok_or_else(|| wrong("an object is expected"))?;
        let mut runtime = NamedRuntime::default();
        for (member, value) in object {
            match (member.as_str(), value) {
                ("path", Value::String(path)) => runtime.path = PathBuf::from(path),
                ("runtimeArgs", Value::Array(words)) => {
                    let words = words.iter().map(|word| word.as_str().map(str::to_owned));
                    let words: Option<_> = words.collect();
                    runtime.arguments = words.ok_or_else(|| wrong("runtimeArgs are strings"))?;
                }
                ("path" | "runtimeArgs", Value::Null) => {}
                ("runtimeType" | "options", _) => {
                    return Err(wrong(
                        "runtimes are programs here, with path and runtimeArgs; there is no containerd to load others",
                    ));
                }
                _ => {
                    return Err(wrong(
                        "it has path, a string, and runtimeArgs, a list of strings",
                    ));
                }
            }
        }
        if runtime.path.as_os_str().is_empty() {
            return Err(wrong("it needs a path"));
        }
        runtimes.insert(name.clone(), runtime);
    }
    Ok(runtimes)
}

fn log_options(values: &Values) -> Result<BTreeMap<String, String>, SettingsError> {
    let mut options = BTreeMap::new();
    for (name, value) in values.object("log-opts") {
        let Some(text) = value.as_str() else {
            return Err(invalid("log-opts", name, "its value must be a string"));
        };
        options.insert(name.clone(), text.to_owned());
    }
    Ok(options)
}

fn shm_size(values: &Values) -> Result<Option<i64>, SettingsError> {
    let bytes = match values.get("default-shm-size") {
        None => return Ok(None),
        Some(Value::String(text)) => {
            size::parse(text).map_err(|error| invalid("default-shm-size", text, error))?
        }
        Some(number) => number.as_i64().unwrap_or(-1),
    };
    if bytes <= 0 {
        return Err(invalid(
            "default-shm-size",
            bytes,
            "it is more than nothing",
        ));
    }
    Ok(Some(bytes))
}

fn ulimits(values: &Values) -> Result<BTreeMap<String, wharf_wire::Ulimit>, SettingsError> {
    let mut ulimits = BTreeMap::new();
    for (name, value) in values.object("default-ulimits") {
        let wrong = |reason: &dyn ToString| invalid("default-ulimits", name, reason.to_string());
        let limit: wharf_wire::Ulimit =
            serde_json::from_value(value.clone()).map_err(|error| wrong(&error))?;
        let text = format!("{name}={}:{}", limit.soft, limit.hard);
        let limit = ulimit::parse(&text).map_err(|error| wrong(&error))?;
        ulimits.insert(name.clone(), limit);
    }
    Ok(ulimits)
}

fn seccomp(values: &Values) -> Result<Option<String>, SettingsError> {
    const KEY: &str = "seccomp-profile";
    let path = match values.text(KEY) {
        None | Some("builtin") => return Ok(None),
        Some("unconfined") => return Ok(Some(UNCONFINED.to_owned())),
        Some(path) => path,
    };
    let failed = |error: std::io::Error| invalid(KEY, path, error);
    if std::fs::metadata(path).map_err(failed)?.len() > MAX_PROFILE {
        return Err(invalid(KEY, path, "the file is too long"));
    }
    std::fs::read_to_string(path).map(Some).map_err(failed)
}

/// A negative number is no limit, as in Docker.
fn shutdown_timeout(values: &Values) -> Option<Duration> {
    let seconds = values.number("shutdown-timeout")?;
    Some(
        u64::try_from(seconds).map_or(FOREVER, |seconds| Duration::from_secs(seconds).min(FOREVER)),
    )
}
