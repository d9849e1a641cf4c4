//! A container's log options, Docker's names and rules.
//!
//! Docker checks some only when the container is started; here all are checked when it is created, in
//! the words Docker has for each. What differs: files rotate also when nothing was asked for (see
//! [`Rotation`]), and `max-size=-1`, which Docker documents but does not read, is no bound.

mod address;
mod error;
mod kept;
mod rotation;
#[cfg(test)]
mod tests;

pub use error::OptionError;
pub use rotation::Rotation;

use std::collections::BTreeMap;

use wharf_types::size;

use crate::syslog::{Address, Format};
use kept::Kept;

/// Options of a log driver, as they were given.
type Given = BTreeMap<String, String>;

/// The drivers there are, as `info` lists them: without `none`, which is the absence of one.
pub const DRIVERS: [&str; 4] = ["journald", "json-file", "local", "syslog"];
/// Drivers Docker has and this does not.
const ABSENT: [&str; 7] = [
    "awslogs",
    "etwlogs",
    "fluentd",
    "gcplogs",
    "gelf",
    "logentries",
    "splunk",
];
/// Options every driver has.
const COMMON: [&str; 6] = [
    "mode",
    "max-buffer-size",
    "cache-disabled",
    "cache-max-size",
    "cache-max-file",
    "cache-compress",
];
const JSON: [&str; 8] = [
    "max-file",
    "max-size",
    "compress",
    "labels",
    "labels-regex",
    "env",
    "env-regex",
    "tag",
];
const LOCAL: [&str; 3] = ["max-file", "max-size", "compress"];
const JOURNALD: [&str; 5] = ["labels", "labels-regex", "env", "env-regex", "tag"];
const SYSLOG: [&str; 12] = [
    "env",
    "env-regex",
    "labels",
    "labels-regex",
    "syslog-address",
    "syslog-facility",
    "syslog-format",
    "syslog-tls-ca-cert",
    "syslog-tls-cert",
    "syslog-tls-key",
    "syslog-tls-skip-verify",
    "tag",
];

/// A container's log options.
#[derive(Debug, Clone)]
pub struct Options {
    /// The driver.
    pub driver: Driver,
    /// What happens when it is slow.
    pub mode: Mode,
    /// The files kept beside a driver that cannot be read.
    pub cache: Option<Rotation>,
    /// Template of the name entries bear; empty where nothing was asked for.
    pub tag: String,
    labels: Kept,
    variables: Kept,
}

/// Where a container's output is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Driver {
    /// Nowhere.
    None,
    /// In files of JSON.
    JsonFile(Rotation),
    /// In files of a denser format.
    Local(Rotation),
    /// At a syslog daemon.
    Syslog {
        /// Where it listens.
        address: Address,
        /// How messages are written.
        format: Format,
        /// Number of the facility.
        facility: u8,
    },
    /// In the journal.
    Journald,
}

/// What happens when a driver is slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The container waits.
    Blocking,
    /// Entries are lost beyond this many bytes.
    NonBlocking(u64),
}

/// Checks a driver and its options, and that a socket they name is there.
///
/// # Errors
/// [`OptionError`].
pub fn check(driver: &str, options: &Given) -> Result<(), OptionError> {
    let read = Options::read(driver, options)?;
    if let Driver::Syslog { address, .. } = read.driver
        && let Address::Unix(path) | Address::UnixGram(path) = address
        && let Err(source) = std::fs::metadata(&path)
    {
        return Err(OptionError::Socket { path, source });
    }
    Ok(())
}

impl Options {
    /// Reads a driver and its options.
    ///
    /// # Errors
    /// [`OptionError`].
    pub fn read(driver: &str, options: &Given) -> Result<Self, OptionError> {
        if driver == "none" {
            return Ok(Self::new(Driver::None));
        }
        let mode = mode(options)?;
        let cache = rotation::cache(options)?;
        let read = match driver {
            "json-file" => rotation::json_file(options)?,
            "local" => rotation::local(options)?,
            "syslog" => address::syslog(options)?,
            "journald" => {
                known(options, &JOURNALD, "journald")?;
                Driver::Journald
            }
            absent if ABSENT.contains(&absent) => {
                return Err(OptionError::AbsentDriver(absent.to_owned()));
            }
            other => return Err(OptionError::Driver(other.to_owned())),
        };
        let sent = matches!(read, Driver::Syslog { .. } | Driver::Journald);
        Ok(Self {
            mode,
            cache: cache.filter(|_| sent),
            tag: options.get("tag").cloned().unwrap_or_default(),
            labels: Kept::read(options, "labels", "labels-regex")?,
            variables: Kept::read(options, "env", "env-regex")?,
            ..Self::new(read)
        })
    }

    /// Whether a label of the container is kept with each entry.
    #[must_use]
    pub fn keeps_label(&self, name: &str) -> bool {
        self.labels.has(name)
    }

    /// Whether a variable of the container's environment is kept with each entry.
    #[must_use]
    pub fn keeps_variable(&self, name: &str) -> bool {
        self.variables.has(name)
    }

    fn new(driver: Driver) -> Self {
        Self {
            driver,
            mode: Mode::Blocking,
            cache: None,
            tag: String::new(),
            labels: Kept::default(),
            variables: Kept::default(),
        }
    }

    /// The files the log can be read from, and when they are rotated.
    #[must_use]
    pub fn rotation(&self) -> Option<Rotation> {
        match self.driver {
            Driver::JsonFile(rotation) | Driver::Local(rotation) => Some(rotation),
            _ => self.cache,
        }
    }
}

fn known(options: &Given, own: &[&str], driver: &'static str) -> Result<(), OptionError> {
    let mut names = options.keys().map(String::as_str);
    let unknown = names.find(|name| !own.contains(name) && !COMMON.contains(name));
    match unknown {
        None => Ok(()),
        Some(option) if driver == "local" => Err(OptionError::UnknownLocal(option.to_owned())),
        Some(option) => Err(OptionError::Unknown {
            option: option.to_owned(),
            driver,
        }),
    }
}

fn mode(options: &Given) -> Result<Mode, OptionError> {
    let waits = match options.get("mode").map(String::as_str) {
        None | Some("" | "blocking") => true,
        Some("non-blocking") => false,
        Some(other) => return Err(OptionError::Mode(other.to_owned())),
    };
    let size = options.get("max-buffer-size");
    if waits {
        return match size {
            Some(_) => Err(OptionError::BufferWithoutMode),
            None => Ok(Mode::Blocking),
        };
    }
    let bytes = size.map_or(Ok(1 << 20), |text| size::binary(text));
    let bytes = bytes.map_err(OptionError::Buffer)?;
    Ok(Mode::NonBlocking(bytes.unsigned_abs()))
}
