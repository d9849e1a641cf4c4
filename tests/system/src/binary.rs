//! Where the program under test is.

use std::path::PathBuf;

/// Returns the `wharf` binary: `$WHARF_BIN`, or the one built beside this test.
///
/// # Panics
/// Panics when there is none.
#[must_use]
pub fn wharf() -> PathBuf {
    find().unwrap_or_else(|| {
        panic!("no wharf beside this program: run `cargo build -p wharf`, or set WHARF_BIN")
    })
}

/// Returns the `wharf` binary if there is one.
#[must_use]
pub fn find() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("WHARF_BIN") {
        return Some(path.into());
    }
    let own = std::env::current_exe().ok()?;
    // target/<triple>/<profile>/deps/it-…, or without `deps` for a benchmark.
    own.ancestors()
        .skip(1)
        .take(2)
        .map(|dir| dir.join("wharf"))
        .find(|path| path.is_file())
}

/// Returns the reference engine's daemon where the suite is run against it
/// (`WHARF_TEST_REFERENCE=/usr/sbin/dockerd`): a scenario that fails there expects what Docker
/// does not do. What only an engine of ours has is left out then: the census, the accounting.
#[must_use]
pub fn reference() -> Option<PathBuf> {
    std::env::var_os("WHARF_TEST_REFERENCE").map(PathBuf::from)
}
