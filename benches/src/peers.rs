//! The programs that are compared, each in directories of its own.

mod docker;
pub(crate) mod travel;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, ensure};
use wharf_tests_system::needs::program;
use wharf_tests_system::{Engine, binary, image};

use crate::options::Options;
use crate::peers::docker::Dockerd;
use crate::sample::time;

/// What a peer is asked to do.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Operation<'a> {
    /// Run `true` of busybox to its end and remove the container.
    RunTrue,
    /// The same with `echo` of Debian.
    RunEcho,
    /// Start a container that sleeps, named so.
    RunDetached(&'a str),
    Create(&'a str),
    Start(&'a str),
    ExecTrue(&'a str),
    Remove(&'a str),
    /// List all containers.
    List,
}

/// The engine behind a command line.
#[derive(Debug)]
enum Server {
    Wharf(Engine),
    Docker(Dockerd),
    None,
}

/// One program that runs containers.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    program: PathBuf,
    /// Before the subcommand.
    global: Vec<String>,
    language: Language,
    server: Server,
}

#[derive(Debug)]
enum Language {
    /// `run IMAGE`, with flags that this peer's `run` and `create` need.
    Docker {
        flags: Vec<String>,
        busybox: Vec<String>,
        debian: Vec<String>,
    },
    /// `run -b BUNDLE ID`.
    Oci { busybox: PathBuf, debian: PathBuf },
    /// `copy FROM TO`, with the directory that images are pulled into: they are not unpacked.
    Copy { layout: PathBuf },
}

impl Peer {
    /// The command for an operation; `None` where the peer has no such thing.
    pub(crate) fn command(&self, operation: Operation<'_>) -> Option<Command> {
        let mut command = Command::new(&self.program);
        command.args(&self.global);
        match &self.language {
            Language::Docker {
                flags,
                busybox,
                debian,
            } => {
                match operation {
                    Operation::RunTrue => command
                        .args(["run", "--rm"])
                        .args(flags)
                        .args(busybox)
                        .arg("true"),
                    Operation::RunEcho => command
                        .args(["run", "--rm"])
                        .args(flags)
                        .args(debian)
                        .args(["echo", "bonjour mondedie"]),
                    Operation::RunDetached(name) => command
                        .args(["run", "--detach", "--name", name])
                        .args(flags)
                        .args(busybox)
                        .args(["sleep", "1000000"]),
                    Operation::Create(name) => command
                        .args(["create", "--name", name])
                        .args(flags)
                        .args(busybox)
                        .args(["sleep", "1000000"]),
                    Operation::Start(name) => command.args(["start", name]),
                    Operation::ExecTrue(name) => command.args(["exec", name, "true"]),
                    // Podman's waits ten seconds for a program without a handler, Docker's kills.
                    Operation::Remove(name) if self.name == "podman" => {
                        command.args(["rm", "--force", "--time", "0", name])
                    }
                    Operation::Remove(name) => command.args(["rm", "--force", name]),
                    Operation::List => command.args(["ps", "--all"]),
                };
            }
            Language::Oci { busybox, debian } => {
                let bundle = match operation {
                    Operation::RunTrue => busybox,
                    Operation::RunEcho => debian,
                    _ => return None,
                };
                command
                    .arg("run")
                    .arg("--bundle")
                    .arg(bundle)
                    .arg(unique("bench"));
            }
            Language::Copy { .. } => return None,
        }
        Some(command)
    }

    /// The engine's process, for peers that have one that stays.
    pub(crate) fn engine_pid(&self) -> Option<u32> {
        match &self.server {
            Server::Wharf(engine) => Some(engine.pid()),
            Server::Docker(dockerd) => Some(dockerd.pid()),
            Server::None => None,
        }
    }

    /// What the command lines of the peer's own processes mention.
    pub(crate) fn directory(&self) -> Option<&Path> {
        match &self.server {
            Server::Wharf(engine) => Some(engine.directory()),
            Server::Docker(dockerd) => Some(dockerd.directory()),
            Server::None => None,
        }
    }

    /// Ends the engine, starts it again, and returns how long its first answer took.
    pub(crate) fn restart(&mut self) -> Result<Option<std::time::Duration>> {
        match &mut self.server {
            Server::Wharf(engine) => {
                engine.stop();
                let start = std::time::Instant::now();
                engine.launch();
                Ok(Some(start.elapsed()))
            }
            Server::Docker(dockerd) => dockerd.restart().map(Some),
            Server::None => Ok(None),
        }
    }
}

/// A name that was not used before.
pub(crate) fn unique(prefix: &str) -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    format!(
        "{prefix}-{}-{}",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    )
}

/// All peers that work here, and the root file systems they share.
#[derive(Debug)]
pub(crate) struct Peers {
    pub(crate) list: Vec<Peer>,
    directory: PathBuf,
}

impl Peers {
    pub(crate) fn start(options: &Options) -> Result<Self> {
        let directory = std::env::temp_dir().join(unique("wt-bench"));
        std::fs::create_dir_all(&directory)?;
        let mut peers = Self {
            list: Vec::new(),
            directory,
        };
        let roots = peers.unpack_roots()?;
        for name in [
            "wharf",
            "wharf-runtime",
            "docker",
            "podman",
            "runc",
            "crun",
            "skopeo",
        ] {
            if !options.wants_peer(name) {
                continue;
            }
            match peers.peer(name, &roots) {
                Ok(peer) => peers.list.push(peer),
                Err(error) => report(&format!("left out: {name}: {error:#}")),
            }
        }
        ensure!(!peers.list.is_empty(), "no peer works here");
        Ok(peers)
    }

    fn unpack_roots(&self) -> Result<Roots> {
        let unpack = |name: &str, archive: &Path| -> Result<PathBuf> {
            let root = self.directory.join(name);
            std::fs::create_dir(&root)?;
            let mut command = Command::new("tar");
            command
                .arg("-x")
                .arg("-f")
                .arg(archive)
                .arg("-C")
                .arg(&root);
            time(command)?;
            Ok(root)
        };
        Ok(Roots {
            busybox: unpack("busybox", &image::busybox())?,
            debian: unpack("debian", &image::debian())?,
        })
    }

    fn peer(&self, name: &'static str, roots: &Roots) -> Result<Peer> {
        let found = |name: &str| program(name).context("not installed");
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let with_images = |flags: &[&str]| Language::Docker {
            flags: words(flags),
            busybox: words(&["busybox"]),
            debian: words(&["debian"]),
        };
        let wharf = || binary::find().context("not built: cargo build -p wharf");
        let peer = match name {
            "wharf" => {
                let program = wharf()?;
                let engine = Engine::with_busybox();
                engine.import(&image::debian(), "debian");
                let global = vec!["--host".to_owned(), engine.host()];
                let server = Server::Wharf(engine);
                let language = with_images(&[]);
                Peer {
                    name,
                    program,
                    global,
                    language,
                    server,
                }
            }
            "docker" => {
                let dockerd = Dockerd::start(&self.directory, &found("dockerd")?)?;
                let program = found("docker")?;
                let global = vec!["--host".to_owned(), dockerd.host()];
                dockerd.import(&program, &image::busybox(), "busybox")?;
                dockerd.import(&program, &image::debian(), "debian")?;
                let server = Server::Docker(dockerd);
                Peer {
                    name,
                    program,
                    global,
                    language: with_images(&[]),
                    server,
                }
            }
            "podman" => self.podman(name, found("podman")?, roots)?,
            "skopeo" => {
                let layout = self.directory.join("skopeo");
                return Ok(Peer {
                    name,
                    program: found(name)?,
                    global: Vec::new(),
                    language: Language::Copy { layout },
                    server: Server::None,
                });
            }
            "wharf-runtime" => {
                let global = vec!["runtime".to_owned()];
                self.runtime(name, wharf()?, global, roots)?
            }
            _ => self.runtime(name, found(name)?, Vec::new(), roots)?,
        };
        let probe = peer.command(Operation::RunTrue).context("cannot run")?;
        time(probe)?;
        Ok(peer)
    }

    /// Podman with the root file system in place and without a network of its own: its bridge
    /// would need rules in the host's tables.
    fn podman(&self, name: &'static str, program: PathBuf, roots: &Roots) -> Result<Peer> {
        let path = |part: &str| self.directory.join(part).to_string_lossy().into_owned();
        let mut global = vec!["--root".to_owned(), path("podman"), "--runroot".to_owned()];
        global.push(path("podman-run"));
        // crun refuses to work with controllers in a hybrid hierarchy.
        if wharf_tests_system::needs::program("runc").is_some() {
            global.extend(["--runtime".to_owned(), "runc".to_owned()]);
        }
        let flags = [
            "--network",
            "none",
            "--ulimit",
            "nofile=1024:1024",
            "--ulimit",
        ];
        let mut flags: Vec<String> = flags.iter().map(|word| (*word).to_owned()).collect();
        flags.push("nproc=1000:1000".to_owned());
        let rootfs = |root: &Path| vec!["--rootfs".to_owned(), root.display().to_string()];
        let language = Language::Docker {
            flags,
            busybox: rootfs(&roots.busybox),
            debian: rootfs(&roots.debian),
        };
        Ok(Peer {
            name,
            program,
            global,
            language,
            server: Server::None,
        })
    }

    fn runtime(
        &self,
        name: &'static str,
        program: PathBuf,
        global: Vec<String>,
        roots: &Roots,
    ) -> Result<Peer> {
        let bundle = |part: &str, root: &Path, arguments: &[&str]| -> Result<PathBuf> {
            let bundle = self.directory.join(format!("{name}-{part}"));
            std::fs::create_dir(&bundle)?;
            let mut command = Command::new(&program);
            command.args(&global).arg("spec").current_dir(&bundle);
            time(command)?;
            let path = bundle.join("config.json");
            let mut spec: serde_json::Value = serde_json::from_slice(&std::fs::read(&path)?)?;
            spec["process"]["terminal"] = false.into();
            spec["process"]["args"] = arguments.into();
            // runc asks for more files than a machine with a lower hard limit may grant.
            if let Some(process) = spec["process"].as_object_mut() {
                process.remove("rlimits");
            }
            spec["root"]["path"] = root.to_string_lossy().into_owned().into();
            std::fs::write(&path, serde_json::to_vec(&spec)?)?;
            Ok(bundle)
        };
        let busybox = bundle("busybox", &roots.busybox, &["true"])?;
        let debian = bundle("debian", &roots.debian, &["echo", "bonjour mondedie"])?;
        let language = Language::Oci { busybox, debian };
        Ok(Peer {
            name,
            program,
            global,
            language,
            server: Server::None,
        })
    }
}

impl Drop for Peers {
    fn drop(&mut self) {
        // Engines first: they still write under the directory.
        self.list.clear();
        if let Err(error) = std::fs::remove_dir_all(&self.directory) {
            report(&format!("{}: {error}", self.directory.display()));
        }
    }
}

#[derive(Debug)]
struct Roots {
    busybox: PathBuf,
    debian: PathBuf,
}

#[expect(clippy::print_stderr, reason = "talk beside the table")]
pub(crate) fn report(message: &str) {
    eprintln!("{message}");
}
