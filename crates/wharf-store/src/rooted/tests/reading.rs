//! Reading single files.

use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use super::super::*;
use crate::files::open_directory;

#[test]
fn attack_r22_what_could_block_or_flood_is_refused_at_once() {
    let directory = tempfile::tempdir().expect("tempdir");
    let path = directory.path().join("root");
    std::fs::create_dir(&path).expect("mkdir");
    std::fs::write(directory.path().join("sentinel"), b"host").expect("write");
    let fifo = |path: &Path| {
        rustix::fs::mknodat(
            rustix::fs::CWD,
            path,
            FileType::Fifo,
            Mode::RUSR | Mode::WUSR,
            0,
        )
        .expect("mkfifo");
    };
    fifo(&path.join("fifo"));
    fifo(&directory.path().join("host-fifo"));
    symlink(
        directory.path().join("host-fifo"),
        path.join("to-host-fifo"),
    )
    .expect("link");
    symlink("../sentinel", path.join("up")).expect("link");
    symlink("/fifo", path.join("to-fifo")).expect("link");
    symlink("/proc/self/fd/0", path.join("magic")).expect("link");
    File::create(path.join("large"))
        .and_then(|file| file.set_len(10 << 30))
        .expect("large");
    let root = RootedDir::open(open_directory(&path).expect("open"));
    let read = |name: &str| root.read_file(Path::new(name), 1 << 20);
    let start = Instant::now();
    for name in ["fifo", "to-fifo", "/"] {
        assert!(
            matches!(read(name), Err(RootedError::NotRegular(_))),
            "{name}"
        );
    }
    for name in ["to-host-fifo", "up", "magic", "../sentinel", "none"] {
        assert!(matches!(read(name), Err(RootedError::Path(_))), "{name}");
    }
    assert!(matches!(read("large"), Err(RootedError::TooLarge { .. })));
    assert!(start.elapsed() < Duration::from_secs(1));
}

#[test]
fn links_stay_inside() {
    let directory = tempfile::tempdir().expect("tempdir");
    let path = directory.path();
    std::fs::create_dir(path.join("etc")).expect("mkdir");
    std::fs::write(path.join("etc/passwd"), b"root").expect("write");
    symlink("/../../etc/passwd", path.join("link")).expect("link");
    let root = RootedDir::open(open_directory(path).expect("open"));
    let bytes = root.read_file(Path::new("/link"), 4).expect("read");
    assert_eq!(bytes, b"root");
}
