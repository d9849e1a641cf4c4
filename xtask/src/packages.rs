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
    ("buildah", "pushes to our registry and pulls from it"),
    ("apache2-utils", "makes password files that are not ours"),
    ("chromium", "looks at the registry's page"),
    (
        "docker-registry",
        "a registry that is not ours, for our client",
    ),
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
    ("tmux", "a terminal that a test can look at"),
    ("python3-venv", "docker-py, which drives our engine"),
    ("openssl", "certificates that are not ours"),
];

/// Programs of cargo's, with the crate each comes from.
const CARGO: [&str; 2] = ["cargo-nextest", "cargo-deny"];

/// Python packages, with the module each is known by.
const PYTHON: [(&str, &str); 2] = [
    ("docker==7.1.0", "docker"),
    ("websocket-client==1.8.0", "websocket"),
];

/// Where they are installed; the tests look there first.
const ENVIRONMENT: &str = "target/tools/python";

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
    install_python()
}

fn install_python() -> Result<()> {
    let python = format!("{ENVIRONMENT}/bin/python");
    if PYTHON.iter().all(|(_, module)| has_module(&python, module)) {
        return Ok(());
    }
    run("python3", &["-m", "venv", ENVIRONMENT])?;
    let mut arguments = vec!["-m", "pip", "install", "--quiet"];
    arguments.extend(PYTHON.iter().map(|(package, _)| *package));
    run(&python, &arguments)
}

fn has_module(python: &str, module: &str) -> bool {
    let asked = Command::new(python)
        .args(["-c", &format!("import {module}")])
        .stderr(Stdio::null())
        .status();
    asked.is_ok_and(|status| status.success())
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
