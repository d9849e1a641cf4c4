//! Mounts that are to be seen on both sides of a bind: the host's must be of that kind already.

use std::fs;
use std::path::{Path, PathBuf};

use super::Bind;
use crate::error::Error;

/// Checks that the host's mount can propagate as a bind asks.
pub(crate) fn check(bind: &Bind) -> Result<(), Error> {
    let kinds: &[&str] = match bind.propagation.as_str() {
        "shared" | "rshared" => &["shared:"],
        "slave" | "rslave" => &["shared:", "master:"],
        _ => return Ok(()),
    };
    let failed = |error| {
        Error::internal(
            format!("cannot look at the mount of {}", bind.source.display()),
            error,
        )
    };
    let source = fs::canonicalize(&bind.source).map_err(failed)?;
    let table = fs::read_to_string("/proc/self/mountinfo").map_err(failed)?;
    let (place, fields) = mount_of(&table, &source);
    if fields
        .iter()
        .any(|field| kinds.iter().any(|kind| field.starts_with(kind)))
    {
        return Ok(());
    }
    let kind = match kinds.len() {
        1 => "shared",
        _ => "shared or slave",
    };
    Err(Error::invalid(format!(
        "path {} is mounted on {} but it is not a {kind} mount",
        bind.source.display(),
        place.display()
    )))
}

/// The mount a path is on, and its optional fields: of those above the path the deepest, and of
/// those at the same place the last.
fn mount_of<'a>(table: &'a str, path: &Path) -> (PathBuf, Vec<&'a str>) {
    let mut found = (PathBuf::from("/"), Vec::new());
    for line in table.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let Some(place) = words.get(4) else {
            continue;
        };
        let place = PathBuf::from(place.replace("\\040", " "));
        if path.starts_with(&place) && place.starts_with(&found.0) {
            let fields = words.iter().skip(6).take_while(|word| **word != "-");
            found = (place, fields.copied().collect());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deepest_mount_counts() {
        let table = "\
            1 0 8:1 / / rw - ext4 x rw\n\
            2 1 0:2 / /a rw shared:5 - tmpfs x rw\n\
            3 2 0:3 / /a/b\\040c rw,nosuid master:1 shared:7 - tmpfs x rw\n\
            4 1 0:4 / /ab rw - tmpfs x rw\n";
        let of = |path| mount_of(table, Path::new(path));
        assert_eq!(of("/x"), (PathBuf::from("/"), vec![]));
        assert_eq!(of("/a/x"), (PathBuf::from("/a"), vec!["shared:5"]));
        assert_eq!(
            of("/a/b c/d"),
            (PathBuf::from("/a/b c"), vec!["master:1", "shared:7"])
        );
        assert_eq!(of("/ab/c").0, Path::new("/ab"));
    }
}
