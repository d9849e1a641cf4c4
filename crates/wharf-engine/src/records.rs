//! The engine's records: one SQLite database, one thread that writes it.
//!
//! A record is written before the act it tells of, so that whatever happens in between, the next
//! engine knows what to look for. Two promises of different price:
//!
//! - [`Durability::Machine`]: it outlasts the machine's crash (`synchronous=FULL`, a tenth of a
//!   millisecond). For what a user was told: created, started, removed, named.
//! - [`Durability::Engine`]: it outlasts the engine's end (`synchronous=NORMAL`, microseconds). For
//!   what can be found out again, such as an exit that the shim has put on the disk already.
//!
//! All writes that wait when the thread is free go into one transaction: containers that start at
//! the same time share the disk's flush. Writes happen in the order they were handed over.
//!
//! Reading happens once, when the engine opens; afterwards memory is what counts.

use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::JoinHandle;

use rusqlite::{Connection, Transaction, params};
use tokio::sync::oneshot;

mod schema;

/// File name of the database below the data root.
pub(crate) const FILE: &str = "records.db";

/// What a write survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Durability {
    /// The engine's end.
    Engine,
    /// The machine's crash.
    Machine,
}

/// One change of the records.
#[derive(Debug)]
pub(crate) enum Change {
    /// A new container: what never changes, and what does.
    AddContainer {
        id: String,
        definition: String,
        status: String,
    },
    /// What an update has changed of what otherwise never changes.
    SetDefinition { id: String, definition: String },
    /// What changes of a container.
    SetStatus { id: String, status: String },
    /// A container has gone.
    RemoveContainer { id: String },
    /// A name of an image; JSON of what is known about the name.
    SetImageName { name: String, value: String },
    /// The name is no name any more.
    RemoveImageName { name: String },
    /// A new volume; JSON of what is known about it.
    AddVolume { name: String, value: String },
    /// A volume has gone.
    RemoveVolume { name: String },
    /// A setting.
    SetSetting { key: String, value: String },
}

/// Everything on record.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    /// Definition and status of each container.
    pub(crate) containers: Vec<(String, String)>,
    /// Names of images.
    pub(crate) image_names: Vec<(String, String)>,
    /// Volumes.
    pub(crate) volumes: Vec<(String, String)>,
    /// Settings.
    pub(crate) settings: Vec<(String, String)>,
}

/// Why the records cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecordsError {
    /// The database.
    #[error("cannot use the records")]
    Database(#[from] rusqlite::Error),
    /// A newer engine has written it.
    #[error("the records are of a newer version ({found}, this engine knows {known})")]
    Newer { found: u32, known: u32 },
    /// The thread cannot be made.
    #[error("cannot start the records' thread")]
    Thread(#[source] std::io::Error),
}

/// A change was not recorded.
#[derive(Debug, Clone, thiserror::Error)]
#[error("cannot record the change: {0}")]
pub(crate) struct CommitError(String);

/// The database.
#[derive(Debug)]
pub(crate) struct Records {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Job {
    changes: Vec<Change>,
    durability: Durability,
    done: oneshot::Sender<Result<(), CommitError>>,
}

/// A commit under way. Not waiting for it is fine for [`Durability::Engine`] changes.
#[derive(Debug)]
#[must_use]
pub(crate) struct Commit(oneshot::Receiver<Result<(), CommitError>>);

impl Commit {
    /// Waits until the change is recorded.
    pub(crate) async fn done(self) -> Result<(), CommitError> {
        self.0.await.unwrap_or_else(|_| Err(closed()))
    }

    /// Waits without a runtime. Also right where an engine opens on a runtime's own thread: the
    /// records' thread needs no runtime to get on.
    pub(crate) fn wait(self) -> Result<(), CommitError> {
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        let mut context = Context::from_waker(&waker);
        let mut receiver = self.0;
        loop {
            match Pin::new(&mut receiver).poll(&mut context) {
                Poll::Ready(result) => return result.unwrap_or_else(|_| Err(closed())),
                Poll::Pending => std::thread::park(),
            }
        }
    }

    /// Goes on without waiting; a failure is logged.
    pub(crate) fn in_background(self) {
        tokio::spawn(async move {
            if let Err(error) = self.done().await {
                tracing::error!(%error, "a change is not on record");
            }
        });
    }
}

/// Wakes the thread that waits for a commit.
struct Unpark(std::thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn closed() -> CommitError {
    CommitError("the records are closed".to_owned())
}

impl Records {
    /// Opens the database, made when missing, and reads it.
    pub(crate) fn open(path: &Path) -> Result<(Self, Contents), RecordsError> {
        let mut connection = Connection::open(path)?;
        connection.pragma_update(None, "journal_mode", "wal")?;
        connection.pragma_update(None, "synchronous", "full")?;
        schema::migrate(&mut connection)?;
        let contents = schema::read(&connection)?;
        let (jobs, queue) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("records".to_owned())
            .spawn(move || write_all(connection, &queue))
            .map_err(RecordsError::Thread)?;
        let records = Self {
            jobs: Some(jobs),
            thread: Some(thread),
        };
        Ok((records, contents))
    }

    /// Hands changes over to be written, all or none.
    pub(crate) fn commit(&self, changes: Vec<Change>, durability: Durability) -> Commit {
        let (done, receiver) = oneshot::channel();
        if let Some(jobs) = &self.jobs {
            let job = Job {
                changes,
                durability,
                done,
            };
            // When the thread has gone, the receiver says that the records are closed.
            drop(jobs.send(job));
        }
        Commit(receiver)
    }
}

impl Drop for Records {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // A panic of that thread has been reported by itself.
            drop(thread.join());
        }
    }
}

/// Writes until nobody can hand anything over any more.
fn write_all(mut connection: Connection, queue: &mpsc::Receiver<Job>) {
    let mut current = Durability::Machine;
    while let Ok(first) = queue.recv() {
        let jobs: Vec<Job> = std::iter::once(first).chain(queue.try_iter()).collect();
        let wanted = jobs.iter().map(|job| job.durability).max();
        let wanted = wanted.unwrap_or(Durability::Machine);
        let result = set_durability(&connection, &mut current, wanted)
            .and_then(|()| write(&mut connection, &jobs))
            .map_err(|error| CommitError(crate::error::chain(&error)));
        for job in jobs {
            // Whoever handed it over may not wait.
            drop(job.done.send(result.clone()));
        }
    }
}

fn set_durability(
    connection: &Connection,
    current: &mut Durability,
    wanted: Durability,
) -> rusqlite::Result<()> {
    if *current == wanted {
        return Ok(());
    }
    let level = match wanted {
        Durability::Engine => "normal",
        Durability::Machine => "full",
    };
    connection.pragma_update(None, "synchronous", level)?;
    *current = wanted;
    Ok(())
}

fn write(connection: &mut Connection, jobs: &[Job]) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    for change in jobs.iter().flat_map(|job| &job.changes) {
        apply(&transaction, change)?;
    }
    transaction.commit()
}

fn apply(transaction: &Transaction<'_>, change: &Change) -> rusqlite::Result<()> {
    let run = |sql: &str, params: &[&dyn rusqlite::ToSql]| {
        transaction.prepare_cached(sql)?.execute(params).map(drop)
    };
    match change {
        Change::AddContainer {
            id,
            definition,
            status,
        } => run(
            "INSERT INTO containers (id, definition, status) VALUES (?1, ?2, ?3)",
            params![id, definition, status],
        ),
        Change::SetDefinition { id, definition } => run(
            "UPDATE containers SET definition = ?2 WHERE id = ?1",
            params![id, definition],
        ),
        Change::SetStatus { id, status } => run(
            "UPDATE containers SET status = ?2 WHERE id = ?1",
            params![id, status],
        ),
        Change::RemoveContainer { id } => run("DELETE FROM containers WHERE id = ?1", params![id]),
        Change::SetImageName { name, value } => run(
            "INSERT INTO image_names (name, value) VALUES (?1, ?2)
             ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            params![name, value],
        ),
        Change::RemoveImageName { name } => {
            run("DELETE FROM image_names WHERE name = ?1", params![name])
        }
        Change::AddVolume { name, value } => run(
            "INSERT INTO volumes (name, value) VALUES (?1, ?2)",
            params![name, value],
        ),
        Change::RemoveVolume { name } => run("DELETE FROM volumes WHERE name = ?1", params![name]),
        Change::SetSetting { key, value } => run(
            "INSERT INTO settings (key, value) VALUES (?1, ?2)
             ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            params![key, value],
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(id: &str) -> Change {
        Change::AddContainer {
            id: id.to_owned(),
            definition: "{}".to_owned(),
            status: "created".to_owned(),
        }
    }

    #[test]
    fn what_was_committed_is_read_by_the_next_engine() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join(FILE);
        let (records, contents) = Records::open(&path).expect("open");
        assert!(contents.containers.is_empty());
        records
            .commit(vec![add("a"), add("b")], Durability::Machine)
            .wait()
            .expect("commit");
        let status = Change::SetStatus {
            id: "a".to_owned(),
            status: "exited".to_owned(),
        };
        records
            .commit(vec![status], Durability::Engine)
            .wait()
            .expect("commit");
        let removal = Change::RemoveContainer { id: "b".to_owned() };
        records
            .commit(vec![removal], Durability::Machine)
            .wait()
            .expect("commit");
        drop(records);
        let (_records, contents) = Records::open(&path).expect("open again");
        assert_eq!(
            contents.containers,
            [("{}".to_owned(), "exited".to_owned())]
        );
    }

    #[test]
    fn changes_of_one_commit_are_all_or_none() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join(FILE);
        let (records, _) = Records::open(&path).expect("open");
        let twice = records
            .commit(vec![add("a"), add("a")], Durability::Machine)
            .wait();
        assert!(twice.is_err());
        drop(records);
        let (_records, contents) = Records::open(&path).expect("open again");
        assert!(contents.containers.is_empty());
    }

    #[test]
    fn records_of_a_newer_engine_are_left_alone() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join(FILE);
        let connection = Connection::open(&path).expect("sqlite");
        connection
            .pragma_update(None, "user_version", 99)
            .expect("version");
        drop(connection);
        let error = Records::open(&path).expect_err("refused");
        assert!(
            matches!(error, RecordsError::Newer { found: 99, .. }),
            "{error}"
        );
    }
}
