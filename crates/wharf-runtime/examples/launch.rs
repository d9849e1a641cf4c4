//! Runs a container through the library, again and again, and prints what a start takes, step by
//! step: `launch BUNDLE [COUNT [PAUSE_MS]]`.
//!
//! With a count of one (the default) the container has this program's streams. Else each start gets what an engine has
//! ready before: a detached overlay over the bundle's root, a network namespace, and Docker's default filter.

#![expect(clippy::print_stdout, reason = "a program for people")]

use std::fs::OpenOptions;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};
use rustix::process::{WaitId, WaitIdOptions};
use rustix::thread::{LinkNameSpaceType, ThreadNameSpaceType};
use wharf_cgroup::Hierarchies;
use wharf_oci::runtime::Spec;
use wharf_runtime::{Launch, Mark, RootSource, Started, Stdio, run};
use wharf_seccomp::{Arch, KernelVersion, Program};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// What all starts have in common.
struct Course {
    bundle: PathBuf,
    spec: Spec,
    hierarchies: Hierarchies,
    filter: Program,
    scratch: PathBuf,
}

fn main() -> Outcome<()> {
    let mut args = std::env::args().skip(1);
    let bundle = PathBuf::from(
        args.next()
            .ok_or("usage: launch BUNDLE [COUNT [PAUSE_MS]]")?,
    );
    let count: u32 = args.next().map_or(Ok(1), |count| count.parse())?;
    let pause = Duration::from_millis(args.next().map_or(Ok(0), |pause| pause.parse())?);
    let spec: Spec = serde_json::from_slice(&std::fs::read(bundle.join("config.json"))?)?;
    let process = spec
        .process
        .as_ref()
        .and_then(|process| process.capabilities.as_ref());
    let granted = process.map_or(&[][..], |capabilities| &capabilities.bounding);
    let arch = Arch::native();
    let profile = wharf_seccomp::default_profile(granted, arch, KernelVersion::running());
    let course = Course {
        filter: wharf_seccomp::compile(&profile, arch)?,
        hierarchies: Hierarchies::detect()?,
        scratch: bundle.join(format!("scratch-{}", std::process::id())),
        bundle,
        spec,
    };
    if count == 1 {
        let launch = Launch::new("launch", &course.spec, &course.bundle, &course.hierarchies);
        return finish(&run(launch)?);
    }
    let measured = course.measure(count, pause);
    std::fs::remove_dir_all(&course.scratch)?;
    measured
}

impl Course {
    fn measure(&self, count: u32, pause: Duration) -> Outcome<()> {
        let mut steps: Vec<(String, Vec<Duration>)> = Vec::new();
        let mut starts = Vec::new();
        let mut ends = Vec::new();
        for number in 0..count {
            let network = new_network()?;
            let root = self.overlay(number)?;
            std::thread::sleep(pause);
            let id = format!("launch-{}-{number}", std::process::id());
            let mut launch = Launch::new(&id, &self.spec, &self.bundle, &self.hierarchies);
            launch.root = RootSource::Detached(root);
            launch.network = Some(network);
            launch.seccomp = Some(self.filter.clone());
            launch.stdio = Stdio::Pipes {
                stdin: null()?,
                stdout: null()?,
                stderr: null()?,
            };
            launch.timeline = true;
            let begun = Instant::now();
            let started = run(launch)?;
            starts.push(begun.elapsed());
            collect(&started.running.timeline, &mut steps);
            finish(&started)?;
            ends.push(begun.elapsed());
        }
        for (step, times) in &mut steps {
            println!("{step:30} {}", describe(times));
        }
        println!("{:30} {}", "all, to execve", describe(&mut starts));
        println!(
            "{:30} {}",
            "all, to the end and tidied up",
            describe(&mut ends)
        );
        Ok(())
    }

    /// A detached overlay over the bundle's root.
    fn overlay(&self, number: u32) -> Outcome<OwnedFd> {
        let scratch = self.scratch.join(number.to_string());
        let (upper, work) = (scratch.join("upper"), scratch.join("work"));
        std::fs::create_dir_all(&upper)?;
        std::fs::create_dir_all(&work)?;
        let context = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
        let set = |key: &str, path: &Path| rustix::mount::fsconfig_set_string(&context, key, path);
        set("lowerdir", &self.bundle.join("rootfs"))?;
        set("upperdir", &upper)?;
        set("workdir", &work)?;
        rustix::mount::fsconfig_set_flag(&context, "volatile")?;
        rustix::mount::fsconfig_create(&context)?;
        let flags = FsMountFlags::FSMOUNT_CLOEXEC;
        Ok(rustix::mount::fsmount(
            &context,
            flags,
            MountAttrFlags::empty(),
        )?)
    }
}

/// A network namespace, made by a moment's visit.
fn new_network() -> Outcome<OwnedFd> {
    let open = || {
        rustix::fs::open(
            "/proc/self/ns/net",
            OFlags::RDONLY | OFlags::CLOEXEC,
            Mode::empty(),
        )
    };
    let own = open()?;
    wharf_sys::namespace::unshare(ThreadNameSpaceType::NETWORK)?;
    let new = open()?;
    let kind = LinkNameSpaceType::Network;
    rustix::thread::move_into_link_name_space(own.as_fd(), Some(kind))?;
    Ok(new)
}

fn null() -> std::io::Result<OwnedFd> {
    Ok(OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/null")?
        .into())
}

fn finish(started: &Started) -> Outcome<()> {
    let waited = WaitId::PidFd(started.running.pidfd.as_fd());
    rustix::process::waitid(waited, WaitIdOptions::EXITED)?;
    Ok(started.cgroup.remove()?)
}

/// Adds the time between each mark and the one before it to its step.
fn collect(timeline: &[Mark], steps: &mut Vec<(String, Vec<Duration>)>) {
    for (number, pair) in timeline.windows(2).enumerate() {
        if steps.len() <= number {
            steps.push((pair[1].step.clone(), Vec::new()));
        }
        steps[number].1.push(pair[1].at.saturating_sub(pair[0].at));
    }
}

fn describe(times: &mut [Duration]) -> String {
    times.sort();
    let at = |part: usize| times[(times.len() - 1) * part / 100].as_micros();
    format!("min {:5} p50 {:5} p99 {:5} us", at(0), at(50), at(99))
}
