//! The direction of the crates' dependencies: only to a lower layer.
//!
//! The table here is the one in ARCHITECTURE.md. Tests and benchmarks (`tests/`, `benches/`) may
//! use any crate; nothing may use them.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// The layers, lowest first, and the crates in each.
const LAYERS: [(&str, &[&str]); 6] = [
    (
        "base",
        &[
            "wharf-oci",
            "wharf-sys",
            "wharf-template",
            "wharf-types",
            "wharf-wire",
        ],
    ),
    ("kernel", &["wharf-cgroup", "wharf-seccomp"]),
    (
        "domain",
        &[
            "wharf-distribution",
            "wharf-log",
            "wharf-network",
            "wharf-runtime",
            "wharf-store",
        ],
    ),
    ("supervision", &["wharf-shim"]),
    ("service", &["wharf-engine", "wharf-registry"]),
    ("edge", &["wharf-api", "wharf-cli"]),
];
/// The program, which joins everything.
const PROGRAM: &str = "wharf";
/// Base crates stand alone, but for these that read the two smallest of them.
const WITHIN_BASE: [(&str, &str); 1] = [("wharf-wire", "wharf-types")];

/// Fails with every dependency that does not point down, and every crate without a layer.
pub(crate) fn check() -> Result<()> {
    let faults = faults(&metadata()?)?;
    if !faults.is_empty() {
        bail!(
            "dependencies must point to a lower layer:\n  {}",
            faults.join("\n  ")
        );
    }
    Ok(())
}

fn metadata() -> Result<Value> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("xtask has no parent")?;
    let output = Command::new("cargo")
        .args(["metadata", "--format-version", "1", "--no-deps"])
        .current_dir(root)
        .output()
        .context("cannot run cargo metadata")?;
    if !output.status.success() {
        bail!(
            "cargo metadata: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    serde_json::from_slice(&output.stdout).context("cargo metadata printed no JSON")
}

fn faults(metadata: &Value) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    for package in metadata["packages"]
        .as_array()
        .context("no packages in cargo metadata")?
    {
        let name = package["name"]
            .as_str()
            .context("a package without a name")?;
        let manifest = package["manifest_path"]
            .as_str()
            .context("a package without a path")?;
        let folder = Path::new(manifest)
            .parent()
            .context("a manifest without a folder")?;
        let in_crates = folder
            .parent()
            .is_some_and(|parent| parent.ends_with("crates"));
        if in_crates && !folder.ends_with(name) {
            faults.push(format!(
                "{name} lies in {}, not in crates/{name}",
                folder.display()
            ));
        }
        if in_crates && name != PROGRAM && layer(name).is_none() {
            faults.push(format!("{name} has no layer in xtask/src/layers.rs"));
        }
        let dependencies = package["dependencies"]
            .as_array()
            .context("no dependencies list")?;
        for dependency in dependencies.iter().filter(|d| d["path"].is_string()) {
            // A crate's tests may look sideways; its code may not.
            if dependency["kind"].as_str() == Some("dev") {
                continue;
            }
            let used = dependency["name"]
                .as_str()
                .context("a dependency without a name")?;
            if in_crates && !points_down(name, used) {
                faults.push(format!("{name} uses {used}"));
            }
        }
    }
    Ok(faults)
}

fn points_down(name: &str, used: &str) -> bool {
    if name == PROGRAM || WITHIN_BASE.contains(&(name, used)) {
        return used != PROGRAM;
    }
    matches!((layer(name), layer(used)), (Some(own), Some(other)) if other < own)
}

fn layer(name: &str) -> Option<usize> {
    LAYERS.iter().position(|(_, crates)| crates.contains(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_downward_is_accepted() {
        assert!(points_down("wharf-engine", "wharf-store"));
        assert!(points_down("wharf", "wharf-cli"));
        assert!(!points_down("wharf-store", "wharf-engine"));
        assert!(!points_down("wharf-store", "wharf-network"));
        assert!(!points_down("wharf-cli", "wharf"));
        assert!(!points_down("unknown", "wharf-sys"));
    }

    #[test]
    fn this_workspace_holds_it() {
        let found = faults(&metadata().expect("metadata")).expect("packages");
        assert_eq!(found, Vec::<String>::new());
    }
}
