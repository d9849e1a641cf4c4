//! Places where a test makes the process die, to see what recovery finds.
//!
//! A step of a change that can be interrupted calls [`hit`] with its name, `crate.operation.step`.
//! The environment variable `WHARF_FAILPOINT` says what happens there:
//!
//! - unset: nothing; a call costs one load and one comparison, so the points stay in every build
//!   and what is tested is what is shipped;
//! - a name: the process aborts when it comes by that name, as `kill -9` would end it, without
//!   unwinding, flushing or destructors;
//! - `list-file:<path>`: each name passed is appended to that file, one a line, so that a test
//!   learns the names a scenario goes through and then dies at each of them in turn.
//!
//! This is the one place of a library that reads the environment: a point must work before and
//! below anything that could be configured.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::OnceLock;

/// The environment variable that arms a point.
pub const VARIABLE: &str = "WHARF_FAILPOINT";

const LIST_PREFIX: &[u8] = b"list-file:";

#[derive(Debug, PartialEq, Eq)]
enum Mode {
    AbortAt(Vec<u8>),
    List(PathBuf),
}

static MODE: OnceLock<Option<Mode>> = OnceLock::new();

/// Dies here, or notes the name, when the environment asks for it; else does nothing.
#[inline]
pub fn hit(name: &str) {
    if let Some(mode) = MODE.get_or_init(|| std::env::var_os(VARIABLE).map(parse)) {
        act(mode, name);
    }
}

fn parse(value: OsString) -> Mode {
    match value.as_bytes().strip_prefix(LIST_PREFIX) {
        Some(path) => Mode::List(PathBuf::from(std::ffi::OsStr::from_bytes(path))),
        None => Mode::AbortAt(value.into_encoded_bytes()),
    }
}

#[cold]
fn act(mode: &Mode, name: &str) {
    match mode {
        Mode::AbortAt(wanted) if wanted.as_slice() == name.as_bytes() => std::process::abort(),
        Mode::AbortAt(_) => {}
        Mode::List(path) => {
            // One write of a whole line to a file opened for appending: several processes may
            // write at once. A list that cannot be written must not pass for an empty one.
            let line = format!("{name}\n");
            let written = OpenOptions::new()
                .create(true)
                .append(true)
                .open(path)
                .and_then(|mut file| file.write_all(line.as_bytes()));
            if written.is_err() {
                std::process::abort();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_is_a_name_or_a_list() {
        assert_eq!(
            parse("store.load.done".into()),
            Mode::AbortAt(b"store.load.done".to_vec())
        );
        assert_eq!(
            parse("list-file:/tmp/a".into()),
            Mode::List(PathBuf::from("/tmp/a"))
        );
    }

    #[test]
    fn names_are_listed_in_order() {
        let path = std::env::temp_dir().join(format!("wt-failpoint-{}", std::process::id()));
        let mode = Mode::List(path.clone());
        act(&mode, "a.b");
        act(&mode, "a.c");
        let listed = std::fs::read_to_string(&path).expect("the list");
        std::fs::remove_file(&path).expect("remove");
        assert_eq!(listed, "a.b\na.c\n");
    }

    #[test]
    fn another_point_passes() {
        act(&Mode::AbortAt(b"a.b".to_vec()), "a.c");
    }
}
