//! Runtimes beside the engine's own: programs with the OCI runtime's command line.
//!
//! They are named in the engine's settings. `runc` and `crun` are known without, where they are
//! installed, because users ask for them by these names.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use wharf_oci::runtime::Spec;
use wharf_shim::protocol::External;
use wharf_types::ContainerId;

use crate::container::Places;
use crate::defaults::{Defaults, NamedRuntime, OWN_RUNTIME};
use crate::error::Error;
use crate::inner::Inner;
use crate::security::Security;

/// Runtimes known by their programs' names.
const KNOWN: [&str; 2] = ["runc", "crun"];
/// Where a program without a path is looked for.
const DIRECTORIES: [&str; 6] = [
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
];

/// Finds a runtime by its name; `None` is the engine's own.
pub(crate) fn find(name: &str, settings: &Defaults) -> Result<Option<NamedRuntime>, Error> {
    if name == OWN_RUNTIME {
        return Ok(None);
    }
    if let Some(named) = settings.runtimes.get(name) {
        let path = program(&named.path).ok_or_else(|| {
            let path = named.path.display();
            Error::invalid(format!(
                "the program of the runtime {name}, {path}, is not there"
            ))
        })?;
        return Ok(Some(NamedRuntime {
            path,
            arguments: named.arguments.clone(),
        }));
    }
    installed()
        .remove(name)
        .map(Some)
        .ok_or_else(|| Error::invalid(format!("unknown or invalid runtime name: {name}")))
}

/// Those of the known runtimes that are installed.
pub(crate) fn installed() -> BTreeMap<String, NamedRuntime> {
    let found = KNOWN.iter().filter_map(|name| {
        let runtime = NamedRuntime {
            path: program(Path::new(name))?,
            arguments: Vec::new(),
        };
        Some(((*name).to_owned(), runtime))
    });
    found.collect()
}

fn program(path: &Path) -> Option<PathBuf> {
    if path.is_absolute() {
        return path.is_file().then(|| path.to_owned());
    }
    let mut places = DIRECTORIES
        .iter()
        .map(|directory| Path::new(directory).join(path));
    places.find(|place| place.is_file())
}

/// What a shim is told of a runtime for a container.
pub(crate) fn external(runtime: NamedRuntime, places: &Places, id: ContainerId) -> External {
    External {
        program: runtime.path,
        arguments: runtime.arguments,
        bundle: bundles(places).join(id.to_string()),
        state: state(places),
    }
}

/// Makes a specification one that another program takes.
pub(crate) fn adapt(spec: &mut Spec, security: &Security) {
    // Nothing of later versions is in it, and some refuse what they do not know.
    "1.0.2".clone_into(&mut spec.oci_version);
    if let Some(linux) = &mut spec.linux {
        linux.seccomp = security.filter_document();
    }
}

fn bundles(places: &Places) -> PathBuf {
    places.exec_root.join("runtimes").join("bundles")
}

fn state(places: &Places) -> PathBuf {
    places.exec_root.join("runtimes").join("state")
}

impl Inner {
    /// Removes what a runtime had of containers that do not run: their shims were killed.
    pub(crate) fn remove_orphan_bundles(&self, runs: impl Fn(&str) -> bool) -> io::Result<()> {
        for directory in [bundles(&self.places), state(&self.places)] {
            let entries = std::fs::read_dir(&directory).into_iter().flatten();
            for entry in entries {
                let entry = entry?;
                let orphan = entry.file_name().to_str().is_some_and(|name| !runs(name));
                if orphan && directory == bundles(&self.places) {
                    wharf_shim::remove_bundle(&entry.path())?;
                } else if orphan {
                    // Plain files of the runtime's, of a container that is no more.
                    std::fs::remove_dir_all(entry.path())?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runtimes_are_found_by_name() {
        let mut settings = Defaults::default();
        let named = |path: &str| NamedRuntime {
            path: PathBuf::from(path),
            arguments: vec!["--debug".to_owned()],
        };
        settings.runtimes.insert("mine".to_owned(), named("sh"));
        settings
            .runtimes
            .insert("gone".to_owned(), named("/nonexistent/x"));
        let find = |name| find(name, &settings).map_err(|error| error.to_string());
        assert_eq!(find("wharf"), Ok(None));
        let mine = find("mine").expect("known").expect("external");
        assert!(mine.path.is_absolute() && mine.path.ends_with("sh"));
        assert_eq!(mine.arguments, ["--debug"]);
        assert!(
            find("gone")
                .expect_err("refused")
                .contains("/nonexistent/x")
        );
        assert_eq!(
            find("io.containerd.runc.v2"),
            Err("unknown or invalid runtime name: io.containerd.runc.v2".to_owned())
        );
    }
}
