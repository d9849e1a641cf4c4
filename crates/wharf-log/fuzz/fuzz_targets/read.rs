//! Reads any bytes as a log, in each format, from its beginning and from its last lines, and writes on.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wharf_log::{Files, Format, LogReader, LogWriter, Plan, Stream};

fuzz_target!(|data: &[u8]| {
    let Some((&choice, bytes)) = data.split_first() else {
        return;
    };
    let format = if choice & 1 == 0 { Format::Json } else { Format::Local };
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("log");
    std::fs::write(&path, bytes).expect("write");
    let mut reader = LogReader::new(path.clone(), format);
    reader.seek_tail(u64::from(choice >> 1)).expect("seek");
    while reader.next_entry().expect("read").is_some() {}

    let files = Files {
        path: path.clone(),
        format,
        max_size: None,
        max_files: 1,
        attributes: String::new(),
    };
    let plan = Plan {
        files: Some(files),
        ..Plan::default()
    };
    LogWriter::open(plan).expect("open").push(Stream::Stdout, b"new\n");
    let mut reader = LogReader::new(path, format);
    let mut last = Vec::new();
    while let Some(entry) = reader.next_entry().expect("read") {
        last = entry.text.to_vec();
    }
    assert_eq!(last, b"new\n");
});
