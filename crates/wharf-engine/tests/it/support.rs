//! An engine of its own for each test: roots, bridge, cgroup parent, and an image of busybox.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use futures_util::StreamExt as _;
use wharf_engine::{Config, Engine, ImportRequest};
use wharf_wire as wire;

/// Applets the tests use.
const APPLETS: [&str; 16] = [
    "sh", "true", "false", "echo", "cat", "sleep", "ls", "id", "env", "head", "yes", "kill",
    "touch", "mkdir", "ps", "trap",
];

/// Roots of one test's engines.
#[derive(Debug)]
pub(crate) struct House {
    pub(crate) config: Config,
    dir: tempfile::TempDir,
}

impl House {
    pub(crate) fn new() -> Self {
        assert!(
            rustix::process::geteuid().is_root(),
            "engines on the real kernel need root"
        );
        let dir = tempfile::Builder::new()
            .prefix("wt-engine-")
            .tempdir()
            .unwrap();
        let number = std::process::id();
        let config = Config {
            data_root: dir.path().join("data"),
            exec_root: dir.path().join("exec"),
            bridge: format!("wt{number}"),
            cgroup_parent: PathBuf::from(format!("/wt-engine-{number}")),
            program: PathBuf::from(env!("CARGO_BIN_EXE_wharf-engine-hats")),
            ..Config::default()
        };
        Self { config, dir }
    }

    pub(crate) fn open(&self) -> Engine {
        Engine::open(self.config.clone()).expect("the engine opens")
    }

    /// An engine with the image `busybox`.
    pub(crate) async fn open_with_image(&self) -> Engine {
        let engine = self.open();
        let archive = self.busybox();
        let import = engine.clone();
        tokio::task::spawn_blocking(move || {
            let request = ImportRequest {
                repo: "busybox".to_owned(),
                ..ImportRequest::default()
            };
            import
                .image_import(fs::File::open(archive).unwrap(), &request, |_| {})
                .unwrap();
        })
        .await
        .unwrap();
        engine
    }

    fn busybox(&self) -> PathBuf {
        let root = self.dir.path().join("rootfs");
        for name in ["bin", "etc", "tmp", "root", "proc", "sys", "dev"] {
            fs::create_dir_all(root.join(name)).unwrap();
        }
        fs::copy("/bin/busybox", root.join("bin/busybox")).expect("busybox-static is installed");
        for applet in APPLETS {
            symlink("busybox", root.join("bin").join(applet)).unwrap();
        }
        fs::write(
            root.join("etc/passwd"),
            "root:x:0:0:root:/root:/bin/sh\nweb:x:33:33::/tmp:/bin/sh\n",
        )
        .unwrap();
        fs::write(
            root.join("etc/group"),
            "root:x:0:\nweb:x:33:\nlog:x:4:web\n",
        )
        .unwrap();
        let archive = self.dir.path().join("busybox.tar");
        let made = Command::new("tar")
            .arg("-C")
            .arg(&root)
            .arg("-cf")
            .arg(&archive)
            .arg(".")
            .status();
        assert!(made.unwrap().success());
        archive
    }
}

impl Drop for House {
    fn drop(&mut self) {
        // Whatever a failed test has left; the engine's threads may be ending still.
        for hierarchy in fs::read_dir("/sys/fs/cgroup")
            .into_iter()
            .flatten()
            .flatten()
        {
            remove_groups(
                &hierarchy
                    .path()
                    .join(self.config.cgroup_parent.strip_prefix("/").unwrap()),
            );
        }
        drop(
            Command::new("ip")
                .args(["link", "delete", &self.config.bridge])
                .output(),
        );
        let table = format!("wharf-{}", self.config.bridge);
        drop(
            Command::new("nft")
                .args(["delete", "table", "ip", &table])
                .output(),
        );
    }
}

fn remove_groups(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            let tasks = fs::read_to_string(entry.path().join("tasks")).unwrap_or_default();
            for pid in tasks
                .lines()
                .filter_map(|pid| rustix::process::Pid::from_raw(pid.parse().ok()?))
            {
                rustix::process::kill_process(pid, rustix::process::Signal::KILL).ok();
            }
            drop(fs::remove_dir(entry.path()));
        }
    }
    drop(fs::remove_dir(parent));
}

/// The body of a container of busybox.
pub(crate) fn body(command: &[&str]) -> wire::ContainerCreateBody {
    wire::ContainerCreateBody {
        config: wire::ContainerConfig {
            image: "busybox".to_owned(),
            cmd: Some(
                command
                    .iter()
                    .map(|word| (*word).to_owned())
                    .collect::<Vec<_>>()
                    .into(),
            ),
            ..wire::ContainerConfig::default()
        },
        ..wire::ContainerCreateBody::default()
    }
}

/// Creates and starts a container, and returns its id.
pub(crate) async fn run(engine: &Engine, body: wire::ContainerCreateBody) -> String {
    let created = engine.create(None, body).await.expect("create");
    engine.start(&created.id).await.expect("start");
    created.id
}

/// Waits for a container's end and returns its exit code.
pub(crate) async fn wait(engine: &Engine, name: &str) -> i64 {
    let ended = engine
        .wait(name, wire::WaitCondition::NotRunning)
        .expect("wait");
    let ended = tokio::time::timeout(std::time::Duration::from_secs(20), ended).await;
    ended.expect("the container ends").status_code
}

/// Returns a container's whole output: standard output and standard error.
pub(crate) async fn output(engine: &Engine, name: &str) -> (String, String) {
    let query = wire::LogsQuery {
        stdout: true,
        stderr: true,
        follow: true,
        ..wire::LogsQuery::default()
    };
    let mut stream = engine.logs(name, &query).expect("logs");
    let mut bytes = Vec::new();
    while let Some(chunk) = stream.next().await {
        bytes.extend_from_slice(&chunk.expect("chunk"));
    }
    split(&bytes)
}

/// Takes framed output apart.
pub(crate) fn split(mut bytes: &[u8]) -> (String, String) {
    let mut out = [Vec::new(), Vec::new()];
    while let Some((header, rest)) = bytes.split_first_chunk::<8>() {
        let [stream, _, _, _, a, b, c, d] = *header;
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        out[usize::from(stream) - 1].extend_from_slice(&rest[..length]);
        bytes = &rest[length..];
    }
    let [stdout, stderr] = out.map(|bytes| String::from_utf8(bytes).unwrap());
    (stdout, stderr)
}
