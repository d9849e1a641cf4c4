//! A registry that is not ours: the CNCF's, as Debian has it.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::slot::Slot;
use crate::{needs, wait};

/// Who may come in where there are accounts.
pub const ACCOUNT: (&str, &str) = ("tester", "secret");

/// The password of [`ACCOUNT`] as bcrypt keeps it.
const PASSWORD_FILE: &str = "tester:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n";

/// Such a registry on a port of its own; its directory goes with it.
#[derive(Debug)]
pub struct ForeignRegistry {
    /// Keeps the directory's name from others.
    _slot: Slot,
    directory: PathBuf,
    process: Child,
}

impl ForeignRegistry {
    /// Starts one that everybody may use.
    ///
    /// # Panics
    /// Panics, with its log, when it does not start.
    #[must_use]
    pub fn open() -> Self {
        Self::start(false)
    }

    /// Starts one that only [`ACCOUNT`] may use.
    ///
    /// # Panics
    /// As [`Self::open`].
    #[must_use]
    pub fn closed() -> Self {
        Self::start(true)
    }

    fn start(accounts: bool) -> Self {
        let slot = Slot::take();
        let name = format!("wt-foreign-{}-{}", std::process::id(), slot.bridge());
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&directory).expect("the temporary directory is writable");
        let passwords = directory.join("passwords");
        std::fs::write(&passwords, PASSWORD_FILE).expect("the directory is ours");
        let accounts = if accounts {
            let path = passwords.display();
            format!("auth: {{htpasswd: {{realm: tests, path: {path}}}}}\n")
        } else {
            String::new()
        };
        let configuration = directory.join("configuration.yml");
        let text = format!(
            "version: 0.1\nlog: {{level: info}}\nstorage: {{filesystem: {{rootdirectory: {}}}, delete: {{enabled: true}}}}\nhttp: {{addr: '127.0.0.1:0'}}\n{accounts}",
            directory.join("root").display()
        );
        std::fs::write(&configuration, text).expect("the directory is ours");
        let log = File::create(directory.join("log")).expect("the directory is ours");
        let program = needs::program("docker-registry").expect("docker-registry is installed");
        let process = Command::new(program)
            .arg("serve")
            .arg(&configuration)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        let mut registry = Self {
            _slot: slot,
            directory,
            process: process.expect("docker-registry starts"),
        };
        wait::until_true("the registry's socket", || {
            let ended = registry.process.try_wait().expect("our child");
            assert!(ended.is_none(), "it ended:\n{}", registry.log());
            registry.said().is_some()
        });
        registry
    }

    /// Returns where it listens, `127.0.0.1:<port>`.
    ///
    /// # Panics
    /// Panics when it has not said so.
    #[must_use]
    pub fn address(&self) -> String {
        self.said().expect("it listens")
    }

    fn said(&self) -> Option<String> {
        let log = self.log();
        let after = log.split("listening on ").nth(1)?;
        let address = after
            .split(|c: char| c == '"' || c.is_whitespace())
            .next()?;
        Some(address.to_owned())
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }
}

impl Drop for ForeignRegistry {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
        std::fs::remove_dir_all(&self.directory).ok();
    }
}
