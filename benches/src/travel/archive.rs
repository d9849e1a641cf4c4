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

/// The image in variants that have no layer in common, and differ in one small file of each: so each
/// can come in as if nothing like it had been there, without anything being removed before.
/// (Removing is not without a trace: ext4 leaves the inodes of files deleted in the last minute alone,
/// and looks through all of them for each file that is made.)
pub(super) struct Variants {
    directory: PathBuf,
    layers: Vec<String>,
}

/// One of them.
pub(super) struct Variant {
    pub(super) archive: PathBuf,
    /// What the archive calls the image.
    pub(super) name: String,
}

/// Layers of one small file each, as a program's own steps make them.
const SMALL_LAYERS: usize = 4;

impl Variants {
    /// Makes what they have in common, in a directory.
    pub(super) fn prepare(directory: &Path) -> Result<Self> {
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
        Ok(Self {
            directory: directory.to_owned(),
            layers,
        })
    }

    /// Writes one as an archive, which the caller removes.
    pub(super) fn write(&self, number: usize) -> Result<Variant> {
        let place = self.directory.join(format!("variant-{number}"));
        std::fs::create_dir(&place)?;
        let mut diff_ids = Vec::new();
        for layer in &self.layers {
            std::fs::copy(self.directory.join(layer), place.join(layer))?;
            let mark = format!("variant-of-{layer}");
            std::fs::write(place.join(&mark), number.to_string())?;
            let mut command = Command::new("tar");
            command.arg("-r").arg("-f").arg(place.join(layer));
            command.arg("-C").arg(&place).arg(&mark);
            time(command)?;
            let bytes = std::fs::read(place.join(layer))?;
            diff_ids.push(format!("sha256:{}", sha256(&bytes)));
        }
        let name = format!("wharf.example/travel:{number}");
        let configuration = configuration(&self.layers, &diff_ids)?;
        let configuration_name = format!("{}.json", sha256(&configuration));
        std::fs::write(place.join(&configuration_name), configuration)?;
        let manifest =
            json!([{ "Config": configuration_name, "RepoTags": [name], "Layers": self.layers }]);
        std::fs::write(place.join("manifest.json"), serde_json::to_vec(&manifest)?)?;
        let archive = self.directory.join(format!("image-{number}.tar"));
        let mut command = Command::new("tar");
        command
            .arg("-c")
            .arg("-f")
            .arg(&archive)
            .arg("-C")
            .arg(&place);
        command
            .args(&self.layers)
            .args([configuration_name.as_str(), "manifest.json"]);
        time(command)?;
        std::fs::remove_dir_all(place)?;
        Ok(Variant { archive, name })
    }
}

fn configuration(layers: &[String], diff_ids: &[String]) -> Result<Vec<u8>> {
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
    Ok(serde_json::to_vec(&configuration)?)
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
