//! Numbers that no other test on the machine uses at the same time.

use std::fs::{File, OpenOptions};
use std::io;

use rustix::fs::{FlockOperation, flock};

/// Slots there are; each has a bridge name and 1,022 addresses.
const SLOTS: u16 = 2000;

/// A number held for as long as the value lives, or its process.
#[derive(Debug)]
pub struct Slot {
    number: u16,
    _lock: File,
}

impl Slot {
    /// Takes a free number.
    ///
    /// # Panics
    /// Panics when all are taken.
    #[must_use]
    pub fn take() -> Self {
        let directory = std::env::temp_dir().join("wharf-tests-slots");
        std::fs::create_dir_all(&directory).expect("the temporary directory is writable");
        // Start somewhere else in each process, so that they do not queue for the same numbers.
        let start = u16::try_from(std::process::id() % u32::from(SLOTS)).unwrap_or(0);
        (0..SLOTS)
            .map(|offset| (start + offset) % SLOTS)
            .find_map(|number| {
                let path = directory.join(number.to_string());
                let lock = lock(&path).ok()?;
                Some(Self {
                    number,
                    _lock: lock,
                })
            })
            .expect("fewer than 2000 engines run at once")
    }

    /// The name of the slot's bridge.
    #[must_use]
    pub fn bridge(&self) -> String {
        format!("wt{}", self.number)
    }

    /// The bridge's own address, with the prefix length.
    #[must_use]
    pub fn bridge_address(&self) -> String {
        format!(
            "10.{}.{}.1/22",
            200 + self.number / 64,
            (self.number % 64) * 4
        )
    }
}

fn lock(path: &std::path::Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)?;
    flock(&file, FlockOperation::NonBlockingLockExclusive)?;
    Ok(file)
}
