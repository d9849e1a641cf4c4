//! The engine's log: where it goes, and how much of it.

use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Registry, fmt, reload};

use super::settings::LogFormat;

/// Changes how much is logged.
pub(super) struct Log(reload::Handle<LevelFilter, Registry>);

impl Log {
    pub(super) fn set_level(&self, level: LevelFilter) {
        if let Err(error) = self.0.reload(level) {
            tracing::error!(%error, "the log level could not be changed");
        }
    }
}

/// Begins to log, to standard error.
pub(super) fn begin(format: LogFormat, level: LevelFilter) -> Log {
    let (filter, handle) = reload::Layer::new(level);
    let lines = fmt::layer().with_writer(std::io::stderr).with_ansi(false);
    let registry = tracing_subscriber::registry().with(filter);
    match format {
        LogFormat::Text => registry.with(lines).init(),
        LogFormat::Json => registry.with(lines.json().flatten_event(true)).init(),
    }
    Log(handle)
}
