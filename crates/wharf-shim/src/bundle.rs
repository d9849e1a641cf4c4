//! The bundle a container has whose runtime is another program: `config.json`, `rootfs`, and what
//! the calls of that program leave.

use std::fs;
use std::io;
use std::path::Path;

use rustix::mount::UnmountFlags;

/// Removes a bundle, file by file: what is mounted in it must never be. Gone already is fine.
///
/// # Errors
/// Something is still mounted there, or a file cannot be removed.
pub fn remove(bundle: &Path) -> io::Result<()> {
    let absent_is_fine = |result: io::Result<()>| match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    };
    let root = bundle.join("rootfs");
    match rustix::mount::unmount(&root, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
        Ok(()) | Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) => {}
        Err(error) => return Err(error.into()),
    }
    for name in ["config.json", "log.json", "pid", "console.sock"] {
        absent_is_fine(fs::remove_file(bundle.join(name)))?;
    }
    absent_is_fine(fs::remove_dir(root))?;
    absent_is_fine(fs::remove_dir(bundle))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_is_removed_file_by_file() {
        let dir = tempfile::tempdir().expect("dir");
        let bundle = dir.path().join("bundle");
        fs::create_dir_all(bundle.join("rootfs")).expect("mkdir");
        fs::write(bundle.join("config.json"), "{}").expect("write");
        remove(&bundle).expect("remove");
        assert!(!bundle.exists());
        remove(&bundle).expect("gone already");
        // What is in the root is never removed.
        fs::create_dir_all(bundle.join("rootfs")).expect("mkdir");
        fs::write(bundle.join("rootfs/file"), "kept").expect("write");
        assert!(remove(&bundle).is_err());
        assert!(bundle.join("rootfs/file").exists());
    }
}
