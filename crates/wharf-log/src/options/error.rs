//! Why an option is refused.

use std::path::PathBuf;

use wharf_types::size::SizeError;

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
    /// A pattern that is none.
    #[error("failed to initialize logging driver: error parsing regexp: {reason}: `{text}`")]
    Pattern {
        /// The pattern.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
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
