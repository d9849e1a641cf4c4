//! What a test needs of the machine.

use std::path::PathBuf;

/// Finds a program in `$PATH`, and in the directories that a user's path may lack.
#[must_use]
pub fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|directory| directory.join(name))
        .find(|candidate| candidate.is_file())
}

/// Says whether the machine has root and the programs named.
///
/// # Panics
/// Panics when it does not, unless `WHARF_TEST_ALLOW_MISSING=1`.
#[must_use]
pub fn met(programs: &[&str]) -> bool {
    let mut missing: Vec<String> = programs
        .iter()
        .filter(|name| program(name).is_none())
        .map(|name| (*name).into())
        .collect();
    if !rustix::process::geteuid().is_root() {
        missing.push("root".to_owned());
    }
    if missing.is_empty() {
        return true;
    }
    let missing = missing.join(", ");
    assert!(
        std::env::var_os("WHARF_TEST_ALLOW_MISSING").is_some_and(|value| value == "1"),
        "this test needs: {missing}"
    );
    report(&format!("SKIPPED, this test needs: {missing}"));
    false
}

#[expect(
    clippy::print_stderr,
    reason = "the test runner shows it; a skip must be seen"
)]
fn report(message: &str) {
    eprintln!("{message}");
}
