//! A private group that is gone after the test, and processes in it.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use wharf_cgroup::{Cgroup, CgroupError, Hierarchies, plan};
use wharf_oci::runtime::Resources;

/// A group for one test; what is left in it is killed and removed at the end.
pub(crate) struct Group {
    pub(crate) hierarchies: Hierarchies,
    pub(crate) path: PathBuf,
    pub(crate) cgroup: Cgroup,
}

/// A path that no other test and no other run has.
pub(crate) fn private_path() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    PathBuf::from(format!("/wt-cgroup-{}-{next}", std::process::id()))
}

impl Group {
    pub(crate) fn new(resources: &Resources) -> Self {
        Self::at(&private_path(), resources).unwrap()
    }

    pub(crate) fn at(path: &Path, resources: &Resources) -> Result<Self, CgroupError> {
        let hierarchies = Hierarchies::detect().unwrap();
        let plan = plan(resources, &hierarchies.target()).unwrap();
        let cgroup = Cgroup::create(&hierarchies, path, &plan)?;
        Ok(Self {
            hierarchies,
            path: path.to_owned(),
            cgroup,
        })
    }

    /// What a file of the group holds.
    pub(crate) fn read(&self, controller: &str, file: &str) -> String {
        let path = self.cgroup.dir(controller).unwrap().join(file);
        let text = std::fs::read_to_string(&path);
        text.unwrap_or_else(|error| panic!("{}: {error}", path.display()))
            .trim_end()
            .to_owned()
    }

    /// Starts a shell in the group.
    pub(crate) fn shell(&self, script: &str) -> Child {
        let mut dirs: Vec<&Path> = self.cgroup.dirs().map(|(_, path)| path).collect();
        dirs.dedup();
        Command::new("sh")
            .arg("-c")
            .arg(format!(
                "for d in \"$@\"; do echo 0 > $d/cgroup.procs || exit 99; done; echo in; {script}"
            ))
            .arg("sh")
            .args(dirs)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("a shell named sh")
    }

    /// Starts a shell in the group, and waits until it is there.
    pub(crate) fn entered(&self, script: &str) -> Child {
        let mut child = self.shell(script);
        let mut word = [0; 3];
        let output = child.stdout.as_mut().unwrap();
        std::io::Read::read_exact(output, &mut word).unwrap();
        assert_eq!(&word, b"in\n");
        child
    }

    pub(crate) fn update(&self, resources: &Resources) -> Result<(), Box<dyn std::error::Error>> {
        let target = wharf_cgroup::Target {
            current: Some(self.cgroup.current()?),
            ..self.hierarchies.target()
        };
        Ok(self.cgroup.apply(&plan(resources, &target)?)?)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let killed = self.cgroup.kill_all(Signal::KILL);
        let removed = self.cgroup.remove();
        if !std::thread::panicking() {
            killed.unwrap();
            removed.unwrap();
        }
    }
}

/// Waits for a child, with a limit; its exit code, or the number of its signal as a shell says it.
pub(crate) fn wait(child: &mut Child) -> i32 {
    let mut status = None;
    until("the process to end", || {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    let status = status.unwrap();
    status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap())
}

/// Waits for a condition, and fails when it does not come true.
pub(crate) fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "waited for {what}"
        );
        std::thread::yield_now();
    }
}
