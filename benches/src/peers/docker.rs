//! A private dockerd.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use wharf_tests_system::slot::Slot;
use wharf_tests_system::{api, command, wait};

use crate::sample::time;

/// dockerd takes a while for its containers.
const GRACE: Duration = Duration::from_secs(120);

/// dockerd with directories and a bridge of its own. It gets no rules in the host's tables:
/// nothing is published here, so they would cost it nothing per container either.
#[derive(Debug)]
pub(super) struct Dockerd {
    program: PathBuf,
    directory: PathBuf,
    slot: Slot,
    process: Child,
}

impl Dockerd {
    pub(super) fn start(parent: &Path, program: &Path) -> Result<Self> {
        let directory = parent.join("docker");
        std::fs::create_dir(&directory)?;
        let slot = Slot::take();
        let bridge = slot.bridge();
        ip(&["link", "add", &bridge, "type", "bridge"])?;
        ip(&["address", "add", &slot.bridge_address(), "dev", &bridge])?;
        ip(&["link", "set", &bridge, "up"])?;
        let process = spawn(program, &directory, &bridge)?;
        let dockerd = Self {
            program: program.to_owned(),
            directory,
            slot,
            process,
        };
        dockerd.wait();
        Ok(dockerd)
    }

    fn wait(&self) {
        let socket = self.directory.join("sock");
        wait::until_true("dockerd's first answer", || {
            let answer = api::request(&socket, "GET", "/_ping", "text/plain", &[]);
            answer.is_ok_and(|answer| answer.status == 200)
        });
    }

    pub(super) fn host(&self) -> String {
        format!("unix://{}/sock", self.directory.display())
    }

    pub(super) fn pid(&self) -> u32 {
        self.process.id()
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(super) fn import(&self, client: &Path, archive: &Path, name: &str) -> Result<()> {
        let mut command = Command::new(client);
        command
            .args(["--host", &self.host(), "import"])
            .arg(archive)
            .arg(name);
        time(command).map(drop)
    }

    pub(super) fn restart(&mut self) -> Result<Duration> {
        self.end()?;
        let start = Instant::now();
        self.process = spawn(&self.program, &self.directory, &self.slot.bridge())?;
        self.wait();
        Ok(start.elapsed())
    }

    fn end(&mut self) -> Result<()> {
        kill_process(Pid::from_child(&self.process), Signal::TERM)?;
        command::wait(&mut self.process, GRACE).context("dockerd does not end")?;
        Ok(())
    }
}

fn spawn(program: &Path, directory: &Path, bridge: &str) -> Result<Child> {
    let log = File::options()
        .create(true)
        .append(true)
        .open(directory.join("log"))?;
    let process = Command::new(program)
        .arg("--data-root")
        .arg(directory.join("data"))
        .arg("--exec-root")
        .arg(directory.join("exec"))
        .arg("--pidfile")
        .arg(directory.join("pid"))
        .arg("--host")
        .arg(format!("unix://{}/sock", directory.display()))
        .args(["--bridge", bridge, "--iptables=false", "--ip-masq=false"])
        .arg("--userland-proxy=false")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()?;
    Ok(process)
}

fn ip(arguments: &[&str]) -> Result<()> {
    let output = Command::new("ip").args(arguments).output()?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "ip {arguments:?}: {stderr}");
    Ok(())
}

impl Drop for Dockerd {
    fn drop(&mut self) {
        let ended = self.end();
        let removed = ip(&["link", "delete", &self.slot.bridge()]);
        for error in [ended, removed].into_iter().filter_map(Result::err) {
            super::report(&format!("dockerd: {error:#}"));
        }
    }
}
