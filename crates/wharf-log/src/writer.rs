//! Writes what a container prints to where its plan says.

use std::io;
use std::os::fd::BorrowedFd;

use crate::entry::{Piece, Stamp, Stream};
use crate::file::RotatingFile;
use crate::lines::Lines;
use crate::plan::{Files, Format, Plan};
use crate::queue::Queue;
use crate::reader::Position;
use crate::{json, local};

/// Room for entries that is kept between bursts.
const BATCH_KEPT: usize = 32 * 1024;

/// Why a log could not be opened. What Docker says too is in its words.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file.
    #[error("cannot open the log")]
    File(#[source] io::Error),
    /// No journal.
    #[error("journald is not enabled on this host")]
    NoJournal,
    /// No syslog daemon where they are usually found.
    #[error("Unix syslog delivery error")]
    NoSyslog,
    /// The syslog daemon cannot be reached.
    #[error("dial {address}: connect")]
    Connect {
        /// Where it should be.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// The syslog daemon is not the one it should be, or does not want this one.
    #[error(transparent)]
    Secure(io::Error),
    /// Certificates or keys.
    #[error(transparent)]
    Tls(#[from] crate::tls::TlsError),
}

/// What went wrong with a log since it was asked the last time.
#[derive(Debug, Default)]
pub struct Trouble {
    /// Bytes that were lost.
    pub lost: u64,
    /// The last error.
    pub error: Option<io::Error>,
}

/// Writes a container's output to its log.
#[derive(Debug)]
pub struct LogWriter {
    lines: Lines,
    file: Option<FileWriter>,
    queue: Option<Queue>,
    lost: u64,
    trouble: Trouble,
}

#[derive(Debug)]
struct FileWriter {
    file: RotatingFile,
    format: Format,
    attributes: String,
    /// Entries of the current call.
    batch: Vec<u8>,
}

impl LogWriter {
    /// Opens what the plan names.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(plan: Plan) -> Result<Self, OpenError> {
        let Plan {
            files,
            remote,
            buffer,
        } = plan;
        let file = files.map(FileWriter::open).transpose();
        let queue = remote.map(|remote| Queue::open(remote, buffer));
        Ok(Self {
            lines: Lines::default(),
            file: file.map_err(OpenError::File)?,
            queue: queue.transpose()?,
            lost: 0,
            trouble: Trouble::default(),
        })
    }

    /// Adds output: complete lines are written now, the rest when its line ends or grows too long.
    pub fn push(&mut self, stream: Stream, bytes: &[u8]) {
        let (file, queue) = (&mut self.file, &mut self.queue);
        self.lines.push(stream, bytes, &Stamp::now(), |piece| {
            write(file, queue, &piece);
        });
        self.write_out();
    }

    /// Writes what has been begun and will not be ended: the output is at its end.
    pub fn finish(&mut self) {
        let (file, queue) = (&mut self.file, &mut self.queue);
        self.lines
            .finish(&Stamp::now(), |piece| write(file, queue, &piece));
        self.write_out();
        if let Some(queue) = &mut self.queue {
            queue.finish();
        }
        self.look_at_queue();
    }

    /// Sends what the service has not taken yet.
    pub fn flush(&mut self) {
        if let Some(queue) = &mut self.queue {
            queue.flush();
        }
        self.look_at_queue();
    }

    /// What becomes writable when [`Self::flush`] can go on, and the how manieth connection it is.
    #[must_use]
    pub fn socket(&self) -> Option<(u64, BorrowedFd<'_>)> {
        self.queue.as_ref().and_then(Queue::socket)
    }

    /// Whether [`Self::flush`] can go on only when that has become readable.
    #[must_use]
    pub fn listens(&self) -> bool {
        self.queue.as_ref().is_some_and(Queue::listens)
    }

    /// Whether everything is sent.
    #[must_use]
    pub fn is_flushed(&self) -> bool {
        self.queue.as_ref().is_none_or(Queue::is_empty)
    }

    /// Whether the container's output is not to be read at the moment.
    #[must_use]
    pub fn holds_up(&self) -> bool {
        self.queue.as_ref().is_some_and(Queue::holds_up)
    }

    /// Returns how many bytes of the log were lost in all.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Returns what went wrong since this was asked the last time.
    pub fn take_trouble(&mut self) -> Option<Trouble> {
        let trouble = std::mem::take(&mut self.trouble);
        (trouble.lost > 0 || trouble.error.is_some()).then_some(trouble)
    }

    /// Whether files have been rotated since this was asked the last time.
    pub fn take_rotated(&mut self) -> bool {
        self.file
            .as_mut()
            .is_some_and(|file| file.file.take_rotated())
    }

    /// Where the next entry of the files will be; `None` without files.
    ///
    /// # Errors
    /// The file cannot be looked at.
    pub fn position(&self) -> io::Result<Option<Position>> {
        let file = self.file.as_ref();
        file.map(|file| file.file.position()).transpose()
    }

    /// Returns the beginning of a line that is not written yet.
    #[must_use]
    pub fn begun(&self, stream: Stream) -> &[u8] {
        self.lines.begun(stream)
    }

    /// Gives back the room a burst has taken: a process that idles beside each container stays small.
    pub fn shrink(&mut self) {
        if let Some(file) = &mut self.file
            && file.batch.capacity() > BATCH_KEPT
        {
            file.batch = Vec::new();
        }
    }

    fn write_out(&mut self) {
        if let Some(file) = &mut self.file
            && let Err((error, lost)) = file.write_out()
        {
            self.note(lost as u64, Some(error));
        }
        self.flush();
    }

    fn look_at_queue(&mut self) {
        if let Some(queue) = &mut self.queue {
            let (lost, error) = (queue.take_lost(), queue.take_trouble());
            if lost > 0 || error.is_some() {
                self.note(lost, error);
            }
        }
    }

    fn note(&mut self, lost: u64, error: Option<io::Error>) {
        self.lost += lost;
        self.trouble.lost += lost;
        if error.is_some() {
            self.trouble.error = error;
        }
    }
}

fn write(file: &mut Option<FileWriter>, queue: &mut Option<Queue>, piece: &Piece<'_>) {
    if let Some(file) = file {
        file.add(piece);
    }
    if let Some(queue) = queue {
        queue.push(piece);
    }
}

impl FileWriter {
    fn open(files: Files) -> io::Result<Self> {
        Ok(Self {
            file: RotatingFile::open(&files)?,
            format: files.format,
            attributes: files.attributes,
            batch: Vec::new(),
        })
    }

    fn add(&mut self, piece: &Piece<'_>) {
        match self.format {
            Format::Json => json::encode(piece, &self.attributes, &mut self.batch),
            Format::Local => local::encode(piece, &mut self.batch),
        }
    }

    fn write_out(&mut self) -> Result<(), (io::Error, usize)> {
        let written = self.file.append(&self.batch);
        self.batch.clear();
        written
    }
}
