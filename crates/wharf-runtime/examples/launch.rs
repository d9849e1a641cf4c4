//! Runs a bundle's container through the library, again and again, and prints what each start took:
//! `launch BUNDLE [COUNT]`. With a count of one (the default) the container has this program's streams.

#![allow(clippy::print_stdout, reason = "a program for people")]

use std::fs::OpenOptions;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::{WaitId, WaitIdOptions};
use wharf_cgroup::Hierarchies;
use wharf_oci::runtime::Spec;
use wharf_runtime::{Launch, Stdio, run};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let bundle = PathBuf::from(
        args.next()
            .ok_or("usage: launch BUNDLE [COUNT [PAUSE_MS]]")?,
    );
    let count: u32 = args.next().map_or(Ok(1), |count| count.parse())?;
    let pause = Duration::from_millis(args.next().map_or(Ok(0), |pause| pause.parse())?);
    let spec: Spec = serde_json::from_slice(&std::fs::read(bundle.join("config.json"))?)?;
    let hierarchies = Hierarchies::detect()?;
    let mut starts = Vec::new();
    let mut ends = Vec::new();
    for number in 0..count {
        std::thread::sleep(pause);
        let id = format!("launch-{}-{number}", std::process::id());
        let null = || -> std::io::Result<OwnedFd> {
            Ok(OpenOptions::new()
                .read(true)
                .write(true)
                .open("/dev/null")?
                .into())
        };
        let stdio = match count {
            1 => Stdio::Inherit,
            _ => Stdio::Pipes {
                stdin: null()?,
                stdout: null()?,
                stderr: null()?,
            },
        };
        let begun = Instant::now();
        let mut launch = Launch::new(&id, &spec, &bundle, &hierarchies);
        launch.stdio = stdio;
        let started = run(launch)?;
        starts.push(begun.elapsed());
        let waited = WaitId::PidFd(started.running.pidfd.as_fd());
        rustix::process::waitid(waited, WaitIdOptions::EXITED)?;
        ends.push(begun.elapsed());
        started.cgroup.remove()?;
    }
    if count > 1 {
        println!("start {}", describe(&mut starts));
        println!("end   {}", describe(&mut ends));
    }
    Ok(())
}

fn describe(times: &mut [Duration]) -> String {
    times.sort();
    let at = |part: usize| times[(times.len() - 1) * part / 100].as_micros();
    format!("min {} p50 {} p99 {} us", at(0), at(50), at(99))
}
