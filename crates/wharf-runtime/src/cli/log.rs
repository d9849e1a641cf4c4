//! Messages: as logrus writes them, because engines read the last line of the log for the reason of
//! a failure.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use super::args::LogFormat;

/// Where messages go.
#[derive(Debug)]
pub(super) struct Log {
    file: Option<File>,
    format: LogFormat,
    debug: bool,
}

impl Log {
    /// Opens the log.
    pub(super) fn open(path: Option<&Path>, format: LogFormat, debug: bool) -> io::Result<Self> {
        let open = |path| OpenOptions::new().create(true).append(true).open(path);
        Ok(Self {
            file: path.map(open).transpose()?,
            format,
            debug,
        })
    }

    /// A failure: to the log, and to standard error for whoever typed the command.
    pub(super) fn error(&self, message: &str) {
        self.write("error", message);
        if self.file.is_some() {
            Self::to_stderr(message);
        }
    }

    /// Something that was not done as asked.
    pub(super) fn warning(&self, message: &str) {
        self.write("warning", message);
    }

    /// Something for us.
    pub(super) fn debug(&self, message: &str) {
        if self.debug {
            self.write("debug", message);
        }
    }

    /// A line on standard error.
    pub(super) fn to_stderr(message: &str) {
        // There is nowhere left to report that this failed.
        match writeln!(io::stderr(), "{message}") {
            Ok(()) | Err(_) => {}
        }
    }

    fn write(&self, level: &str, message: &str) {
        let time = jiff::Timestamp::now();
        let line = match self.format {
            LogFormat::Json => {
                let text = serde_json::Value::from(message);
                format!(r#"{{"level":"{level}","msg":{text},"time":"{time:.0}"}}"#)
            }
            LogFormat::Text => {
                format!(r#"time="{time:.0}" level={level} msg={message:?}"#)
            }
        };
        match &self.file {
            Some(file) => {
                let mut file = file;
                if let Err(error) = writeln!(file, "{line}") {
                    Self::to_stderr(&format!("{line} (cannot write the log: {error})"));
                }
            }
            None => Self::to_stderr(&line),
        }
    }
}
