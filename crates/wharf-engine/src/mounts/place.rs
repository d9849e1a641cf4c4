//! Where a mount may go.

use std::path::{Component, Path, PathBuf};

use super::invalid;
use crate::error::Error;

/// Files below /proc that may be mounted over; what lxcfs provides.
const PROC_FILES: [&str; 8] = [
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/uptime",
    "/proc/loadavg",
    "/proc/slabinfo",
];

/// Checks a destination and gives it its shortest form.
pub(super) fn destination(text: &str, kind: &str) -> Result<PathBuf, Error> {
    let path = absolute(text, kind)?;
    if path == Path::new("/") {
        return Err(invalid(
            kind,
            "invalid specification: destination can't be '/'",
        ));
    }
    let allowed = PROC_FILES.iter().any(|file| path == Path::new(file));
    if path.starts_with("/proc") && !allowed {
        return Err(invalid(
            kind,
            &format!("{text:?} cannot be mounted because it is inside /proc"),
        ));
    }
    Ok(path)
}

/// A volume's destination; an image may name any text (attacks R17, R18).
pub(super) fn volume(text: &str) -> Result<PathBuf, Error> {
    let target = destination(text, "volume")?;
    if target.starts_with("/sys") {
        return Err(invalid("volume", &format!("{text:?} cannot be a volume")));
    }
    Ok(target)
}

/// Checks that a path is absolute and gives it its shortest form.
pub(super) fn absolute(text: &str, kind: &str) -> Result<PathBuf, Error> {
    let path = Path::new(text);
    if !path.is_absolute() {
        return Err(invalid(
            kind,
            &format!("invalid mount path: '{text}' mount path must be absolute"),
        ));
    }
    Ok(clean(path))
}

/// Takes out `.`, `..` and doubled slashes, as Go's `filepath.Clean` does for an absolute path.
fn clean(path: &Path) -> PathBuf {
    let mut cleaned = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => cleaned.push(name),
            Component::ParentDir => drop(cleaned.pop()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    cleaned
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attack_r17_volumes_over_the_kernels_files_are_refused() {
        for text in ["/sys/fs", "/sys", "/proc", "/proc/self/..", "/", "", "x"] {
            assert!(volume(text).is_err(), "{text:?}");
        }
        destination("/proc/cpuinfo", "bind").expect("lxcfs's files are allowed");
    }

    #[test]
    fn attack_r18_volume_targets_stay_inside() {
        assert_eq!(
            volume("/../../../../etc").map_err(|e| e.to_string()),
            Ok(PathBuf::from("/etc"))
        );
        assert!(volume("/a/../../..").is_err(), "that is the root");
    }
}
