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
