//! Containers of the runtime's command line: a bundle of busybox, its configuration open for
//! changes, and everything gone after the test.

use std::fs::{self, File};
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};
use wharf_tests_system::{Ran, binary, command, needs};

/// Programs of busybox that the containers' scripts call.
const APPLETS: &[&str] = &[
    "[", "cat", "chmod", "chrt", "cut", "echo", "env", "false", "free", "grep", "head", "hostname",
    "id", "ionice", "ip", "kill", "ln", "ls", "mkdir", "mount", "mv", "ps", "pwd", "readlink",
    "rm", "sed", "sh", "sleep", "sort", "stat", "stty", "tail", "test", "touch", "tr", "true",
    "tty", "umount", "uname", "unshare", "uptime", "wc",
];

/// A bundle and the container made of it.
pub struct Bundle {
    /// Its directory.
    pub directory: PathBuf,
    /// Its configuration; written when a container is made.
    pub spec: Value,
    /// The container's id.
    pub id: String,
}

impl Bundle {
    /// A container that runs a script.
    #[must_use]
    pub fn new(script: &str) -> Self {
        assert!(needs::met(&["busybox"]), "containers are made of busybox");
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let id = format!("wt-runtime-{}-{next}", std::process::id());
        let directory = std::env::temp_dir().join(&id);
        let rootfs = directory.join("rootfs");
        for path in ["bin", "dev", "etc", "proc", "sys", "tmp", "root"] {
            fs::create_dir_all(rootfs.join(path)).unwrap();
        }
        fs::copy(
            needs::program("busybox").unwrap(),
            rootfs.join("bin/busybox"),
        )
        .unwrap();
        for applet in APPLETS {
            symlink("busybox", rootfs.join("bin").join(applet)).unwrap();
        }
        fs::write(
            rootfs.join("etc/passwd"),
            "root:x:0:0::/root:/bin/sh\nme:x:1000:1000::/home/me:/bin/sh\n",
        )
        .unwrap();
        let mut bundle = Self {
            directory,
            spec: Value::Null,
            id,
        };
        bundle
            .runtime(&["spec", "--bundle", bundle.path("")])
            .succeeded();
        let text = fs::read(bundle.directory.join("config.json")).unwrap();
        bundle.spec = serde_json::from_slice(&text).unwrap();
        bundle.spec["process"]["terminal"] = json!(false);
        bundle.spec["linux"]["cgroupsPath"] = json!(format!("/{}", bundle.id));
        bundle.script(script);
        bundle
    }

    /// Sets the script.
    pub fn script(&mut self, script: &str) {
        self.spec["process"]["args"] = json!(["sh", "-c", script]);
    }

    /// Adds a mount.
    pub fn mount(&mut self, kind: &str, source: &str, destination: &str, options: &[&str]) {
        let mount = json!({
            "destination": destination,
            "type": kind,
            "source": source,
            "options": options,
        });
        self.spec["mounts"].as_array_mut().unwrap().push(mount);
    }

    /// Adds a namespace, or has one joined.
    pub fn namespace(&mut self, kind: &str, path: Option<&str>) {
        let namespaces = self.spec["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.retain(|namespace| namespace["type"] != kind);
        let mut namespace = json!({ "type": kind });
        if let Some(path) = path {
            namespace["path"] = json!(path);
        }
        namespaces.push(namespace);
    }

    /// Gives the container a user namespace with ids from 100000 on.
    pub fn map_users(&mut self) {
        self.namespace("user", None);
        let mapping = json!([{ "containerID": 0, "hostID": 100_000, "size": 65_536 }]);
        self.spec["linux"]["uidMappings"] = mapping.clone();
        self.spec["linux"]["gidMappings"] = mapping;
        self.spec["root"]["readonly"] = json!(true);
    }

    /// Gives the process capabilities, in all sets but the ambient and the inheritable one.
    pub fn capabilities(&mut self, names: &[&str]) {
        self.spec["process"]["capabilities"] =
            json!({ "bounding": names, "effective": names, "permitted": names });
    }

    /// A path below the bundle's directory, as text.
    #[must_use]
    pub fn path(&self, name: &str) -> &'static str {
        // Leaked: a test makes a handful of them.
        let path = if name.is_empty() {
            self.directory.clone()
        } else {
            self.directory.join(name)
        };
        Box::leak(
            path.into_os_string()
                .into_string()
                .unwrap()
                .into_boxed_str(),
        )
    }

    /// A file of the root file system, as seen from outside.
    #[must_use]
    pub fn rootfs(&self, name: &str) -> PathBuf {
        self.directory.join("rootfs").join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary::wharf());
        command
            .arg("runtime")
            .arg("--root")
            .arg(self.directory.join("state"))
            .args(arguments);
        command
    }

    /// Runs the runtime.
    #[must_use]
    pub fn runtime(&self, arguments: &[&str]) -> Ran {
        command::run(self.command(arguments), b"")
    }

    /// Writes the configuration.
    pub fn write(&self) {
        let text = serde_json::to_vec_pretty(&self.spec).unwrap();
        fs::write(self.directory.join("config.json"), text).unwrap();
    }

    /// `run`, to the container's end.
    #[must_use]
    pub fn run(&self) -> Ran {
        self.run_with(&[])
    }

    /// `run` with options.
    #[must_use]
    pub fn run_with(&self, options: &[&str]) -> Ran {
        self.write();
        let mut arguments = vec!["run", "--bundle", self.path("")];
        arguments.extend(options);
        arguments.push(&self.id);
        self.runtime(&arguments)
    }

    /// Runs the runtime with the container's output in the file `output`, where a pipe would have to be
    /// waited for.
    #[must_use]
    pub fn in_background(&self, arguments: &[&str]) -> i32 {
        let mut options = File::options();
        let output = options
            .create(true)
            .append(true)
            .mode(0o600)
            .open(self.path("output"))
            .unwrap();
        let mut command = self.command(arguments);
        command
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output);
        command.status().unwrap().code().unwrap()
    }

    /// What the container and the runtime have written in the background.
    #[must_use]
    pub fn output(&self) -> String {
        fs::read_to_string(self.path("output")).unwrap()
    }

    /// `create`.
    pub fn create(&self) {
        self.write();
        let code = self.in_background(&["create", "--bundle", self.path(""), &self.id]);
        assert_eq!(code, 0, "{}", self.output());
    }

    /// `create` and `start`; returns the first process's id.
    #[must_use]
    pub fn start(&self) -> i32 {
        self.create();
        self.runtime(&["start", &self.id]).succeeded();
        self.pid()
    }

    /// The state document.
    #[must_use]
    pub fn state(&self) -> Value {
        serde_json::from_str(self.runtime(&["state", &self.id]).out()).unwrap()
    }

    /// The first process's id.
    #[must_use]
    pub fn pid(&self) -> i32 {
        i32::try_from(self.state()["pid"].as_i64().unwrap()).unwrap()
    }

    /// `exec` of a script.
    #[must_use]
    pub fn exec(&self, options: &[&str], script: &str) -> Ran {
        let mut arguments = vec!["exec"];
        arguments.extend(options);
        arguments.extend([&*self.id, "sh", "-c", script]);
        self.runtime(&arguments)
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        let deleted = self.runtime(&["delete", "--force", &self.id]);
        let removed = fs::remove_dir_all(&self.directory);
        if !std::thread::panicking() {
            deleted.succeeded();
            removed.unwrap();
            assert_no_cgroup(&self.id);
        }
    }
}

/// Asserts that the container has left no cgroup.
fn assert_no_cgroup(id: &str) {
    let hierarchies = wharf_cgroup::Hierarchies::detect().unwrap();
    for controller in ["cpu", "memory", "pids", "devices", "freezer"] {
        if let Some(directory) = hierarchies.dir(controller, Path::new(id)) {
            assert!(!directory.exists(), "{} is left", directory.display());
        }
    }
}
