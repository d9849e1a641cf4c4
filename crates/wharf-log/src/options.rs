//! A container's log options, Docker's names and rules.
//!
//! Docker checks some only when the container is started; here all are checked when it is created, in
//! the words Docker has for each. What differs: files rotate also when nothing was asked for (see
//! [`Rotation`]), and `max-size=-1`, which Docker documents but does not read, is no bound.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use wharf_types::size::{self, SizeError};

use crate::syslog::{self, Address, Format};

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
/// Port of syslog daemons.
const SYSLOG_PORT: u16 = 514;

/// A container's log options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The driver.
    pub driver: Driver,
    /// What happens when it is slow.
    pub mode: Mode,
    /// The files kept beside a driver that cannot be read.
    pub cache: Option<Rotation>,
    /// Template of the name entries bear; empty where nothing was asked for.
    pub tag: String,
    labels: Vec<String>,
    env: Vec<String>,
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

/// When files are rotated.
///
/// `json-file`: 100 MB a file and 5 files, unless a size is given; with a size and no number one file,
/// as Docker has it. `local` and the cache: 20 MiB and 5 files, compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotation {
    /// Bytes of one file.
    pub max_size: Option<u64>,
    /// Files, the one that is written to among them.
    pub max_files: u32,
    /// Whether those that are full are compressed.
    pub compress: bool,
}

/// What happens when a driver is slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The container waits.
    Blocking,
    /// Entries are lost beyond this many bytes.
    NonBlocking(u64),
}

/// An option that is refused, in Docker's words.
#[derive(Debug, thiserror::Error)]
pub enum OptionError {
    /// No such driver.
    #[error("logger: no log driver named '{0}' is registered")]
    Driver(String),
    /// A driver of Docker's.
    #[error("the log driver '{0}' is not served by wharf")]
    AbsentDriver(String),
    /// No such option.
    #[error("unknown log opt '{option}' for {driver} log driver")]
    Unknown {
        /// The option.
        option: String,
        /// The driver.
        driver: &'static str,
    },
    /// No such option of `local`.
    #[error("unknown log opt '{0}' for log driver local")]
    UnknownLocal(String),
    /// An option of Docker's.
    #[error("the log opt '{0}' is not served by wharf")]
    AbsentOption(String),
    /// No such mode.
    #[error("logger: logging mode not supported: {0}")]
    Mode(String),
    /// A buffer without the mode that has one.
    #[error("logger: max-buffer-size option is only supported with 'mode=non-blocking'")]
    BufferWithoutMode,
    /// The buffer's size.
    #[error("error parsing option max-buffer-size: {0}")]
    Buffer(SizeError),
    /// An option of the cache.
    #[error("invalid value for option {option}: {value}")]
    Cache {
        /// The option.
        option: &'static str,
        /// Its value.
        value: String,
    },
    /// A size that cannot be read.
    #[error("failed to initialize logging driver: {0}")]
    Size(#[from] SizeError),
    /// No room at all.
    #[error("failed to initialize logging driver: max-size must be a positive number")]
    NoSize,
    /// A number that cannot be read.
    #[error("failed to initialize logging driver: strconv.Atoi: parsing {0:?}: invalid syntax")]
    Number(String),
    /// No file at all.
    #[error("failed to initialize logging driver: max-file cannot be less than 1")]
    NoFile,
    /// Neither true nor false.
    #[error(
        "failed to initialize logging driver: strconv.ParseBool: parsing {0:?}: invalid syntax"
    )]
    Bool(String),
    /// Nothing that could be compressed.
    #[error(
        "failed to initialize logging driver: compress cannot be true when max-file is less than 2 or max-size is not set"
    )]
    Compress,
    /// The same in the words of `local`.
    #[error(
        "failed to initialize logging driver: compression cannot be enabled when max file count is 1"
    )]
    CompressLocal,
    /// No address.
    #[error("syslog-address should be in form proto://address, got {0}")]
    Address(String),
    /// A name, for which somebody would have to be asked.
    #[error("syslog-address {0}: the host must be an IP address or localhost")]
    HostName(String),
    /// No socket.
    #[error("stat {}: {source}", path.display())]
    Socket {
        /// Where it should be.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// No facility.
    #[error("invalid syslog facility")]
    Facility,
    /// No format.
    #[error("Invalid syslog format")]
    Format,
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
        let cache = cache(options)?;
        let read = match driver {
            "json-file" => json_file(options)?,
            "local" => local(options)?,
            "syslog" => syslog(options)?,
            "journald" => {
                known(options, &JOURNALD, "journald")?;
                Driver::Journald
            }
            absent if ABSENT.contains(&absent) => {
                return Err(OptionError::AbsentDriver(absent.to_owned()));
            }
            other => return Err(OptionError::Driver(other.to_owned())),
        };
        for absent in ["labels-regex", "env-regex"] {
            if options.contains_key(absent) {
                return Err(OptionError::AbsentOption(absent.to_owned()));
            }
        }
        let sent = matches!(read, Driver::Syslog { .. } | Driver::Journald);
        let list = |name: &str| {
            let words = options.get(name).map_or("", String::as_str).split(',');
            words
                .filter(|word| !word.is_empty())
                .map(str::to_owned)
                .collect()
        };
        Ok(Self {
            mode,
            cache: cache.filter(|_| sent),
            tag: options.get("tag").cloned().unwrap_or_default(),
            labels: list("labels"),
            env: list("env"),
            ..Self::new(read)
        })
    }

    /// Whether a label of the container is kept with each entry.
    #[must_use]
    pub fn keeps_label(&self, name: &str) -> bool {
        self.labels.iter().any(|label| label == name)
    }

    /// Whether a variable of the container's environment is kept with each entry.
    #[must_use]
    pub fn keeps_variable(&self, name: &str) -> bool {
        self.env.iter().any(|variable| variable == name)
    }

    fn new(driver: Driver) -> Self {
        Self {
            driver,
            mode: Mode::Blocking,
            cache: None,
            tag: String::new(),
            labels: Vec::new(),
            env: Vec::new(),
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

impl Rotation {
    const JSON_SIZE: u64 = 100_000_000;
    const LOCAL: Self = Self {
        max_size: Some(20 << 20),
        max_files: 5,
        compress: true,
    };

    /// Writes into options what goes without saying, so that people see what they have.
    pub fn write_defaults(driver: &str, options: &mut Given) {
        if driver != "json-file" || options.contains_key("max-size") {
            return;
        }
        options.insert("max-size".to_owned(), "100m".to_owned());
        options
            .entry("max-file".to_owned())
            .or_insert_with(|| "5".to_owned());
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

fn cache(options: &Given) -> Result<Option<Rotation>, OptionError> {
    let wrong = |option: &'static str| {
        move |value: &str| OptionError::Cache {
            option,
            value: value.to_owned(),
        }
    };
    let given = |option: &'static str| options.get(option).map(String::as_str);
    let truth = |option: &'static str| {
        let read = |text: &str| parse_bool(text).ok_or_else(|| wrong(option)(text));
        given(option).map(read).transpose()
    };
    let mut rotation = Rotation::LOCAL;
    if let Some(text) = given("cache-max-size") {
        let bytes = size::decimal(text).ok().filter(|bytes| *bytes > 0);
        let bytes = bytes.ok_or_else(|| wrong("cache-max-size")(text))?;
        rotation.max_size = Some(bytes.unsigned_abs());
    }
    if let Some(text) = given("cache-max-file") {
        let files = text.parse().ok().filter(|files| *files > 0);
        rotation.max_files = files.ok_or_else(|| wrong("cache-max-file")(text))?;
    }
    rotation.compress = truth("cache-compress")?.unwrap_or(true) && rotation.max_files > 1;
    let disabled = truth("cache-disabled")?.unwrap_or(false);
    Ok((!disabled).then_some(rotation))
}

fn json_file(options: &Given) -> Result<Driver, OptionError> {
    known(options, &JSON, "json-file")?;
    let given = max_size(options)?;
    let files = max_files(options)?;
    let max_size = given.unwrap_or(Some(Rotation::JSON_SIZE));
    let max_files = files.unwrap_or(if given.is_some() { 1 } else { 5 });
    let compress = compress(options)?.unwrap_or(false);
    if compress && (max_files == 1 || max_size.is_none()) {
        return Err(OptionError::Compress);
    }
    Ok(Driver::JsonFile(Rotation {
        max_size,
        max_files,
        compress,
    }))
}

fn local(options: &Given) -> Result<Driver, OptionError> {
    known(options, &LOCAL, "local")?;
    let default = Rotation::LOCAL;
    let max_files = max_files(options)?.unwrap_or(default.max_files);
    let compress = compress(options)?.unwrap_or(default.compress);
    if compress && max_files == 1 {
        return Err(OptionError::CompressLocal);
    }
    Ok(Driver::Local(Rotation {
        max_size: max_size(options)?.unwrap_or(default.max_size),
        max_files,
        compress,
    }))
}

/// The size that was given, if one was; `-1` is none.
fn max_size(options: &Given) -> Result<Option<Option<u64>>, OptionError> {
    match options.get("max-size").map(String::as_str) {
        None => Ok(None),
        Some("-1") => Ok(Some(None)),
        Some(text) => match size::decimal(text)? {
            ..=0 => Err(OptionError::NoSize),
            bytes => Ok(Some(Some(bytes.unsigned_abs()))),
        },
    }
}

fn max_files(options: &Given) -> Result<Option<u32>, OptionError> {
    let Some(text) = options.get("max-file") else {
        return Ok(None);
    };
    match text.parse::<i64>() {
        Err(_) => Err(OptionError::Number(text.clone())),
        Ok(..=0) => Err(OptionError::NoFile),
        Ok(files) => Ok(Some(u32::try_from(files).unwrap_or(u32::MAX))),
    }
}

fn compress(options: &Given) -> Result<Option<bool>, OptionError> {
    let Some(text) = options.get("compress") else {
        return Ok(None);
    };
    let read = parse_bool(text).ok_or_else(|| OptionError::Bool(text.clone()))?;
    Ok(Some(read))
}

/// Reads a truth value as Go's `strconv.ParseBool` does.
fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

fn syslog(options: &Given) -> Result<Driver, OptionError> {
    known(options, &SYSLOG, "syslog")?;
    let given = |name: &str| options.get(name).map_or("", String::as_str);
    let address = address(given("syslog-address"))?;
    if let Some(option) = options.keys().find(|name| name.starts_with("syslog-tls-")) {
        return Err(OptionError::AbsentOption(option.clone()));
    }
    Ok(Driver::Syslog {
        address,
        facility: syslog::facility(given("syslog-facility")).ok_or(OptionError::Facility)?,
        format: Format::parse(given("syslog-format")).ok_or(OptionError::Format)?,
    })
}

fn address(text: &str) -> Result<Address, OptionError> {
    if text.is_empty() {
        return Ok(Address::Local);
    }
    let bad = || OptionError::Address(text.to_owned());
    let (scheme, rest) = text.split_once("://").ok_or_else(bad)?;
    match scheme {
        "unix" => Ok(Address::Unix(PathBuf::from(rest))),
        "unixgram" => Ok(Address::UnixGram(PathBuf::from(rest))),
        "udp" => socket_address(text, rest).map(Address::Udp),
        "tcp" => socket_address(text, rest).map(Address::Tcp),
        "tcp+tls" => Err(OptionError::AbsentOption(format!("syslog-address={text}"))),
        _ => Err(bad()),
    }
}

fn socket_address(text: &str, rest: &str) -> Result<SocketAddr, OptionError> {
    let rest = rest.trim_end_matches('/');
    if let Ok(address) = rest.parse() {
        return Ok(address);
    }
    let bare = rest.trim_start_matches('[').trim_end_matches(']');
    if let Ok(ip) = bare.parse::<IpAddr>() {
        return Ok(SocketAddr::new(ip, SYSLOG_PORT));
    }
    let (host, port) = match rest.split_once(':') {
        Some((host, port)) => (host, port.parse().ok()),
        None => (rest, Some(SYSLOG_PORT)),
    };
    let port = port.ok_or_else(|| OptionError::Address(text.to_owned()))?;
    match host {
        "localhost" => Ok(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port)),
        _ => Err(OptionError::HostName(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(driver: &str, options: &[(&str, &str)]) -> Result<Options, String> {
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        let options = options.iter().map(owned).collect();
        Options::read(driver, &options).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_refused_is_told_in_docker_s_words() {
        for (driver, options, text) in [
            (
                "json-file",
                [("x", "1")],
                "unknown log opt 'x' for json-file log driver",
            ),
            (
                "local",
                [("labels", "1")],
                "unknown log opt 'labels' for log driver local",
            ),
            (
                "syslog",
                [("foo", "foo")],
                "unknown log opt 'foo' for syslog log driver",
            ),
            (
                "journald",
                [("x", "1")],
                "unknown log opt 'x' for journald log driver",
            ),
            (
                "nix",
                [("x", "1")],
                "logger: no log driver named 'nix' is registered",
            ),
            (
                "gelf",
                [("x", "1")],
                "the log driver 'gelf' is not served by wharf",
            ),
            (
                "json-file",
                [("max-file", "0")],
                "failed to initialize logging driver: max-file cannot be less than 1",
            ),
            (
                "json-file",
                [("max-size", "x")],
                "failed to initialize logging driver: invalid size: 'x'",
            ),
            (
                "json-file",
                [("compress", "x")],
                "failed to initialize logging driver: strconv.ParseBool: parsing \"x\": invalid syntax",
            ),
            (
                "json-file",
                [("mode", "x")],
                "logger: logging mode not supported: x",
            ),
            (
                "json-file",
                [("max-buffer-size", "1m")],
                "logger: max-buffer-size option is only supported with 'mode=non-blocking'",
            ),
            (
                "json-file",
                [("cache-disabled", "x")],
                "invalid value for option cache-disabled: x",
            ),
            (
                "local",
                [("max-file", "1")],
                "failed to initialize logging driver: compression cannot be enabled when max file count is 1",
            ),
            (
                "syslog",
                [("syslog-address", "foo://127.0.0.1:1")],
                "syslog-address should be in form proto://address, got foo://127.0.0.1:1",
            ),
            (
                "syslog",
                [("syslog-facility", "foo")],
                "invalid syslog facility",
            ),
            (
                "syslog",
                [("syslog-format", "foo")],
                "Invalid syslog format",
            ),
        ] {
            assert_eq!(read(driver, &options), Err(text.to_owned()));
        }
    }

    #[test]
    fn files_have_a_bound_also_when_none_is_asked_for() {
        let rotation = |driver, options: &[(&str, &str)]| {
            let rotation = read(driver, options).expect("good options").rotation();
            rotation.map(|r| (r.max_size, r.max_files, r.compress))
        };
        assert_eq!(
            rotation("json-file", &[]),
            Some((Some(100_000_000), 5, false))
        );
        assert_eq!(
            rotation("json-file", &[("max-file", "3"), ("compress", "true")]),
            Some((Some(100_000_000), 3, true))
        );
        assert_eq!(
            rotation("json-file", &[("max-size", "1k")]),
            Some((Some(1000), 1, false))
        );
        assert_eq!(
            rotation("json-file", &[("max-size", "-1")]),
            Some((None, 1, false))
        );
        assert_eq!(rotation("local", &[]), Some((Some(20 << 20), 5, true)));
        assert_eq!(rotation("journald", &[]), Some((Some(20 << 20), 5, true)));
        assert_eq!(rotation("journald", &[("cache-disabled", "true")]), None);
        assert_eq!(rotation("none", &[]), None);
    }

    #[test]
    fn what_goes_without_saying_is_written_down() {
        let mut options = Given::new();
        Rotation::write_defaults("json-file", &mut options);
        let written = Options::read("json-file", &options).expect("defaults");
        assert_eq!(
            written.rotation(),
            read("json-file", &[]).expect("defaults").rotation()
        );
        assert_eq!(options.len(), 2);
    }

    #[test]
    fn addresses_of_syslog_daemons() {
        let address = |text| match read("syslog", &[("syslog-address", text)])?.driver {
            Driver::Syslog { address, .. } => Ok(address),
            other => Err(format!("{other:?}")),
        };
        let socket = |text: &str| text.parse().expect("an address");
        assert_eq!(address(""), Ok(Address::Local));
        assert_eq!(
            address("udp://127.0.0.1"),
            Ok(Address::Udp(socket("127.0.0.1:514")))
        );
        assert_eq!(
            address("tcp://localhost:99"),
            Ok(Address::Tcp(socket("127.0.0.1:99")))
        );
        assert_eq!(
            address("tcp://[::1]:99"),
            Ok(Address::Tcp(socket("[::1]:99")))
        );
        assert_eq!(
            address("udp://[::1]"),
            Ok(Address::Udp(socket("[::1]:514")))
        );
        assert!(address("tcp://loghost:1").is_err_and(|text| text.contains("IP address")));
        assert!(address("tcp+tls://1.2.3.4:1").is_err_and(|text| text.contains("not served")));
        let missing = [("syslog-address".to_owned(), "unix:///nonono".to_owned())];
        let missing = check("syslog", &missing.into()).expect_err("no socket there");
        assert!(missing.to_string().starts_with("stat /nonono: "));
    }
}
