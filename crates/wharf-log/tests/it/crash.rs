//! The writer, or the compressor, is killed at each step: nothing that was written is lost or doubled.

use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use wharf_log::{Format, LogReader, LogWriter, Stream, compress};

use crate::rotation::{plan, rest};

/// Set for the process that dies: where it writes.
const PLACE: &str = "WHARF_LOG_TEST_PLACE";

/// What the process that dies does; for the others, nothing.
#[test]
fn dies() {
    let Some(path) = std::env::var_os(PLACE) else {
        return;
    };
    let path = Path::new(&path);
    let mut log = LogWriter::open(plan(path, Format::Json, Some(1_000), 3)).expect("open");
    for number in 0..100 {
        log.push(Stream::Stdout, format!("line {number}\n").as_bytes());
    }
    compress(path).expect("compress");
}

fn run(place: &Path, failpoint: &str) -> ExitStatus {
    Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "crash::dies"])
        .env(PLACE, place)
        .env(wharf_types::failpoint::VARIABLE, failpoint)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .expect("run")
}

#[test]
fn a_log_is_whole_wherever_its_writer_died() {
    let names = tempfile::tempdir().expect("dir");
    let list = names.path().join("names");
    let place = names.path().join("log");
    assert!(run(&place, &format!("list-file:{}", list.display())).success());
    let listed = std::fs::read_to_string(&list).expect("names");
    let mut points: Vec<_> = listed.lines().collect();
    points.sort_unstable();
    points.dedup();
    assert_eq!(
        points,
        [
            "log.compress.renamed",
            "log.compress.written",
            "log.rotate.created",
            "log.rotate.pruned",
            "log.rotate.renamed",
        ]
    );
    for point in points {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("log");
        assert!(!run(&path, point).success(), "{point}");
        let before = numbers(&rest(&mut LogReader::new(path.clone(), Format::Json)));
        assert!(
            before.is_sorted_by(|a, b| a + 1 == *b) && !before.is_empty(),
            "{point}: {before:?}"
        );
        let mut log = LogWriter::open(plan(&path, Format::Json, Some(1_000), 3)).expect("open");
        log.push(Stream::Stdout, b"line 1000\n");
        compress(&path).expect("compress");
        let after = numbers(&rest(&mut LogReader::new(path.clone(), Format::Json)));
        assert_eq!(after.last(), Some(&1000), "{point}");
        assert!(
            after.len() > 10 && before.ends_with(&after[..after.len() - 1]),
            "{point}"
        );
        let left = std::fs::read_dir(dir.path()).expect("list").count();
        assert!(left <= 4, "{point}: {left} files");
    }
}

fn numbers(text: &[u8]) -> Vec<u32> {
    let text = std::str::from_utf8(text).expect("text");
    let number = |line: &str| line.strip_prefix("line ").and_then(|n| n.parse().ok());
    text.lines()
        .map(|line| number(line).expect("a line"))
        .collect()
}
