//! The user's configuration: `config.json`, which Docker's command line has and ours shares.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::ser::{PrettyFormatter, Serializer};
use serde_json::{Map, Value};

use crate::environment;

/// The largest file that is read.
const LIMIT: u64 = 4 << 20;

/// What the file may say to us. What it says to others stays in it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Config {
    pub(crate) current_context: String,
    pub(crate) detach_keys: String,
    #[serde(rename = "HttpHeaders")]
    pub(crate) http_headers: BTreeMap<String, String>,
    pub(crate) images_format: String,
    pub(crate) proxies: BTreeMap<String, Proxies>,
    pub(crate) ps_format: String,
    pub(crate) stats_format: String,
    pub(crate) volumes_format: String,
}

/// The proxies that containers of an engine are told of.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Proxies {
    http_proxy: String,
    https_proxy: String,
    no_proxy: String,
    ftp_proxy: String,
    all_proxy: String,
}

/// A configuration that cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("cannot read config file ({})", .0.display())]
    Read(PathBuf, #[source] io::Error),
    #[error("Error parsing config file ({})", .0.display())]
    Parse(PathBuf, #[source] serde_json::Error),
    #[error("cannot write config file ({})", .0.display())]
    Write(PathBuf, #[source] io::Error),
}

/// The directory of the user's configuration: the flag, the environment, the home directory.
pub(crate) fn directory(flag: Option<&str>) -> PathBuf {
    flag.map(PathBuf::from)
        .or_else(|| environment::read(environment::DOCKER_CONFIG).map(PathBuf::from))
        .unwrap_or_else(|| {
            let home = environment::read(environment::HOME).unwrap_or_else(|| "/".to_owned());
            Path::new(&home).join(".docker")
        })
}

fn file(directory: &Path) -> PathBuf {
    directory.join("config.json")
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, ConfigError> {
    let failed = |error| ConfigError::Read(path.to_owned(), error);
    match fs::metadata(path) {
        Ok(metadata) if metadata.len() > LIMIT => Err(failed(io::ErrorKind::FileTooLarge.into())),
        Ok(_) => fs::read(path).map(Some).map_err(failed),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(failed(error)),
    }
}

impl Config {
    /// Reads the configuration; none is an empty one.
    pub(crate) fn load(directory: &Path) -> Result<Self, ConfigError> {
        let path = file(directory);
        match read(&path)? {
            None => Ok(Self::default()),
            Some(bytes) => {
                serde_json::from_slice(&bytes).map_err(|error| ConfigError::Parse(path, error))
            }
        }
    }

    /// The environment variables that tell a container of the proxies, for an engine at `host`.
    pub(crate) fn proxy_variables(&self, host: &str) -> Vec<(String, String)> {
        let Some(proxies) = self
            .proxies
            .get(host)
            .or_else(|| self.proxies.get("default"))
        else {
            return Vec::new();
        };
        [
            ("HTTP_PROXY", &proxies.http_proxy),
            ("HTTPS_PROXY", &proxies.https_proxy),
            ("NO_PROXY", &proxies.no_proxy),
            ("FTP_PROXY", &proxies.ftp_proxy),
            ("ALL_PROXY", &proxies.all_proxy),
        ]
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .flat_map(|(name, value)| {
            [name.to_owned(), name.to_ascii_lowercase()].map(|name| (name, value.clone()))
        })
        .collect()
    }
}

/// Makes another context the current one; all else in the file stays. Empty is the default context.
pub(crate) fn set_current_context(directory: &Path, name: &str) -> Result<(), ConfigError> {
    let path = file(directory);
    let mut document: Map<String, Value> = match read(&path)? {
        None => Map::new(),
        Some(bytes) => serde_json::from_slice(&bytes)
            .map_err(|error| ConfigError::Parse(path.clone(), error))?,
    };
    if name.is_empty() {
        document.remove("currentContext");
    } else {
        document.insert("currentContext".to_owned(), name.into());
    }
    document
        .entry("auths")
        .or_insert_with(|| Value::Object(Map::new()));
    replace(&path, &document).map_err(|error| ConfigError::Write(path, error))
}

/// Writes beside the file and renames; a link is followed, and the file keeps its mode.
fn replace(path: &Path, document: &Map<String, Value>) -> io::Result<()> {
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let directory = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(directory)?;
    let mode = fs::metadata(&path).map_or(0o600, |metadata| metadata.permissions().mode());
    let mut bytes = Vec::new();
    let mut serializer =
        Serializer::with_formatter(&mut bytes, PrettyFormatter::with_indent(b"\t"));
    serde::Serialize::serialize(document, &mut serializer)?;
    let partial = directory.join(format!(".config.json-{}", std::process::id()));
    let written = fs::File::create(&partial).and_then(|mut file| {
        file.write_all(&bytes)?;
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        file.sync_all()?;
        fs::rename(&partial, &path)
    });
    if written.is_err() {
        // The first error is the one to tell; what is left is a stray file at worst.
        fs::remove_file(&partial).ok();
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_ours_stays() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = file(directory.path());
        fs::write(&path, r#"{"auths":{"a":{}},"other":[1],"psFormat":"x"}"#).expect("a file");
        set_current_context(directory.path(), "one").expect("a good file");
        let config = Config::load(directory.path()).expect("a good file");
        assert_eq!(
            (config.current_context.as_str(), config.ps_format.as_str()),
            ("one", "x")
        );
        set_current_context(directory.path(), "").expect("a good file");
        assert_eq!(
            fs::read_to_string(&path).expect("a file"),
            "{\n\t\"auths\": {\n\t\t\"a\": {}\n\t},\n\t\"other\": [\n\t\t1\n\t],\n\t\"psFormat\": \"x\"\n}"
        );
    }

    #[test]
    fn proxies_belong_to_an_engine_or_to_all() {
        let config: Config = serde_json::from_str(
            r#"{"proxies":{"default":{"httpProxy":"h"},"unix:///x":{"noProxy":"n"}}}"#,
        )
        .expect("a good file");
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            config.proxy_variables("tcp://y"),
            [pair("HTTP_PROXY", "h"), pair("http_proxy", "h")]
        );
        assert_eq!(
            config.proxy_variables("unix:///x"),
            [pair("NO_PROXY", "n"), pair("no_proxy", "n")]
        );
    }

    #[test]
    fn a_broken_file_is_named() {
        let directory = tempfile::tempdir().expect("a directory");
        assert!(Config::load(directory.path()).is_ok());
        fs::write(file(directory.path()), "broken").expect("a file");
        let error = Config::load(directory.path()).expect_err("a broken file");
        assert!(error.to_string().starts_with("Error parsing config file ("));
    }
}
