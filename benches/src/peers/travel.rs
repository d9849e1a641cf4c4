//! How each peer is asked to move images.

use std::path::Path;
use std::process::Command;

use crate::peers::{Language, Peer};

/// What a peer is asked to do with an image; names are whole references.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Move<'a> {
    /// Take in an archive.
    Load(&'a Path),
    /// Write an image as an archive.
    Save(&'a str, &'a Path),
    Tag(&'a str, &'a str),
    /// Send an image that the peer has.
    Push(&'a str),
    /// Send an archive without having it.
    PushArchive(&'a Path, &'a str),
    Pull(&'a str),
    /// Remove a name, and the image when it was the last.
    Remove(&'a str),
}

impl Peer {
    /// The command that moves an image; `None` where the peer has no such thing.
    pub(crate) fn move_command(&self, what: Move<'_>) -> Option<Command> {
        let mut command = Command::new(&self.program);
        command.args(&self.global);
        match &self.language {
            Language::Docker { .. } => {
                // Podman alone asks loopback for TLS.
                let plain = (self.name == "podman").then_some("--tls-verify=false");
                match what {
                    Move::Load(archive) => command.args(["load", "--input"]).arg(archive),
                    Move::Save(name, to) => command.args(["save", "--output"]).arg(to).arg(name),
                    Move::Tag(from, to) => command.args(["tag", from, to]),
                    Move::Push(name) => command.arg("push").args(plain).arg(name),
                    Move::Pull(name) => command.arg("pull").args(plain).arg(name),
                    Move::Remove(name) => command.args(["rmi", name]),
                    Move::PushArchive(..) => return None,
                };
            }
            Language::Copy { layout } => {
                let layout = format!("oci:{}:image", layout.display());
                command.arg("copy");
                match what {
                    Move::PushArchive(archive, name) => command
                        .arg("--dest-tls-verify=false")
                        .arg(format!("docker-archive:{}", archive.display()))
                        .arg(format!("docker://{name}")),
                    Move::Pull(name) => command
                        .arg("--src-tls-verify=false")
                        .arg(format!("docker://{name}"))
                        .arg(layout),
                    _ => return None,
                };
            }
            Language::Oci { .. } => return None,
        }
        Some(command)
    }

    /// Says whether the peer moves images at all.
    pub(crate) fn moves_images(&self) -> bool {
        !matches!(self.language, Language::Oci { .. })
    }

    /// Removes what a pull left, where no command does.
    pub(crate) fn forget(&self) -> std::io::Result<()> {
        match &self.language {
            Language::Copy { layout } if layout.exists() => std::fs::remove_dir_all(layout),
            _ => Ok(()),
        }
    }
}
