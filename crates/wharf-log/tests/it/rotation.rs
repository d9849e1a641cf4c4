//! What is written is what is read, wherever files are rotated, compressed or removed meanwhile.

use std::path::Path;

use proptest::prelude::*;
use wharf_log::{Files, Format, LogReader, LogWriter, Plan, Stream, compress};

pub(crate) fn plan(path: &Path, format: Format, max_size: Option<u64>, max_files: u32) -> Plan {
    Plan {
        files: Some(Files {
            path: path.to_owned(),
            format,
            max_size,
            max_files,
            attributes: String::new(),
        }),
        ..Plan::default()
    }
}

pub(crate) fn rest(reader: &mut LogReader) -> Vec<u8> {
    let mut found = Vec::new();
    while let Some(entry) = reader.next_entry().expect("read") {
        found.extend_from_slice(entry.text);
    }
    found
}

fn both() -> impl Strategy<Value = Format> {
    prop_oneof![Just(Format::Json), Just(Format::Local)]
}

/// Something a container prints, or that happens to its log.
#[derive(Debug, Clone)]
enum Step {
    Print(Vec<u8>),
    Read,
    Compress,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => "[a-zé\n\"<]{0,300}".prop_map(|text| Step::Print(text.into_bytes())),
        1 => (0usize..40_000).prop_map(|count| Step::Print(vec![b'x'; count])),
        2 => Just(Step::Read),
        1 => Just(Step::Compress),
        1 => Just(Step::Restart),
    ]
}

fn lines(text: &[u8]) -> Vec<&[u8]> {
    text.split_inclusive(|byte| *byte == b'\n').collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn a_reader_that_follows_gets_all_of_it_once(
        steps in prop::collection::vec(step(), 1..40),
        format in both(),
        max_size in prop_oneof![Just(Some(1_000)), Just(Some(5_000)), Just(Some(50_000)), Just(None)],
    ) {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("log");
        let open = || LogWriter::open(plan(&path, format, max_size, 10_000)).expect("open");
        let mut log = open();
        let mut reader = LogReader::new(path.clone(), format);
        let (mut printed, mut read) = (Vec::new(), Vec::new());
        for step in steps {
            match step {
                Step::Print(bytes) => {
                    log.push(Stream::Stdout, &bytes);
                    printed.extend(bytes);
                }
                Step::Read => read.extend(rest(&mut reader)),
                Step::Compress => compress(&path).expect("compress"),
                Step::Restart => {
                    log.finish();
                    log = open();
                }
            }
        }
        log.finish();
        prop_assert_eq!(log.lost(), 0);
        read.extend(rest(&mut reader));
        prop_assert!(read == printed, "{} of {} bytes", read.len(), printed.len());
        let again = rest(&mut LogReader::new(path.clone(), format));
        prop_assert!(again == printed);
    }

    #[test]
    fn the_tail_is_the_last_lines_of_output(
        texts in prop::collection::vec("[a-z\n]{0,80}", 1..40),
        long in 0usize..40_000,
        wanted in 0usize..60,
        format in both(),
        max_size in prop_oneof![Just(Some(300)), Just(None)],
        compressed: bool,
    ) {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("log");
        let mut log = LogWriter::open(plan(&path, format, max_size, 10_000)).expect("open");
        let long = [vec![b'x'; long], b"\n".to_vec()].concat();
        let printed = [texts.concat().as_bytes(), long.as_slice(), b"end"].concat();
        for piece in printed.chunks(900) {
            log.push(Stream::Stdout, piece);
        }
        log.finish();
        if compressed {
            compress(&path).expect("compress");
        }
        let lines = lines(&printed);
        let expected = lines[lines.len().saturating_sub(wanted)..].concat();
        let mut reader = LogReader::new(path, format);
        reader.seek_tail(wanted as u64).expect("seek");
        let found = rest(&mut reader);
        prop_assert!(found == expected, "{} of {} bytes", found.len(), expected.len());
    }

    #[test]
    fn torn_files_are_read_as_far_as_they_are_whole(
        texts in prop::collection::vec("[a-z]{1,50}", 1..20),
        cut in 0usize..2_000,
        format in both(),
    ) {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("log");
        let mut log = LogWriter::open(plan(&path, format, None, 1)).expect("open");
        for text in &texts {
            log.push(Stream::Stdout, format!("{text}\n").as_bytes());
        }
        drop(log);
        let file = std::fs::OpenOptions::new().write(true).open(&path).expect("file");
        let length = file.metadata().expect("metadata").len();
        file.set_len(length.saturating_sub(cut as u64)).expect("cut");
        let whole = rest(&mut LogReader::new(path.clone(), format));
        let printed: String = texts.iter().map(|text| format!("{text}\n")).collect();
        prop_assert!(printed.as_bytes().starts_with(&whole));
        let mut log = LogWriter::open(plan(&path, format, None, 1)).expect("open");
        log.push(Stream::Stdout, b"new\n");
        let after = rest(&mut LogReader::new(path, format));
        prop_assert_eq!(after, [whole.as_slice(), b"new\n"].concat());
    }

    #[test]
    fn no_file_makes_a_reader_fail(bytes: Vec<u8>, format in both(), wanted in 0u64..5) {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("log");
        std::fs::write(&path, &bytes).expect("write");
        let mut reader = LogReader::new(path, format);
        reader.seek_tail(wanted).expect("seek");
        prop_assert!(rest(&mut reader).len() <= bytes.len() * 3 + 1);
    }
}

#[test]
fn what_is_kept_has_a_bound() {
    for format in [Format::Json, Format::Local] {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("log");
        let mut log = LogWriter::open(plan(&path, format, Some(10_000), 3)).expect("open");
        for number in 0..3000 {
            log.push(Stream::Stdout, format!("line {number}\n").as_bytes());
        }
        assert!(log.take_rotated() && !log.take_rotated());
        let files: Vec<_> = std::fs::read_dir(dir.path())
            .expect("list")
            .flatten()
            .collect();
        assert_eq!(files.len(), 3);
        for file in files {
            let length = file.metadata().expect("metadata").len();
            assert!(length <= 10_000, "{:?}: {length}", file.path());
        }
        let kept = rest(&mut LogReader::new(path, format));
        assert!(kept.ends_with(b"line 2999\n"));
    }
}

#[test]
fn a_file_truncated_to_make_room_is_read_on() {
    let dir = tempfile::tempdir().expect("dir");
    let path = dir.path().join("log");
    let mut log = LogWriter::open(plan(&path, Format::Json, None, 1)).expect("open");
    log.push(Stream::Stdout, b"one\ntwo\n");
    let mut reader = LogReader::new(path.clone(), Format::Json);
    assert_eq!(rest(&mut reader), b"one\ntwo\n");
    std::fs::File::options()
        .write(true)
        .open(&path)
        .and_then(|file| file.set_len(0))
        .expect("truncate");
    log.push(Stream::Stdout, b"3\n");
    assert_eq!(rest(&mut reader), b"3\n");
}

#[test]
fn reading_ends_where_it_is_told() {
    let dir = tempfile::tempdir().expect("dir");
    let path = dir.path().join("log");
    let mut log = LogWriter::open(plan(&path, Format::Local, Some(100), 50)).expect("open");
    log.push(Stream::Stdout, b"one\ntwo\nthree\nfo");
    let end = log.position().expect("position").expect("a file");
    assert_eq!(log.begun(Stream::Stdout), b"fo");
    log.push(Stream::Stdout, b"ur\nfive\nsix\nseven\n");
    let mut reader = LogReader::new(path, Format::Local);
    reader.end_at(end);
    assert_eq!(rest(&mut reader), b"one\ntwo\nthree\n");
}

#[test]
fn a_file_of_docker_s_own_is_read() {
    // Written by dockerd 20.10: "hi" to standard error, then "end" without a line feed.
    let file = b"\x00\x00\x00\x16\x0a\x06stderr\x10\xdb\x8d\xed\xec\xe9\xa8\x86\xf5\x18\x1a\x02hi\x00\x00\x00\x16\
        \x00\x00\x00\x5f\x0a\x06stdout\x10\xa5\xb8\x85\xfe\xe9\xa8\x86\xf5\x18\x1a\x03end \x01*D\x12@\
        58e7d0c84549e404372ec1175d8da1fb5b7506981091d0c3f324b715b8c17245\x18\x01\x00\x00\x00\x5f";
    let dir = tempfile::tempdir().expect("dir");
    let path = dir.path().join("container.log");
    std::fs::write(&path, file).expect("write");
    let mut reader = LogReader::new(path, Format::Local);
    let first = reader.next_entry().expect("read").expect("an entry");
    assert_eq!((first.text, first.stream), (&b"hi\n"[..], Stream::Stderr));
    assert!(
        first
            .time
            .timestamp()
            .to_string()
            .starts_with("2026-11-21T15:3")
    );
    let second = reader.next_entry().expect("read").expect("an entry");
    assert_eq!((second.text, second.stream), (&b"end"[..], Stream::Stdout));
    assert_eq!(reader.next_entry().expect("read"), None);
}

#[test]
fn a_reader_keeps_up_with_a_writer_and_a_compressor() {
    let dir = tempfile::tempdir().expect("dir");
    let path = dir.path().join("log");
    let writer = std::thread::spawn({
        let plan = plan(&path, Format::Json, Some(5_000), 10_000);
        move || {
            let mut log = LogWriter::open(plan).expect("open");
            for number in 0..20_000 {
                log.push(Stream::Stdout, format!("{number}\n").as_bytes());
            }
        }
    });
    let compressor = std::thread::spawn({
        let path = path.clone();
        move || (0..50).for_each(|_| compress(&path).expect("compress"))
    });
    let mut reader = LogReader::new(path, Format::Json);
    let mut read = Vec::new();
    let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while !read.ends_with(b"\n19999\n") {
        assert!(std::time::Instant::now() < end, "{} bytes", read.len());
        read.extend(rest(&mut reader));
    }
    writer.join().expect("writer");
    compressor.join().expect("compressor");
    let expected: String = (0..20_000).map(|number| format!("{number}\n")).collect();
    assert!(read == expected.as_bytes());
}
