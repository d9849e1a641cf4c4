//! Security options: `no-new-privileges`, `seccomp=FILE`, `systempaths=unconfined`.

use std::collections::BTreeSet;
use std::path::PathBuf;

/// An option that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SecurityError {
    /// No option that is known.
    #[error("Invalid --security-opt: {0:?}")]
    Unknown(String),
    /// The profile cannot be read.
    #[error("opening seccomp profile ({}) failed: open {}: {}", path.display(), path.display(), crate::failure::errno_text(source))]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The profile is not JSON.
    #[error("compacting json for seccomp profile ({}) failed: {source}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
}

/// Options as the engine takes them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Security {
    /// What is sent as they are; a seccomp profile with its content in place of its file.
    pub(crate) options: Vec<String>,
    /// Whether no path is masked or read-only.
    pub(crate) open_system_paths: bool,
}

/// Reads the options, and the files they name.
pub(crate) fn resolve(options: &[String]) -> Result<Security, SecurityError> {
    let mut security = Security::default();
    for option in options {
        let (name, value) = match option.split_once('=').or_else(|| option.split_once(':')) {
            Some((name, value)) => (name, value),
            None if option == "no-new-privileges" => (option.as_str(), ""),
            None => return Err(SecurityError::Unknown(option.clone())),
        };
        match (name, value) {
            ("systempaths", "unconfined") => security.open_system_paths = true,
            ("seccomp", file) if file != "unconfined" && file != "builtin" => {
                security.options.push(format!("seccomp={}", profile(file)?));
            }
            _ => security.options.push(option.clone()),
        }
    }
    Ok(security)
}

fn profile(file: &str) -> Result<String, SecurityError> {
    let path = PathBuf::from(file);
    let text = std::fs::read(&path).map_err(|source| SecurityError::Open {
        path: path.clone(),
        source,
    })?;
    let value: serde_json::Value =
        serde_json::from_slice(&text).map_err(|source| SecurityError::Json { path, source })?;
    Ok(value.to_string())
}

/// The capabilities to add and to drop by their full names, each once: all of them makes the others needless, and
/// what is added is not dropped.
pub(crate) fn capabilities(add: &[String], drop: &[String]) -> (Vec<String>, Vec<String>) {
    const ALL: &str = "ALL";
    let full = |names: &[String]| -> BTreeSet<String> {
        let names: BTreeSet<String> = names
            .iter()
            .map(|name| name.trim().to_ascii_uppercase())
            .map(|name| {
                if name == ALL || name.starts_with("CAP_") {
                    name
                } else {
                    format!("CAP_{name}")
                }
            })
            .collect();
        if names.contains(ALL) {
            [ALL.to_owned()].into()
        } else {
            names
        }
    };
    let add = full(add);
    let drop = full(drop).difference(&add).cloned().collect();
    (add.into_iter().collect(), drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_have_one_name_each() {
        let names =
            |text: &str| -> Vec<String> { text.split_whitespace().map(str::to_owned).collect() };
        assert_eq!(
            capabilities(&names("net_admin CAP_NET_ADMIN mknod"), &names("mknod all")),
            (names("CAP_MKNOD CAP_NET_ADMIN"), names("ALL"))
        );
        assert_eq!(
            capabilities(&names("chown"), &names("Chown kill")),
            (names("CAP_CHOWN"), names("CAP_KILL"))
        );
    }

    #[test]
    fn a_profile_is_sent_by_content() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("profile.json");
        std::fs::write(&file, "{ \"defaultAction\" : \"SCMP_ACT_ALLOW\" }\n").expect("a file");
        let options = [
            "no-new-privileges".to_owned(),
            format!("seccomp={}", file.display()),
            "systempaths=unconfined".to_owned(),
        ];
        let security = resolve(&options).expect("good options");
        assert_eq!(
            security.options,
            [
                "no-new-privileges",
                "seccomp={\"defaultAction\":\"SCMP_ACT_ALLOW\"}"
            ]
        );
        assert!(security.open_system_paths);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let error = |option: &str| resolve(&[option.to_owned()]).expect_err(option).to_string();
        assert_eq!(error("x"), "Invalid --security-opt: \"x\"");
        assert_eq!(
            error("seccomp=/nonexistent"),
            "opening seccomp profile (/nonexistent) failed: open /nonexistent: no such file or directory"
        );
    }
}
