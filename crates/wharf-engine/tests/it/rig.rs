//! An engine of its own for each test: roots in a temporary directory, a bridge and cgroups by its own name.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use wharf_engine::{Attachment, Config, Engine, Error, ImportRequest};
use wharf_wire as wire;
use wharf_wire::stdcopy::{Decoder, Stream};

/// Longest wait for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// An engine that belongs to one test.
pub(crate) struct Rig {
    pub(crate) engine: Engine,
    pub(crate) config: Config,
    _network: Network,
    _directory: TempDir,
}

impl Rig {
    /// Opens an engine with the image `busybox`. `None`: the machine lacks what it needs, and that is reported.
    pub(crate) async fn open() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            assert!(
                std::env::var_os("WHARF_TEST_ALLOW_MISSING").is_some_and(|value| value == "1"),
                "this test needs: root"
            );
            return None;
        }
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "we{}x{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let directory = tempfile::Builder::new()
            .prefix("wt-engine-")
            .tempdir()
            .unwrap();
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
        let config = Config {
            data_root: directory.path().join("data"),
            exec_root: directory.path().join("exec"),
            bridge: name.clone(),
            cgroup_parent: Path::new("/").join(&name),
            program: env!("CARGO_BIN_EXE_wharf-engine-hats").into(),
            ..Config::default()
        };
        let engine = open(&config).await;
        let rig = Self {
            engine,
            config,
            _network: Network(name),
            _directory: directory,
        };
        rig.import_busybox().await;
        Some(rig)
    }

    async fn import_busybox(&self) {
        let engine = self.engine.clone();
        let import = move || {
            let request = ImportRequest {
                repo: "busybox".into(),
                changes: vec![r#"CMD ["sh"]"#.into()],
                ..Default::default()
            };
            engine.image_import(&busybox()[..], &request, |_| {})
        };
        tokio::task::spawn_blocking(import).await.unwrap().unwrap();
    }

    /// Lets the engine go and opens another on the same roots.
    pub(crate) async fn reopen(self) -> Self {
        self.engine.shutdown().await;
        drop(self.engine);
        let engine = open(&self.config).await;
        Self { engine, ..self }
    }

    /// Makes a container without network; `change` sets what is special.
    pub(crate) async fn create(
        &self,
        command: &[&str],
        change: impl FnOnce(&mut wire::ContainerCreateBody),
    ) -> Result<String, Error> {
        let mut body = wire::ContainerCreateBody::default();
        body.config.image = "busybox".into();
        body.config.cmd = Some(
            command
                .iter()
                .map(|&word| word.to_owned())
                .collect::<Vec<_>>()
                .into(),
        );
        body.host_config.network_mode = "none".into();
        change(&mut body);
        Ok(self
            .engine
            .create(&wharf_wire::CreateQuery::default(), body, None)
            .await?
            .id)
    }

    /// Makes and starts a container.
    pub(crate) async fn run(&self, command: &[&str]) -> String {
        let id = self.create(command, |_| {}).await.unwrap();
        self.engine.start(&id).await.unwrap();
        id
    }

    /// Waits for a container's end and returns its exit code.
    pub(crate) async fn ended(&self, name: &str) -> i64 {
        let waiting = self
            .engine
            .wait(name, wire::WaitCondition::NotRunning)
            .unwrap();
        tokio::time::timeout(PATIENCE, waiting)
            .await
            .expect("the container ends")
            .status_code
    }

    /// Returns what a container's log has of its two outputs.
    pub(crate) async fn logs(&self, name: &str) -> [String; 2] {
        let query = wire::LogsQuery {
            stdout: true,
            stderr: true,
            ..Default::default()
        };
        let mut log = self.engine.logs(name, &query).unwrap();
        let mut bytes = Vec::new();
        while let Some(piece) = log.next().await {
            bytes.extend_from_slice(&piece.unwrap());
        }
        unframed(&bytes)
    }

    pub(crate) fn state(&self, name: &str) -> wire::ContainerState {
        self.engine.inspect(name, false).unwrap().state
    }

    /// Runs a process in a container to its end; returns its outputs and exit code.
    pub(crate) async fn exec(&self, name: &str, command: &[&str]) -> ([String; 2], Option<i32>) {
        let body = wire::ExecCreateBody {
            cmd: Some(
                command
                    .iter()
                    .map(|&word| word.to_owned())
                    .collect::<Vec<_>>()
                    .into(),
            ),
            attach_stdout: true,
            attach_stderr: true,
            ..Default::default()
        };
        let id = self.engine.exec_create(name, body).await.unwrap().id;
        let attached = self
            .engine
            .exec_start(&id, &wire::ExecStartBody::default())
            .await
            .unwrap();
        let said = unframed(&rest(attached.expect("not detached")).await);
        until("the end of the exec is known", || {
            !self.engine.exec_inspect(&id).unwrap().running
        })
        .await;
        (said, self.engine.exec_inspect(&id).unwrap().exit_code)
    }

    /// Removes everything, and checks that the engine accounts for every byte then.
    pub(crate) async fn finish(self) {
        let all = wire::ListQuery {
            all: true,
            ..Default::default()
        };
        for container in self.engine.list(&all).unwrap() {
            let query = wire::RemoveQuery {
                force: true,
                volumes: true,
                link: false,
            };
            self.engine.remove(&container.id, query).await.unwrap();
        }
        let engine = self.engine.clone();
        let report = tokio::task::spawn_blocking(move || engine.verify())
            .await
            .unwrap()
            .unwrap();
        assert_eq!((report.unaccounted, report.problems), (vec![], vec![]));
        self.engine.shutdown().await;
        drop(self.engine);
        let cgroups = find_cgroups(&self.config.cgroup_parent);
        assert_eq!(cgroups, Vec::<String>::new(), "cgroups left behind");
    }
}

async fn open(config: &Config) -> Engine {
    let config = config.clone();
    tokio::task::block_in_place(|| Engine::open(config)).unwrap()
}

/// Cgroups of containers below the parent, in whatever hierarchies there are.
fn find_cgroups(parent: &Path) -> Vec<String> {
    let name = parent.strip_prefix("/").unwrap();
    let roots = std::fs::read_dir("/sys/fs/cgroup")
        .unwrap()
        .map(|entry| entry.unwrap().path().join(name));
    let groups = roots
        .filter_map(|root| std::fs::read_dir(root).ok())
        .flatten()
        .map(|entry| entry.unwrap());
    groups
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.path().display().to_string())
        .collect()
}

/// A bridge, its table and the parent of the cgroups are meant to outlive their engine; a test's are not, however it
/// ends.
struct Network(String);

impl Drop for Network {
    fn drop(&mut self) {
        let Self(bridge) = self;
        let table = format!("wharf-{bridge}");
        for (program, arguments) in [
            ("ip", vec!["link", "delete", bridge.as_str()]),
            ("nft", vec!["delete", "table", "inet", table.as_str()]),
        ] {
            // A test may have failed before there were any.
            std::process::Command::new(program)
                .args(arguments)
                .output()
                .ok();
        }
        let hierarchies = std::fs::read_dir("/sys/fs/cgroup")
            .into_iter()
            .flatten()
            .flatten();
        for hierarchy in hierarchies {
            std::fs::remove_dir(hierarchy.path().join(bridge.as_str())).ok();
        }
    }
}

/// Waits until `probe` is true.
pub(crate) async fn until(what: &str, mut probe: impl FnMut() -> bool) {
    let waiting = async {
        while !probe() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting)
        .await
        .unwrap_or_else(|_| panic!("waited in vain: {what}"));
}

/// Reads an attachment to its end.
pub(crate) async fn rest(mut attachment: Attachment) -> Vec<u8> {
    let mut bytes = Vec::new();
    let reading = attachment.socket.read_to_end(&mut bytes);
    tokio::time::timeout(PATIENCE, reading)
        .await
        .expect("the stream ends")
        .unwrap();
    bytes
}

/// Takes a framed stream apart into its two outputs.
pub(crate) fn unframed(mut bytes: &[u8]) -> [String; 2] {
    let mut decoder = Decoder::new();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    while let Some((stream, piece)) = decoder.next(&mut bytes).unwrap() {
        match stream {
            Stream::Stdout => out.extend_from_slice(piece),
            Stream::Stderr => err.extend_from_slice(piece),
            other => panic!("{other:?}: {}", String::from_utf8_lossy(piece)),
        }
    }
    assert!(decoder.at_boundary());
    [out, err].map(|bytes| String::from_utf8(bytes).unwrap())
}

/// A root file system of busybox and nothing else.
fn busybox() -> Vec<u8> {
    let program = std::fs::read("/bin/busybox").expect("busybox-static is installed");
    let mut archive = tar::Builder::new(Vec::new());
    let mut add =
        |name: &str, kind: tar::EntryType, mode: u32, link: Option<&str>, content: &[u8]| {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(kind);
            header.set_mode(mode);
            header.set_size(content.len() as u64);
            if let Some(link) = link {
                header.set_link_name(link).unwrap();
            }
            archive.append_data(&mut header, name, content).unwrap();
        };
    for name in ["bin", "etc", "tmp", "proc", "dev", "sys"] {
        add(
            name,
            tar::EntryType::Directory,
            if name == "tmp" { 0o1777 } else { 0o755 },
            None,
            b"",
        );
    }
    add(
        "bin/busybox",
        tar::EntryType::Regular,
        0o755,
        None,
        &program,
    );
    for name in [
        "sh", "cat", "echo", "sleep", "true", "false", "ls", "id", "env", "touch", "ps",
        "hostname", "stty", "test",
    ] {
        add(
            &format!("bin/{name}"),
            tar::EntryType::Symlink,
            0o777,
            Some("busybox"),
            b"",
        );
    }
    add(
        "etc/passwd",
        tar::EntryType::Regular,
        0o644,
        None,
        b"root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/tmp:/bin/sh\n",
    );
    add(
        "etc/group",
        tar::EntryType::Regular,
        0o644,
        None,
        b"root:x:0:\nuser:x:1000:\nextra:x:2000:user\n",
    );
    archive.into_inner().unwrap()
}
