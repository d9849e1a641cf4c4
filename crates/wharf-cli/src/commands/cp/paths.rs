//! Docker's rules for what a copy makes, by what its two paths end in and what is there.
//!
//! Everything here is decided on texts and facts, without touching a file or an engine. A path that ends
//! in `/` or `/.` says that it is a directory; `DIR/.` means what is in it.

use std::path::{Component, Path};

/// One end of a copy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct End {
    /// The path, with what it was given to end in.
    pub(super) path: String,
    pub(super) exists: bool,
    pub(super) is_directory: bool,
    /// What the archive's first entry is called, where that is not the path's last component.
    pub(super) rebase: Option<String>,
}

/// What to unpack where, under which name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    /// The directory to unpack in.
    pub(super) directory: String,
    /// The name entries begin with, and the one they get.
    pub(super) rename: Option<(String, String)>,
}

/// Why a copy makes no sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("cannot copy directory")]
    DirectoryOntoFile,
    #[error("no such directory")]
    NoDirectory,
}

/// Decides what a copy comes to.
pub(super) fn plan(source: &End, destination: &End) -> Result<Plan, Refusal> {
    if destination.exists && destination.is_directory {
        return Ok(Plan {
            directory: destination.path.clone(),
            rename: None,
        });
    }
    if destination.exists && source.is_directory {
        return Err(Refusal::DirectoryOntoFile);
    }
    if !destination.exists && !source.is_directory && asserts_directory(&destination.path) {
        return Err(Refusal::NoDirectory);
    }
    let (directory, name) = split_entry(&destination.path);
    let (_, of_source) = split_entry(&source.path);
    let from = source.rebase.clone().unwrap_or(of_source);
    Ok(Plan {
        directory,
        rename: Some((from, name)),
    })
}

/// Splits an argument into container and path; a local path has none.
pub(super) fn split_argument(argument: &str) -> (Option<&str>, &str) {
    match argument.split_once(':') {
        Some((container, path)) if !argument.starts_with(['/', '.']) => (Some(container), path),
        _ => (None, argument),
    }
}

/// Splits a path into its directory and its last component, `.` where it ends so.
pub(super) fn split_entry(path: &str) -> (String, String) {
    let clean = clean(path);
    if is_current(path) {
        return (clean, ".".to_owned());
    }
    match clean.rsplit_once('/') {
        Some(("", "")) => ("/".to_owned(), "/".to_owned()),
        Some(("", name)) => ("/".to_owned(), name.to_owned()),
        Some((directory, name)) => (directory.to_owned(), name.to_owned()),
        None => (".".to_owned(), clean),
    }
}

/// Whether a path says that it is a directory.
pub(super) fn asserts_directory(path: &str) -> bool {
    path.ends_with('/') || is_current(path)
}

/// Whether a path ends in `.`.
fn is_current(path: &str) -> bool {
    base(path) == "."
}

/// The last component; of an empty path `.`.
pub(super) fn base(path: &str) -> &str {
    let trimmed = path.trim_end_matches('/');
    match (path, trimmed) {
        ("", _) => ".",
        (_, "") => "/",
        (_, trimmed) => trimmed.rsplit('/').next().unwrap_or(trimmed),
    }
}

/// Gives a path that was cleaned back what it ended in.
pub(super) fn with_ending_of(mut cleaned: String, original: &str) -> String {
    if !is_current(&cleaned) && is_current(original) {
        if !cleaned.ends_with('/') {
            cleaned.push('/');
        }
        cleaned.push('.');
    }
    if !cleaned.ends_with('/') && original.ends_with('/') {
        cleaned.push('/');
    }
    cleaned
}

/// Where a link led, with what the link's path ended in; and the name that was asked for, if the
/// archive's would be another.
pub(super) fn followed(path: &str, target: &str) -> (String, Option<String>) {
    let resolved = with_ending_of(target.to_owned(), path);
    let rebase = (base(path) != base(&resolved)).then(|| base(path).to_owned());
    (resolved, rebase)
}

/// Joins what a link says with the directory the link is in.
pub(super) fn link_target(link: &str, target: &str) -> String {
    if target.starts_with('/') {
        return target.to_owned();
    }
    clean(&format!("{}/{target}", split_entry(link).0))
}

/// Takes out `.`, `..` and doubled slashes, as Go's `filepath.Clean`.
pub(super) fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for component in Path::new(path).components() {
        match component {
            Component::Normal(name) => parts.extend(name.to_str()),
            Component::ParentDir => match parts.last() {
                Some(&"..") => parts.push(".."),
                Some(_) => drop(parts.pop()),
                None if rooted => {}
                None => parts.push(".."),
            },
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    let joined = parts.join("/");
    match (rooted, joined.as_str()) {
        (true, _) => format!("/{joined}"),
        (false, "") => ".".to_owned(),
        (false, _) => joined,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_stands_before_a_colon() {
        for (argument, container, path) in [
            ("c:/a", Some("c"), "/a"),
            ("c:", Some("c"), ""),
            ("/a:b", None, "/a:b"),
            ("./a:b", None, "./a:b"),
            ("a", None, "a"),
            ("c:a:b", Some("c"), "a:b"),
            ("-", None, "-"),
        ] {
            assert_eq!(split_argument(argument), (container, path), "{argument}");
        }
    }

    #[test]
    fn paths_are_split_as_docker_splits_them() {
        for (path, directory, name) in [
            ("/a/b", "/a", "b"),
            ("/a/b/", "/a", "b"),
            ("/a/b/.", "/a/b", "."),
            ("/a", "/", "a"),
            ("/", "/", "/"),
            ("/.", "/", "."),
            ("a", ".", "a"),
            ("a/../b", ".", "b"),
            (".", ".", "."),
        ] {
            assert_eq!(
                split_entry(path),
                (directory.to_owned(), name.to_owned()),
                "{path}"
            );
        }
        assert_eq!(with_ending_of("/x/a".to_owned(), "a/."), "/x/a/.");
        assert_eq!(with_ending_of("/x/a".to_owned(), "a/"), "/x/a/");
        assert_eq!(with_ending_of("/x".to_owned(), "."), "/x/.");
        assert_eq!(link_target("/d/l", "../x"), "/x");
        assert_eq!(
            followed("/d/l/", "/d/sub"),
            ("/d/sub/".to_owned(), Some("l".to_owned()))
        );
        assert_eq!(followed("/d/l/.", "/d/sub"), ("/d/sub/.".to_owned(), None));
    }

    /// The table of Docker's documentation of `cp`.
    #[test]
    fn what_is_made_depends_on_both_ends() {
        let file = |path: &str| End {
            path: path.to_owned(),
            exists: true,
            ..End::default()
        };
        let directory = |path: &str| End {
            is_directory: true,
            ..file(path)
        };
        let nothing = |path: &str| End {
            path: path.to_owned(),
            ..End::default()
        };
        let made = |directory: &str, rename: Option<(&str, &str)>| {
            Ok(Plan {
                directory: directory.to_owned(),
                rename: rename.map(|(from, to)| (from.to_owned(), to.to_owned())),
            })
        };
        for (source, destination, expected) in [
            (file("/s/f"), nothing("/d/n"), made("/d", Some(("f", "n")))),
            (file("/s/f"), nothing("/d/n/"), Err(Refusal::NoDirectory)),
            (file("/s/f"), file("/d/n"), made("/d", Some(("f", "n")))),
            (file("/s/f"), directory("/d/n"), made("/d/n", None)),
            (
                directory("/s/x"),
                nothing("/d/n"),
                made("/d", Some(("x", "n"))),
            ),
            (
                directory("/s/x"),
                nothing("/d/n/"),
                made("/d", Some(("x", "n"))),
            ),
            (
                directory("/s/x"),
                file("/d/n"),
                Err(Refusal::DirectoryOntoFile),
            ),
            (directory("/s/x"), directory("/d/n"), made("/d/n", None)),
            (
                directory("/s/x/."),
                nothing("/d/n"),
                made("/d", Some((".", "n"))),
            ),
            (directory("/s/x/."), directory("/d/n"), made("/d/n", None)),
        ] {
            assert_eq!(
                plan(&source, &destination),
                expected,
                "{source:?} {destination:?}"
            );
        }
    }
}
