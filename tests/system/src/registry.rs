//! A private registry: `wharf registry serve` on a port of its own.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::slot::Slot;
use crate::{binary, wait};

/// A registry that belongs to one test; its directory goes with it.
#[derive(Debug)]
pub struct Registry {
    /// Keeps the directory's name from others.
    _slot: Slot,
    directory: PathBuf,
    process: Option<Child>,
}

impl Registry {
    /// Makes the directory of a registry that does not run yet.
    ///
    /// # Panics
    /// Panics when the temporary directory is not writable.
    #[must_use]
    pub fn prepare() -> Self {
        let slot = Slot::take();
        let name = format!("wt-registry-{}-{}", std::process::id(), slot.bridge());
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&directory).expect("the temporary directory is writable");
        Self {
            _slot: slot,
            directory,
            process: None,
        }
    }

    /// Starts its process and waits until it listens.
    ///
    /// # Panics
    /// Panics, with its log, when it does not.
    pub fn launch(&mut self, environment: &[(&str, &str)]) {
        self.launch_with(&[], environment);
    }

    /// Starts its process with further arguments and waits until it listens.
    ///
    /// # Panics
    /// Panics, with its log, when it does not.
    pub fn launch_with(&mut self, arguments: &[&str], environment: &[(&str, &str)]) {
        let log = File::create(self.directory.join("log")).expect("the directory is ours");
        let child = Command::new(binary::wharf())
            .args([
                "registry",
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--log-level",
                "debug",
                "--root",
            ])
            .arg(self.root())
            .args(arguments)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        self.process = Some(child.expect("wharf starts"));
        wait::until_true("the registry's socket", || {
            assert!(self.runs(), "the registry ended:\n{}", self.log());
            self.log().contains("the registry is ready")
        });
    }

    /// Returns whether its process runs.
    ///
    /// # Panics
    /// Panics when the process cannot be asked for.
    pub fn runs(&mut self) -> bool {
        let ended = self
            .process
            .as_mut()
            .map(|process| process.try_wait().expect("our child"));
        matches!(ended, Some(None))
    }

    /// Ends its process as `kill -9` does, if it has not ended.
    ///
    /// # Panics
    /// Panics when the process cannot be waited for.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().expect("our child");
            process.wait().expect("our child");
        }
    }

    /// Has its process end as `kill` does, without waiting for it.
    ///
    /// # Panics
    /// Panics when there is none.
    pub fn terminate(&self) {
        let process = self.process.as_ref().expect("it runs");
        let id = i32::try_from(process.id()).expect("an identifier");
        let id = rustix::process::Pid::from_raw(id).expect("an identifier");
        rustix::process::kill_process(id, rustix::process::Signal::TERM).expect("our child");
    }

    /// Waits for its process to end; returns whether it ended well.
    ///
    /// # Panics
    /// Panics when it cannot be waited for.
    pub fn ended_well(&mut self) -> bool {
        wait::until_true("the registry's end", || !self.runs());
        let mut process = self.process.take().expect("it ran");
        process.wait().expect("our child").success()
    }

    /// Returns where its metrics are, `127.0.0.1:<port>`.
    ///
    /// # Panics
    /// Panics when it has not said so.
    #[must_use]
    pub fn metrics_address(&self) -> String {
        let log = self.log();
        let said = log
            .split(" metrics=")
            .nth(1)
            .and_then(|rest| rest.split_whitespace().next());
        said.expect("it has metrics").to_owned()
    }

    /// Returns where it listens, `127.0.0.1:<port>`.
    ///
    /// # Panics
    /// Panics when it has not said so.
    #[must_use]
    pub fn address(&self) -> String {
        let log = self.log();
        let said = log
            .split(" address=")
            .nth(1)
            .and_then(|rest| rest.split_whitespace().next());
        said.expect("it listens").to_owned()
    }

    /// Returns the directory of its images.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        self.directory.join("root")
    }

    /// Returns a path beside its images.
    #[must_use]
    pub fn beside(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Returns what it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.kill();
        std::fs::remove_dir_all(&self.directory).ok();
    }
}
