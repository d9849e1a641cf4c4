//! The image that travels: Debian, Python and small layers, as an archive that everybody loads.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use wharf_tests_system::image::{self, Archive, sha256};

use crate::sample::time;

/// What the archive calls the image.
pub(super) const NAME: &str = "wharf.example/travel:1";

/// Layers of one small file each, as a program's own steps make them.
const SMALL_LAYERS: usize = 4;

/// Writes the archive into a directory.
pub(super) fn write(directory: &Path) -> Result<PathBuf> {
    let mut layers = Vec::new();
    debian_layers(directory, &mut layers)?;
    for number in 0..SMALL_LAYERS {
        let name = format!("small-{number}");
        let mut archive = Archive::new(File::create(directory.join(&name))?);
        let program = format!("print({number})\n").repeat(500);
        archive.file(&format!("srv/{name}.py"), 0o644, program.as_bytes())?;
        archive.finish()?.flush()?;
        layers.push(name);
    }
    let mut diff_ids = Vec::new();
    for layer in &layers {
        let bytes = std::fs::read(directory.join(layer))?;
        diff_ids.push(format!("sha256:{}", sha256(&bytes)));
    }
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let history: Vec<_> = layers
        .iter()
        .map(|layer| json!({ "created": "2024-01-01T00:00:00Z", "created_by": layer }))
        .collect();
    let configuration = json!({
        "created": "2024-01-01T00:00:00Z",
        "architecture": architecture,
        "os": "linux",
        "config": { "Cmd": ["python3"] },
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
        "history": history,
    });
    let configuration = serde_json::to_vec(&configuration)?;
    let configuration_name = format!("{}.json", sha256(&configuration));
    std::fs::write(directory.join(&configuration_name), configuration)?;
    let manifest = json!([{ "Config": configuration_name, "RepoTags": [NAME], "Layers": layers }]);
    std::fs::write(
        directory.join("manifest.json"),
        serde_json::to_vec(&manifest)?,
    )?;
    let path = directory.join("image.tar");
    let mut command = Command::new("tar");
    command
        .arg("-c")
        .arg("-f")
        .arg(&path)
        .arg("-C")
        .arg(directory);
    command
        .args(&layers)
        .args([configuration_name.as_str(), "manifest.json"]);
    time(command)?;
    for layer in &layers {
        std::fs::remove_file(directory.join(layer))?;
    }
    Ok(path)
}

/// Cuts a file system with Python in two: what a plain Debian has too, and the rest.
fn debian_layers(directory: &Path, layers: &mut Vec<String>) -> Result<()> {
    let whole = image::debian_with("debian-python3", &["procps", "iproute2", "python3"]);
    let plain: BTreeSet<String> = names(&image::debian())?.into_iter().collect();
    let (base, rest): (Vec<_>, Vec<_>) = names(&whole)?
        .into_iter()
        .partition(|name| plain.contains(name));
    ensure!(!base.is_empty() && !rest.is_empty(), "the archives are odd");
    let root = directory.join("root");
    std::fs::create_dir(&root)?;
    let mut command = Command::new("tar");
    command.arg("-x").arg("-f").arg(&whole).arg("-C").arg(&root);
    time(command)?;
    for (layer, names) in [("debian", base), ("python3", rest)] {
        let list = directory.join("list");
        std::fs::write(&list, names.join("\n"))?;
        let mut command = Command::new("tar");
        command
            .args(["-c", "--numeric-owner", "--no-recursion", "-f"])
            .arg(directory.join(layer))
            .arg("-C")
            .arg(&root)
            .arg("--verbatim-files-from")
            .arg("-T")
            .arg(&list);
        time(command)?;
        std::fs::remove_file(list)?;
        layers.push(layer.to_owned());
    }
    std::fs::remove_dir_all(root)?;
    Ok(())
}

/// The names of an archive's entries, in its order.
fn names(archive: &Path) -> Result<Vec<String>> {
    let listed = Command::new("tar")
        .args(["--quoting-style=literal", "-t", "-f"])
        .arg(archive)
        .stdin(Stdio::null())
        .output()
        .context("tar")?;
    ensure!(
        listed.status.success(),
        "tar cannot list {}",
        archive.display()
    );
    let text = String::from_utf8(listed.stdout)?;
    Ok(text.lines().map(str::to_owned).collect())
}
