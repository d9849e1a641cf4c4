//! The user's configuration: `config.json`, which Docker's command line has and ours shares.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use rustix::io::Errno;
use serde::Deserialize;
use serde::de::DeserializeOwned;
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
    pub(crate) prune_filters: Vec<String>,
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

/// Where the file is.
pub(crate) fn file(directory: &Path) -> PathBuf {
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

/// Reads what a type takes from the file; a file that is not there has nothing.
pub(crate) fn load<T: Default + DeserializeOwned>(directory: &Path) -> Result<T, ConfigError> {
    let path = file(directory);
    match read(&path)? {
        None => Ok(T::default()),
        Some(bytes) => {
            serde_json::from_slice(&bytes).map_err(|error| ConfigError::Parse(path, error))
        }
    }
}

impl Config {
    /// Reads the configuration; none is an empty one.
    pub(crate) fn load(directory: &Path) -> Result<Self, ConfigError> {
        load(directory)
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
    edit(directory, |document| {
        if name.is_empty() {
            document.shift_remove("currentContext");
        } else {
            document.insert("currentContext".to_owned(), name.into());
        }
    })
}

/// Changes the file. What is not changed stays, whoever it belongs to, in its order; two programs that change it at the
/// same time do not undo each other's work.
pub(crate) fn edit(
    directory: &Path,
    change: impl FnOnce(&mut Map<String, Value>),
) -> Result<(), ConfigError> {
    let path = file(directory);
    let failed = |error| ConfigError::Write(path.clone(), error);
    let lock = lock(directory).map_err(failed)?;
    let mut document: Map<String, Value> = match read(&path)? {
        None => Map::new(),
        Some(bytes) => serde_json::from_slice(&bytes)
            .map_err(|error| ConfigError::Parse(path.clone(), error))?,
    };
    change(&mut document);
    document
        .entry("auths")
        .or_insert_with(|| Value::Object(Map::new()));
    replace(&path, &document).map_err(failed)?;
    drop(lock);
    Ok(())
}

/// Makes the directory if need be, and keeps other programs of ours from the file until the lock is dropped.
fn lock(directory: &Path) -> io::Result<fs::File> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)?;
    let directory = fs::File::open(directory)?;
    match rustix::fs::flock(&directory, FlockOperation::LockExclusive) {
        // A file system without locks has none to give, and is written to all the same.
        Ok(()) | Err(Errno::NOLCK | Errno::OPNOTSUPP | Errno::NOSYS) => Ok(directory),
        Err(error) => Err(error.into()),
    }
}

/// Writes beside the file and renames. A link is followed, even one to a file that is not there yet; the file keeps its
/// owner, and its mode unless that lets others read what now may be a secret.
fn replace(path: &Path, document: &Map<String, Value>) -> io::Result<()> {
    let path = followed(path)?;
    let directory = path.parent().unwrap_or(Path::new("/"));
    let before = fs::metadata(&path).ok();
    let mode = before
        .as_ref()
        .map_or(0o600, |before| before.mode() & 0o700);
    let mut bytes = Vec::new();
    let mut serializer =
        Serializer::with_formatter(&mut bytes, PrettyFormatter::with_indent(b"\t"));
    serde::Serialize::serialize(document, &mut serializer)?;
    let partial = directory.join(format!(".config.json-{}", std::process::id()));
    // One that is there was left by a program that died, which had our number.
    fs::remove_file(&partial).ok();
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&partial)
        .and_then(|mut file| {
            file.write_all(&bytes)?;
            file.set_permissions(fs::Permissions::from_mode(mode))?;
            if let Some(before) = &before {
                keep_owner(&file, before)?;
            }
            file.sync_all()?;
            fs::rename(&partial, &path)
        });
    if written.is_err() {
        // The first error is the one to tell; what is left is a stray file at worst.
        fs::remove_file(&partial).ok();
    }
    written
}

/// Where a path leads.
fn followed(path: &Path) -> io::Result<PathBuf> {
    /// As many as the kernel follows.
    const LINKS: usize = 40;
    let mut path = path.to_owned();
    for _ in 0..LINKS {
        match fs::read_link(&path) {
            Ok(target) => path = path.parent().unwrap_or(Path::new("/")).join(target),
            Err(_) => return Ok(path),
        }
    }
    Err(Errno::LOOP.into())
}

/// What root writes for somebody else stays theirs.
fn keep_owner(file: &fs::File, before: &fs::Metadata) -> io::Result<()> {
    let now = file.metadata()?;
    if (now.uid(), now.gid()) == (before.uid(), before.gid()) {
        return Ok(());
    }
    match std::os::unix::fs::fchown(file, Some(before.uid()), Some(before.gid())) {
        // Who is not root makes it their own, as with any program that replaces a file.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        other => other,
    }
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
    fn what_is_removed_leaves_the_others_in_their_order() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = file(directory.path());
        let text = r#"{"currentContext":"one","z":1,"auths":{},"a":2}"#;
        fs::write(&path, text).expect("a file");
        set_current_context(directory.path(), "").expect("a good file");
        assert_eq!(
            fs::read_to_string(&path).expect("a file"),
            "{\n\t\"z\": 1,\n\t\"auths\": {},\n\t\"a\": 2\n}"
        );
    }

    #[test]
    fn the_file_is_its_owners_alone() {
        let parent = tempfile::tempdir().expect("a directory");
        let directory = parent.path().join("a/b");
        set_current_context(&directory, "one").expect("a good file");
        let mode = |path: &Path| fs::metadata(path).expect("a file").mode() & 0o777;
        let path = file(&directory);
        assert_eq!((mode(&directory), mode(&path)), (0o700, 0o600));
        for (before, after) in [(0o644, 0o600), (0o440, 0o400), (0o600, 0o600)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(before)).expect("ours");
            set_current_context(&directory, &before.to_string()).expect("a good file");
            assert_eq!(mode(&path), after);
        }
        let left: Vec<_> = fs::read_dir(&directory).expect("ours").collect();
        assert_eq!(left.len(), 1, "{left:?}");
    }

    #[test]
    fn links_are_followed() {
        let parent = tempfile::tempdir().expect("a directory");
        let (directory, real) = (parent.path().join("config"), parent.path().join("real"));
        for path in [&directory, &real] {
            fs::create_dir(path).expect("ours");
        }
        std::os::unix::fs::symlink("../real/file", file(&directory)).expect("ours");
        for name in ["one", "two"] {
            set_current_context(&directory, name).expect("a good file");
            assert!(
                fs::symlink_metadata(file(&directory))
                    .expect("ours")
                    .is_symlink()
            );
            let text = fs::read_to_string(real.join("file")).expect("written");
            assert!(text.contains(name), "{text}");
        }
        fs::remove_file(file(&directory)).expect("ours");
        std::os::unix::fs::symlink("config.json", file(&directory)).expect("ours");
        assert!(set_current_context(&directory, "one").is_err());
    }

    #[test]
    fn two_changes_at_once_are_both_made() {
        let directory = tempfile::tempdir().expect("a directory");
        std::thread::scope(|scope| {
            for name in 0..16 {
                let directory = directory.path();
                scope.spawn(move || {
                    edit(directory, |document| {
                        document.insert(name.to_string(), Value::Null);
                    })
                    .expect("a good file");
                });
            }
        });
        let document: Map<String, Value> = load(directory.path()).expect("a good file");
        assert_eq!(document.len(), 17, "{document:?}");
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
