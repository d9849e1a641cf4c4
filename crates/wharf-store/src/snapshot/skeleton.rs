//! The lowest layer below every container's image: places to mount on.
//!
//! A container gets file systems and files mounted whether its image has a place for them or not. Made in
//! its writable directory, the places cost half a millisecond a start (a copy of `/etc`, and files on the disk), and
//! show as changes of the container's. Below all layers they cost nothing: what the image has is
//! seen, what it lacks is there.

use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode};
use rustix::io::Errno;

use crate::PathError;
use crate::files::{self, failed};

/// Name of the directory in the store.
pub(crate) const NAME: &str = "skeleton";
/// Images of more layers do without: the kernel bounds their number.
pub(super) const LAYERS_MAX: usize = 100;

const DIRECTORIES: [&str; 4] = ["dev", "etc", "proc", "sys"];
const FILES: [&str; 3] = ["etc/hosts", "etc/hostname", "etc/resolv.conf"];

/// Makes the layer in the store at `root`, as far as it is not there.
pub(super) fn make(root: &Path) -> Result<PathBuf, PathError> {
    let skeleton = root.join(NAME);
    let below = DIRECTORIES.map(|name| skeleton.join(name));
    for path in [&skeleton].into_iter().chain(&below) {
        files::ensure_directory(path)?;
        let mode = Mode::from_raw_mode(0o755);
        rustix::fs::chmod(path, mode).map_err(failed("set mode of", path))?;
    }
    for name in FILES {
        let path = skeleton.join(name);
        let mode = Mode::from_raw_mode(0o644);
        match rustix::fs::mknodat(CWD, &path, FileType::RegularFile, mode, 0) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(failed("create", &path)(errno)),
        }
    }
    Ok(skeleton)
}
