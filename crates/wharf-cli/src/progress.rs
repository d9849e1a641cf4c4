//! Progress of pulls, pushes and loads: on a terminal each step has a line that is rewritten, elsewhere each change of
//! state is a line.
//!
//! What is written is what Docker's client writes (its `jsonmessage`), byte for byte, but for one thing: a line that
//! would be wider than the terminal is cut. Docker's wraps, and its next step is then drawn over another's line.

mod bar;
mod frames;

use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;
use wharf_wire::Progress;

use crate::client::{ClientError, Reply};
use crate::failure::{Failure, chain};
use crate::terminal;
use frames::{Frames, View};

/// Work that failed, or whose progress cannot be shown.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProgressError {
    /// The engine cannot be heard.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The work failed, in the engine's words.
    #[error("{0}")]
    Work(String),
    /// The answer ended within a document.
    #[error("unexpected EOF")]
    Cut,
    /// Nobody reads.
    #[error("write to standard output")]
    Output(#[from] io::Error),
}

impl From<ProgressError> for Failure {
    fn from(error: ProgressError) -> Self {
        match error {
            ProgressError::Output(error) => error.into(),
            error => Self::message(chain(&error)),
        }
    }
}

/// Where progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Output,
    Error,
    /// Nowhere: only failure is told, by whoever follows.
    Nowhere,
}

/// Progress as it is shown somewhere.
pub(crate) struct Display {
    place: Place,
    frames: Frames,
}

impl Display {
    /// On standard output.
    pub(crate) fn stdout() -> Self {
        Self {
            place: Place::Output,
            frames: Frames::new(terminal::output_is_terminal()),
        }
    }

    /// On standard error.
    pub(crate) fn stderr() -> Self {
        Self {
            place: Place::Error,
            frames: Frames::new(terminal::error_is_terminal()),
        }
    }

    /// Nowhere: only failure is told, by whoever follows.
    pub(crate) fn silent() -> Self {
        Self {
            place: Place::Nowhere,
            frames: Frames::new(false),
        }
    }

    /// Shows an answer's progress to its end.
    pub(crate) async fn follow(self, reply: Reply<'_>) -> Result<(), ProgressError> {
        self.follow_noting(reply, |_| ()).await
    }

    /// The same; what the engine tells beside the progress is handed to `note`.
    pub(crate) async fn follow_noting(
        mut self,
        mut reply: Reply<'_>,
        mut note: impl FnMut(Value),
    ) -> Result<(), ProgressError> {
        let mut pending = Vec::new();
        while let Some(piece) = reply.piece().await? {
            pending.extend_from_slice(&piece);
            let mut documents =
                serde_json::Deserializer::from_slice(&pending).into_iter::<Progress>();
            let mut done = 0;
            loop {
                match documents.next() {
                    Some(Ok(mut progress)) => match progress.aux.take() {
                        Some(aux) => note(aux),
                        None => self.show(&progress)?,
                    },
                    Some(Err(error)) if !error.is_eof() => {
                        return Err(ClientError::Decode(error).into());
                    }
                    _ => break,
                }
                done = documents.byte_offset();
            }
            pending.drain(..done);
        }
        if pending.iter().all(u8::is_ascii_whitespace) {
            Ok(())
        } else {
            Err(ProgressError::Cut)
        }
    }

    fn show(&mut self, progress: &Progress) -> Result<(), ProgressError> {
        // Asked for each time: the window may have another size by now.
        let columns = match self.place {
            Place::Output => terminal::columns(rustix::stdio::stdout()),
            Place::Error => terminal::columns(rustix::stdio::stderr()),
            Place::Nowhere => None,
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let view = View {
            columns,
            now: now.unwrap_or_default(),
        };
        let (text, failure) = self.frames.frame(progress, view);
        match self.place {
            Place::Output => crate::printer::Printer.data(text.as_bytes())?,
            Place::Error => crate::printer::say(&text),
            Place::Nowhere => {}
        }
        failure.map_or(Ok(()), |failure| Err(ProgressError::Work(failure)))
    }
}
