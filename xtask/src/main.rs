//! Checks, the test command, and generated files: `cargo xtask <command>`.

#![forbid(unsafe_code)]
#![expect(clippy::print_stderr, reason = "a program for people at a terminal")]

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

mod layers;
mod packages;

const USAGE: &str = "\
usage: cargo xtask <command>

  check             format, lints, documentation, layers, dependencies
  layers            only the direction of the crates' dependencies
  man [directory]   writes the manual's pages (target/man unless told otherwise)
  test [--install]  check, then build the program and run every test; --install first installs
                    what the tests need (Debian packages, cargo-nextest, cargo-deny)
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match arguments.as_slice() {
        ["check"] => check(),
        ["layers"] => layers::check(),
        ["man"] => man("target/man"),
        ["man", directory] => man(directory),
        ["test"] => test(),
        ["test", "--install"] => packages::install().and_then(|()| test()),
        _ => {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Writes the manual.
fn man(directory: &str) -> Result<()> {
    let directory = Path::new(directory);
    std::fs::create_dir_all(directory)
        .with_context(|| format!("cannot make {}", directory.display()))?;
    for page in wharf_cli::manual() {
        let path = directory.join(&page.file);
        std::fs::write(&path, page.text)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// What is true of the text alone.
fn check() -> Result<()> {
    layers::check()?;
    run("cargo", &["fmt", "--all", "--check"])?;
    run(
        "cargo",
        &[
            "clippy",
            "--workspace",
            "--all-targets",
            "--profile",
            "ci",
            "--",
            "-Dwarnings",
        ],
    )?;
    run(
        "cargo",
        &[
            "deny",
            "--log-level",
            "error",
            "check",
            "licenses",
            "bans",
            "sources",
        ],
    )
}

/// What is true of the program: every test, on this machine's kernel and in a guest.
fn test() -> Result<()> {
    check()?;
    // The tests drive the program, so it is built first, from the same profile as they are.
    run("cargo", &["build", "--profile", "ci", "--package", "wharf"])?;
    run(
        "cargo",
        &["test", "--workspace", "--profile", "ci", "--doc"],
    )?;
    run(
        "cargo",
        &[
            "nextest",
            "run",
            "--workspace",
            "--cargo-profile",
            "ci",
            "--no-fail-fast",
        ],
    )
}

/// Runs a program at the workspace's root and waits for it.
fn run(program: &str, arguments: &[&str]) -> Result<()> {
    let line = format!("{program} {}", arguments.join(" "));
    eprintln!("xtask: {line}");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("xtask has no parent")?;
    let status = Command::new(program)
        .args(arguments)
        .current_dir(root)
        .status()
        .with_context(|| format!("cannot run {program}"))?;
    if !status.success() {
        bail!("{line}: {status}");
    }
    Ok(())
}
