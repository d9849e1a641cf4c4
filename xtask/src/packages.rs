//! What the tests need beyond a Rust toolchain, on Debian 12 or later.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Result;

use crate::run;

/// Debian packages, each with the reason it is needed.
const DEBIAN: &[(&str, &str)] = &[
    ("busybox-static", "the smallest real root file system"),
    (
        "mmdebstrap",
        "root file systems of Debian, nginx, redis, PostgreSQL",
    ),
    ("runc", "a peer: same answers, and the benchmarks"),
    ("crun", "a peer: same answers, and the benchmarks"),
    ("podman", "calls our runtime as its own"),
    ("skopeo", "pushes to our registry and pulls from it"),
    ("conmon", "podman's own shim, which calls the runtime"),
    ("containerd", "dockerd's, which calls the runtime"),
    (
        "docker.io",
        "dockerd calls our runtime; its client drives our engine",
    ),
    ("iproute2", "asks the kernel what the network code did"),
    ("nftables", "asks the kernel what the network code did"),
    ("iptables", "plays the foreign firewall"),
    ("qemu-system-x86", "the guest with a pure cgroup v2"),
    ("e2fsprogs", "a small file system to fill"),
    ("xz-utils", "archives, and the guest kernel's modules"),
    ("curl", "an HTTP client that is not ours"),
    ("procps", "ps inside a container"),
];

/// Programs of cargo's, with the crate each comes from.
const CARGO: [&str; 2] = ["cargo-nextest", "cargo-deny"];

/// Installs what is missing; needs root for the Debian packages.
pub(crate) fn install() -> Result<()> {
    let missing: Vec<&str> = DEBIAN
        .iter()
        .map(|(name, _)| *name)
        .filter(|name| !has_package(name))
        .collect();
    if !missing.is_empty() {
        run("apt-get", &["update", "-qq"])?;
        let mut arguments = vec!["install", "-y", "-qq", "--no-install-recommends"];
        arguments.extend(missing);
        run(
            "env",
            &[
                &["DEBIAN_FRONTEND=noninteractive", "apt-get"],
                arguments.as_slice(),
            ]
            .concat(),
        )?;
    }
    for program in CARGO {
        if !on_path(program) {
            run(
                "cargo",
                &[
                    "install",
                    "--locked",
                    "--target-dir",
                    "target/tools",
                    program,
                ],
            )?;
        }
    }
    Ok(())
}

fn has_package(name: &str) -> bool {
    let query = Command::new("dpkg-query")
        .args(["-W", "-f=${db:Status-Status}", name])
        .stderr(Stdio::null())
        .output();
    query.is_ok_and(|output| output.stdout == b"installed")
}

fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| Path::new(&folder).join(program).exists())
}
