//! Events on the disk, for those who ask a later engine for the past.
//!
//! One line an event, appended by a thread of its own, so that nobody who has something to tell
//! waits for a disk. When the file is full it takes the place of the one before it: two files of a
//! bounded size are all there ever is. An event is no promise: what the engine or the machine could
//! not write any more is missing, and a line that is no event is passed over.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use wharf_wire as wire;

/// Name of the file that is written; the one before it has [`OLDER`] behind.
pub(crate) const FILE: &str = "events.log";
const OLDER: &str = ".1";
/// Bytes of one file.
const SIZE_MAX: u64 = 512 * 1024;
/// Events that may wait for the disk; more are not kept.
const QUEUE_MAX: usize = 4096;

/// The files, and the thread that writes them.
#[derive(Debug)]
pub(super) struct History {
    events: Option<mpsc::SyncSender<Arc<wire::Event>>>,
    thread: Option<JoinHandle<()>>,
}

impl History {
    /// Opens the files below `directory`, and returns the last `most` events in them.
    pub(super) fn open(
        directory: &Path,
        most: usize,
    ) -> io::Result<(Self, VecDeque<Arc<wire::Event>>)> {
        let path = directory.join(FILE);
        let mut past = VecDeque::with_capacity(most);
        for path in [older(&path), path.clone()] {
            read(&path, most, &mut past)?;
        }
        let mut writer = Writer::open(path)?;
        let (events, queue) = mpsc::sync_channel::<Arc<wire::Event>>(QUEUE_MAX);
        let thread = std::thread::Builder::new()
            .name("events".to_owned())
            .spawn(move || {
                while let Ok(event) = queue.recv() {
                    let rest = queue.try_iter();
                    writer.write(std::iter::once(event).chain(rest));
                }
            })?;
        let history = Self {
            events: Some(events),
            thread: Some(thread),
        };
        Ok((history, past))
    }

    /// Hands an event over to be written.
    pub(super) fn keep(&self, event: &Arc<wire::Event>) {
        if let Some(events) = &self.events {
            // A disk that is that far behind has other worries.
            drop(events.try_send(Arc::clone(event)));
        }
    }
}

impl Drop for History {
    fn drop(&mut self) {
        self.events = None;
        if let Some(thread) = self.thread.take() {
            // A panic of that thread has been reported by itself.
            drop(thread.join());
        }
    }
}

fn older(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(OLDER);
    PathBuf::from(name)
}

fn read(path: &Path, most: usize, past: &mut VecDeque<Arc<wire::Event>>) -> io::Result<()> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        file => file?,
    };
    for line in BufReader::new(file).split(b'\n') {
        if let Ok(event) = serde_json::from_slice(&line?) {
            if past.len() == most {
                past.pop_front();
            }
            past.push_back(Arc::new(event));
        }
    }
    Ok(())
}

/// The file that is written.
#[derive(Debug)]
struct Writer {
    path: PathBuf,
    file: File,
    size: u64,
    /// Whether the last write failed: it is told once.
    failing: bool,
}

impl Writer {
    fn open(path: PathBuf) -> io::Result<Self> {
        let file = create(&path)?;
        let mut size = file.metadata()?.len();
        // The end of a line that a crash has cut.
        let mut last = [b'\n'];
        if size > 0 {
            file.read_exact_at(&mut last, size - 1)?;
        }
        if last != [b'\n'] {
            (&file).write_all(b"\n")?;
            size += 1;
        }
        Ok(Self {
            path,
            file,
            size,
            failing: false,
        })
    }

    fn write(&mut self, events: impl Iterator<Item = Arc<wire::Event>>) {
        let mut lines = Vec::new();
        for event in events {
            if serde_json::to_writer(&mut lines, &*event).is_ok() {
                lines.push(b'\n');
            }
        }
        let written = self.append(&lines);
        if let Err(error) = &written
            && !self.failing
        {
            tracing::warn!(path = %self.path.display(), %error, "events are not kept");
        }
        self.failing = written.is_err();
    }

    fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        if self.size > SIZE_MAX {
            fs::rename(&self.path, older(&self.path))?;
            self.file = create(&self.path)?;
            self.size = 0;
        }
        self.file.write_all(lines)?;
        self.size += u64::try_from(lines.len()).unwrap_or(u64::MAX);
        Ok(())
    }
}

fn create(path: &Path) -> io::Result<File> {
    File::options()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(number: i64) -> Arc<wire::Event> {
        Arc::new(wire::Event {
            action: "start".to_owned(),
            time_nano: number,
            ..Default::default()
        })
    }

    fn numbers(past: &VecDeque<Arc<wire::Event>>) -> Vec<i64> {
        past.iter().map(|event| event.time_nano).collect()
    }

    #[test]
    fn what_was_kept_is_read_by_the_next() {
        let dir = tempfile::tempdir().expect("dir");
        let (history, past) = History::open(dir.path(), 3).expect("open");
        assert!(past.is_empty());
        for number in 0..5 {
            history.keep(&event(number));
        }
        drop(history);
        let (_history, past) = History::open(dir.path(), 3).expect("open again");
        assert_eq!(numbers(&past), [2, 3, 4]);
    }

    #[test]
    fn a_cut_line_costs_itself_only() {
        let dir = tempfile::tempdir().expect("dir");
        let (history, _) = History::open(dir.path(), 9).expect("open");
        history.keep(&event(1));
        drop(history);
        let mut file = create(&dir.path().join(FILE)).expect("file");
        file.write_all(b"{\"Type\":\"con").expect("write");
        let (history, _) = History::open(dir.path(), 9).expect("open");
        history.keep(&event(2));
        drop(history);
        let (_history, past) = History::open(dir.path(), 9).expect("open again");
        assert_eq!(numbers(&past), [1, 2]);
    }

    #[test]
    fn the_files_have_a_bound() {
        let dir = tempfile::tempdir().expect("dir");
        let mut writer = Writer::open(dir.path().join(FILE)).expect("open");
        for number in 0..20_000 {
            writer.write(std::iter::once(event(number)));
        }
        let bytes: u64 = fs::read_dir(dir.path())
            .expect("dir")
            .map(|entry| entry.expect("entry").metadata().expect("metadata").len())
            .sum();
        assert!(bytes < 3 * SIZE_MAX, "{bytes}");
        let (_history, past) = History::open(dir.path(), 1000).expect("open");
        assert_eq!(
            (past.len(), past.back().map(|e| e.time_nano)),
            (1000, Some(19_999))
        );
    }
}
