//! A private engine.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::api::{self, Answer};
use crate::census::{self, Marks};
use crate::command::{self, Client, Ran};
use crate::needs::program;
use crate::slot::Slot;
use crate::{binary, image, wait};

/// How long an engine may take to end when asked to.
const GRACE: Duration = Duration::from_secs(15);

/// An engine that belongs to one test.
#[derive(Debug)]
pub struct Engine {
    slot: Slot,
    directory: PathBuf,
    process: Option<Child>,
    /// The program of Docker's that is run instead of ours.
    dockerd: Option<PathBuf>,
    environment: Vec<(String, String)>,
    arguments: Vec<String>,
    /// Files of the host that the engine sees others in place of.
    replaced: Vec<(&'static str, PathBuf)>,
    /// What the containers were called, for the census after they are gone.
    containers: Vec<String>,
}

impl Engine {
    /// Starts an engine with an empty data root.
    ///
    /// # Panics
    /// Panics when it does not answer in time.
    #[must_use]
    pub fn start() -> Self {
        let mut engine = Self::prepare();
        engine.launch();
        engine
    }

    /// Starts an engine that has the image `busybox`.
    ///
    /// # Panics
    /// As [`Self::start`].
    #[must_use]
    pub fn with_busybox() -> Self {
        let engine = Self::start();
        engine.import(&image::busybox(), "busybox");
        engine
    }

    /// Starts dockerd with the image `busybox`, for what is to be the same with it.
    ///
    /// # Panics
    /// As [`Self::start`].
    #[must_use]
    pub fn dockerd_with_busybox() -> Self {
        let mut engine = Self::prepare();
        engine.dockerd = program("dockerd");
        assert!(engine.dockerd.is_some(), "dockerd is installed");
        engine.launch();
        engine.import(&image::busybox(), "busybox");
        engine
    }

    /// Makes the directories and names of an engine that does not run yet.
    ///
    /// # Panics
    /// Panics when the temporary directory is not writable.
    #[must_use]
    pub fn prepare() -> Self {
        let slot = Slot::take();
        let name = format!("wt-system-{}-{}", std::process::id(), slot.bridge());
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&directory).expect("the temporary directory is writable");
        Self {
            slot,
            directory,
            process: None,
            dockerd: binary::reference(),
            environment: Vec::new(),
            arguments: Vec::new(),
            replaced: Vec::new(),
            containers: Vec::new(),
        }
    }

    /// Sets a variable of the engine's environment from its next start on.
    pub fn set(&mut self, name: &str, value: &str) {
        self.environment.retain(|(known, _)| known != name);
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Removes a variable of the engine's environment from its next start on.
    pub fn unset(&mut self, name: &str) {
        self.environment.retain(|(known, _)| known != name);
    }

    /// Adds an argument from the next start on.
    pub fn argument(&mut self, argument: &str) {
        self.arguments.push(argument.to_owned());
    }

    /// Has the engine, from its next start on, see a file of the host with another content. Nobody
    /// else sees it.
    ///
    /// # Panics
    /// Panics when the directory is not writable.
    pub fn replace(&mut self, file: &'static str, content: &str) {
        let own = self.directory.join(file.replace('/', "-"));
        std::fs::write(&own, content).expect("the directory is ours");
        self.replaced.retain(|(known, _)| *known != file);
        self.replaced.push((file, own));
    }

    /// The program to run: the engine itself, or what puts it into a mount namespace of its own.
    fn command(&self, program: &Path) -> Command {
        if self.replaced.is_empty() {
            return Command::new(program);
        }
        let mut script = String::new();
        for (file, own) in &self.replaced {
            script.push_str(&format!("mount --bind {} {file} && ", own.display()));
        }
        script.push_str("exec \"$@\"");
        let mut command = Command::new("unshare");
        command
            .args([
                "--mount",
                "--propagation",
                "slave",
                "sh",
                "-c",
                &script,
                "sh",
            ])
            .arg(program);
        command
    }

    /// Starts the engine's process and waits for its first answer.
    ///
    /// # Panics
    /// Panics, with the engine's log, when it ends or does not answer in time.
    pub fn launch(&mut self) {
        self.spawn();
        wait::until_true("the engine's first answer", || {
            assert!(self.runs(), "the engine ended:\n{}", self.log());
            self.answers()
        });
    }

    /// Starts the engine's process without waiting.
    ///
    /// # Panics
    /// Panics when it cannot be started.
    pub fn spawn(&mut self) {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.directory.join("log"))
            .expect("the directory is ours");
        let mut command = match &self.dockerd {
            Some(dockerd) => self.command(dockerd),
            None => self.command(&binary::wharf()),
        };
        if self.dockerd.is_some() {
            self.make_bridge();
            command.args(["--iptables=false", "--ip-masq=false", "--live-restore"]);
        } else {
            command
                .arg("daemon")
                .args(["--bip", &self.slot.bridge_address()]);
        }
        command
            .arg("--data-root")
            .arg(self.data_root())
            .arg("--exec-root")
            .arg(self.directory.join("exec"))
            .arg("--pidfile")
            .arg(self.directory.join("pid"))
            .arg("--host")
            .arg(self.host())
            .args(["--bridge", &self.slot.bridge()])
            .args(["--cgroup-parent", &format!("/{}", self.slot.bridge())])
            .args(["--log-level", "debug"])
            .args(&self.arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(std::process::Stdio::null())
            .stdout(log.try_clone().expect("file descriptors are left"))
            .stderr(log);
        self.process = Some(command.spawn().expect("the binary can be executed"));
    }

    /// dockerd takes a bridge that is there.
    fn make_bridge(&self) {
        let (bridge, address) = (self.slot.bridge(), self.slot.bridge_address());
        for arguments in [
            &["link", "add", &bridge, "type", "bridge"][..],
            &["address", "replace", &address, "dev", &bridge],
            &["link", "set", &bridge, "up"],
        ] {
            // It is there already at a second start.
            Command::new("ip").args(arguments).output().ok();
        }
    }

    /// The engine's address, as `-H` takes it.
    #[must_use]
    pub fn host(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// The engine's socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.directory.join("sock")
    }

    /// Where the engine keeps its data.
    #[must_use]
    pub fn data_root(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// A directory for the test's own files, removed with the engine.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The name of the engine's bridge.
    #[must_use]
    pub fn bridge(&self) -> String {
        self.slot.bridge()
    }

    /// The engine's process id.
    ///
    /// # Panics
    /// Panics when it was never started.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.as_ref().expect("the engine was started").id()
    }

    fn runs(&mut self) -> bool {
        self.process
            .as_mut()
            .is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// Says whether the engine answers a ping.
    #[must_use]
    pub fn answers(&self) -> bool {
        self.request("GET", "/_ping", &[])
            .is_ok_and(|answer| answer.status == 200)
    }

    /// Sends a request with a JSON body.
    ///
    /// # Errors
    /// Returns the socket's error.
    pub fn request(&self, method: &str, path: &str, body: &[u8]) -> std::io::Result<Answer> {
        api::request(&self.socket(), method, path, "application/json", body)
    }

    /// The engine's log so far.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }

    /// A command of a client, not started yet.
    ///
    /// # Panics
    /// Panics when the docker client is not installed.
    #[must_use]
    pub fn client(&self, client: Client, arguments: &[&str]) -> Command {
        let program = match client {
            Client::Wharf if binary::reference().is_none() => binary::wharf(),
            Client::Wharf => program("docker").expect("the docker client is installed"),
            Client::Docker => program("docker").expect("the docker client is installed"),
        };
        let mut command = Command::new(program);
        command.arg("--host").arg(self.host()).args(arguments);
        // Neither a user's configuration nor another engine's address may leak in.
        for name in [
            "DOCKER_HOST",
            "WHARF_HOST",
            "DOCKER_CONTEXT",
            "WHARF_FAILPOINT",
        ] {
            command.env_remove(name);
        }
        command.env("DOCKER_CONFIG", self.directory.join("config"));
        command
    }

    /// Runs a client to its end.
    #[track_caller]
    pub fn run(&self, client: Client, arguments: &[&str]) -> Ran {
        command::run(self.client(client, arguments), &[])
    }

    /// Runs our own client to its end.
    #[track_caller]
    pub fn wharf(&self, arguments: &[&str]) -> Ran {
        self.run(Client::Wharf, arguments)
    }

    /// Runs our own client on a terminal of its own; what it printed is standard output.
    #[track_caller]
    pub fn on_terminal(&self, client: Client, arguments: &[&str], typed: &str) -> Ran {
        let inner = self.client(client, arguments);
        let mut line = shell_word(&inner.get_program().to_string_lossy());
        for argument in inner.get_args() {
            line.push(' ');
            line.push_str(&shell_word(&argument.to_string_lossy()));
        }
        let mut command = Command::new("script");
        command.args([
            "--quiet",
            "--return",
            "--echo",
            "never",
            "--command",
            &line,
            "/dev/null",
        ]);
        command.env("DOCKER_CONFIG", self.directory.join("config"));
        command
            .env_remove("DOCKER_HOST")
            .env_remove("WHARF_HOST")
            .env("TERM", "xterm");
        command::run(command, typed.as_bytes())
    }

    /// Imports an archive as an image that runs a shell.
    #[track_caller]
    pub fn import(&self, archive: &Path, name: &str) {
        let archive = archive.to_str().expect("the cache has a plain name");
        self.wharf(&["import", "--change", "CMD [\"sh\"]", archive, name])
            .succeeded();
    }

    /// Imports an archive from memory.
    #[track_caller]
    pub fn import_bytes(&self, archive: &[u8], name: &str, changes: &[&str]) -> Ran {
        let mut arguments = vec!["import"];
        for change in changes {
            arguments.extend(["--change", change]);
        }
        arguments.extend(["-", name]);
        command::run(self.client(Client::Wharf, &arguments), archive)
    }

    /// The value of a template over a container's or image's inspection.
    #[track_caller]
    #[must_use]
    pub fn inspect(&self, name: &str, template: &str) -> String {
        self.wharf(&["inspect", "--format", template, name])
            .out()
            .to_owned()
    }

    /// Kills the engine's process as a crash would.
    ///
    /// # Panics
    /// Panics when it does not run.
    pub fn kill(&mut self) {
        self.remember();
        let process = self.process.as_mut().expect("the engine was started");
        process.kill().expect("the engine was not reaped yet");
        process.wait().expect("the engine was not reaped yet");
    }

    /// Waits for the engine's process to end by itself, as at a fail point.
    ///
    /// # Panics
    /// Panics when it does not.
    pub fn ended(&mut self) {
        let process = self.process.as_mut().expect("the engine was started");
        assert!(
            command::wait(process, wait::PATIENCE).is_some(),
            "the engine still runs"
        );
    }

    /// Waits until the engine either answers or has ended; true when it has ended. An engine that
    /// aborts at a fail point may still be ending when its client has the error already.
    ///
    /// # Panics
    /// Panics when it does neither.
    pub fn settled_to_end(&mut self) -> bool {
        wait::until("an answer or the end of the engine", || {
            if self.answers() {
                Some(false)
            } else {
                (!self.runs()).then_some(true)
            }
        })
    }

    /// Asks the engine to end, and waits.
    ///
    /// # Panics
    /// Panics when it does not end well in time.
    pub fn stop(&mut self) {
        self.remember();
        let log = self.log();
        let process = self.process.as_mut().expect("the engine was started");
        kill_process(Pid::from_child(process), Signal::TERM).expect("the engine was not reaped");
        let status = command::wait(process, GRACE);
        let status = status.unwrap_or_else(|| panic!("not ended in {GRACE:?}:\n{log}"));
        assert!(
            status.success(),
            "the engine ended with {status}:\n{}",
            self.log()
        );
    }

    /// Notes the containers there are, to look for traces of them later.
    pub fn remember(&mut self) {
        let Ok(answer) = self.request("GET", "/containers/json?all=1", &[]) else {
            return;
        };
        if answer.status != 200 {
            return;
        }
        for container in answer.json().as_array().into_iter().flatten() {
            let id = container["Id"].as_str().unwrap_or_default().to_owned();
            if !id.is_empty() && !self.containers.contains(&id) {
                self.containers.push(id);
            }
        }
    }

    fn marks(&self) -> Marks {
        Marks {
            directory: self.directory.to_string_lossy().into_owned(),
            bridge: self.slot.bridge(),
            cgroup: self.slot.bridge(),
            containers: self.containers.clone(),
        }
    }

    /// Ends a test: removes every container, lets the engine account for its data root, stops it,
    /// and finds nothing left on the machine.
    ///
    /// # Panics
    /// Panics with what is left.
    pub fn finish(mut self) {
        self.remember();
        for id in self.containers.clone() {
            let removed = self.wharf(&["rm", "--force", &id]);
            assert!(
                removed.code == 0 || removed.stderr.contains("No such container"),
                "rm -f {id}: {}",
                removed.stderr
            );
        }
        if self.dockerd.is_some() {
            return self.stop();
        }
        self.wharf(&["system", "df", "--verify"]).succeeded();
        self.stop();
        let marks = self.marks();
        let mut left = Vec::new();
        let start = std::time::Instant::now();
        // The kernel takes network namespaces and cgroups away in its own time.
        while start.elapsed() < wait::PATIENCE {
            left = census::leftovers(&marks);
            if left.is_empty() {
                break;
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
        assert!(
            left.is_empty(),
            "left over:\n{}\n--- log\n{}",
            left.join("\n"),
            self.log()
        );
    }

    /// Removes what the engine made outside its directory, and the directory.
    fn clear(&mut self) {
        if self.runs() {
            self.remember();
        }
        if let Some(process) = &mut self.process {
            // Already dead is what it should be.
            process.kill().ok();
            process.wait().ok();
        }
        for (pid, _) in census::processes(&self.marks()) {
            if let Some(pid) = Pid::from_raw(pid) {
                kill_process(pid, Signal::KILL).ok();
            }
        }
        let bridge = self.slot.bridge();
        Command::new("ip")
            .args(["link", "delete", &bridge])
            .output()
            .ok();
        for family in ["ip", "inet", "ip6"] {
            let table = format!("wharf-{bridge}");
            Command::new("nft")
                .args(["delete", "table", family, &table])
                .output()
                .ok();
        }
        // The cgroup parent stays with the engine's name, as its bridge does; both are ours.
        for hierarchy in std::fs::read_dir("/sys/fs/cgroup")
            .into_iter()
            .flatten()
            .flatten()
        {
            std::fs::remove_dir(hierarchy.path().join(&bridge)).ok();
        }
        std::fs::remove_dir(Path::new("/sys/fs/cgroup").join(&bridge)).ok();
        // A mount left below would make the removal reach into it.
        let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let directory = self.directory.to_string_lossy();
        for target in table.lines().filter_map(|line| line.split(' ').nth(4)) {
            if target.starts_with(directory.as_ref()) {
                Command::new("umount")
                    .args(["--lazy", target])
                    .output()
                    .ok();
            }
        }
        std::fs::remove_dir_all(&self.directory).ok();
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            print_log(&self.log());
        }
        self.clear();
    }
}

#[expect(
    clippy::print_stderr,
    reason = "shown by the test runner for a failed test only"
)]
fn print_log(log: &str) {
    let lines: Vec<&str> = log.lines().collect();
    let tail = lines.len().saturating_sub(60);
    eprintln!(
        "--- the engine's log, its end\n{}",
        lines[tail..].join("\n")
    );
}

fn shell_word(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}
