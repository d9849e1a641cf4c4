//! A private group that is gone after the test, and processes in it.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::Signal;
use wharf_cgroup::{Cgroup, CgroupError, Hierarchies, plan};
use wharf_oci::runtime::Resources;
use wharf_tests_system::wait::until;

/// A group for one test; what is left in it is killed and removed at the end.
pub struct Group {
    /// The machine's hierarchies.
    pub hierarchies: Hierarchies,
    /// From their mount points.
    pub path: PathBuf,
    /// The group.
    pub cgroup: Cgroup,
}

/// A path that no other test and no other run has.
pub fn private_path() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    PathBuf::from(format!("/wt-cgroup-{}-{next}", std::process::id()))
}

impl Group {
    /// Makes a group with a path of its own.
    pub fn new(resources: &Resources) -> Self {
        Self::at(&private_path(), resources).unwrap()
    }

    /// Makes a group at `path`.
    pub fn at(path: &Path, resources: &Resources) -> Result<Self, CgroupError> {
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
    pub fn read(&self, controller: &str, file: &str) -> String {
        let path = self.cgroup.dir(controller).unwrap().join(file);
        let text = std::fs::read_to_string(&path);
        text.unwrap_or_else(|error| panic!("{}: {error}", path.display()))
            .trim_end()
            .to_owned()
    }

    /// Starts a shell in the group.
    pub fn shell(&self, script: &str) -> Child {
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
    pub fn entered(&self, script: &str) -> Child {
        let mut child = self.shell(script);
        read_line(&mut child, "in");
        child
    }

    /// Updates the group, as `update` of a container does.
    pub fn update(&self, resources: &Resources) -> Result<(), Box<dyn std::error::Error>> {
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

/// Reads a line that a shell is to print next.
pub fn read_line(child: &mut Child, expected: &str) {
    let mut bytes = vec![0; expected.len() + 1];
    let output = child.stdout.as_mut().unwrap();
    std::io::Read::read_exact(output, &mut bytes).unwrap();
    assert_eq!(bytes.strip_suffix(b"\n"), Some(expected.as_bytes()));
}

/// Waits for a child, with a limit; its exit code, or the number of its signal as a shell says it.
pub fn wait(child: &mut Child) -> i32 {
    let status = until("the process ends", || child.try_wait().unwrap());
    status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap())
}
