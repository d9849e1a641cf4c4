//! Files that may change while the server runs: certificates, passwords, policies.
//!
//! Nobody waits for a change: who needs the value has the files looked at, once a second at most. A
//! change that cannot be read leaves the value as it was, and says so once.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

use std::os::unix::fs::MetadataExt as _;

/// How long what was seen of the files is believed.
const BELIEVED: Duration = Duration::from_secs(1);

/// What tells one content of a file from the next, without reading it.
type Stamp = Option<(u64, u64, Option<SystemTime>)>;

type Load<T, E> = Box<dyn Fn() -> Result<T, E> + Send + Sync>;

/// A value read from files, and read again when they change.
pub struct Watched<T, E> {
    files: Vec<PathBuf>,
    load: Load<T, E>,
    state: RwLock<State<T>>,
}

struct State<T> {
    value: Arc<T>,
    stamps: Vec<Stamp>,
    checked: Instant,
}

impl<T, E> std::fmt::Debug for Watched<T, E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watched")
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}

impl<T, E: std::error::Error> Watched<T, E> {
    /// Reads the value from `files`, by `load`.
    ///
    /// # Errors
    /// The first reading fails; later ones only leave the value as it is.
    pub fn new(
        files: Vec<PathBuf>,
        load: impl Fn() -> Result<T, E> + Send + Sync + 'static,
    ) -> Result<Self, E> {
        // Looked at before they are read: a change in between is seen at the next look.
        let stamps = stamps(&files);
        let value = Arc::new(load()?);
        Ok(Self {
            files,
            load: Box::new(load),
            state: RwLock::new(State {
                value,
                stamps,
                checked: Instant::now(),
            }),
        })
    }

    /// Returns the value as of a second ago at most.
    #[must_use]
    pub fn get(&self) -> Arc<T> {
        {
            let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
            if state.checked.elapsed() < BELIEVED {
                return Arc::clone(&state.value);
            }
        }
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if state.checked.elapsed() >= BELIEVED {
            state.checked = Instant::now();
            let stamps = stamps(&self.files);
            if stamps != state.stamps {
                state.stamps = stamps;
                self.reload(&mut state);
            }
        }
        Arc::clone(&state.value)
    }

    fn reload(&self, state: &mut State<T>) {
        let files = Files(&self.files);
        match (self.load)() {
            Ok(value) => {
                state.value = Arc::new(value);
                tracing::info!(%files, "read again");
            }
            Err(error) => {
                let error = crate::refusal::chain(&error);
                tracing::error!(%files, error, "changed, but cannot be used: what was there before stays in force");
            }
        }
    }
}

struct Files<'a>(&'a [PathBuf]);

impl std::fmt::Display for Files<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, path) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{}", path.display())?;
        }
        Ok(())
    }
}

fn stamps(files: &[PathBuf]) -> Vec<Stamp> {
    let stamp = |path: &PathBuf| {
        let metadata = std::fs::metadata(path).ok()?;
        Some((metadata.ino(), metadata.len(), metadata.modified().ok()))
    };
    files.iter().map(stamp).collect()
}

/// Reads a file of at most `limit` bytes.
pub(crate) fn read(path: &Path, limit: u64) -> std::io::Result<Vec<u8>> {
    use std::io::Read as _;

    let mut content = Vec::new();
    std::fs::File::open(path)?
        .take(limit + 1)
        .read_to_end(&mut content)?;
    if content.len() as u64 > limit {
        return Err(std::io::ErrorKind::FileTooLarge.into());
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("not a number")]
    struct NoNumber;

    fn look_again(watched: &Watched<u32, NoNumber>) -> u32 {
        let past = Instant::now()
            .checked_sub(BELIEVED)
            .expect("the machine has been up a second");
        watched.state.write().expect("sound").checked = past;
        *watched.get()
    }

    #[test]
    fn a_change_is_read_and_a_bad_one_is_not() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let path = file.path().to_owned();
        let write = |text: &str| std::fs::write(&path, text).expect("written");
        write("1");
        let read = path.clone();
        let watched = Watched::new(vec![path.clone()], move || {
            let text = std::fs::read_to_string(&read).map_err(|_| NoNumber)?;
            text.parse::<u32>().map_err(|_| NoNumber)
        })
        .expect("a number");
        assert_eq!(*watched.get(), 1);
        write("22");
        assert_eq!(*watched.get(), 1, "believed for a second");
        assert_eq!(look_again(&watched), 22);
        write("bad");
        assert_eq!(look_again(&watched), 22);
        std::fs::remove_file(&path).expect("removed");
        assert_eq!(look_again(&watched), 22);
        write("4444");
        assert_eq!(look_again(&watched), 4444);
    }
}
