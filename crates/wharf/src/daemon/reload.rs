//! Settings read again while the engine runs.
//!
//! What may change without a restart counts from then on; what may not is named in the log and stays. A file with an
//! error changes nothing. Every reload that counts is an event.

use sd_notify::NotifyState;
use wharf_engine::Engine;

use super::flags::Given;
use super::log::Log;
use super::settings::Settings;
use super::values::Values;

/// What it takes to read the settings again.
pub(super) struct Reloading {
    given: Given,
    /// The values that were read last.
    values: Values,
    log: Log,
}

impl Reloading {
    pub(super) fn new(given: Given, values: Values, log: Log) -> Self {
        Self { given, values, log }
    }

    /// Reads the settings again.
    pub(super) fn reload(&mut self, engine: &Engine) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => super::tell(&[NotifyState::Reloading, now]),
            Err(error) => tracing::warn!(%error, "there is no clock"),
        }
        match Settings::resolve(&self.given) {
            Ok(settings) => self.apply(settings, engine),
            Err(error) => {
                let error = anyhow::Error::from(error);
                tracing::error!("the settings stay as they are: {error:#}");
            }
        }
        super::tell(&[NotifyState::Ready]);
    }

    fn apply(&mut self, settings: Settings, engine: &Engine) {
        let mut restart = Vec::new();
        for key in self.values.differing(&settings.values) {
            if key.live {
                tracing::info!(setting = key.name, "a setting has changed");
            } else {
                restart.push(key.name);
            }
        }
        if !restart.is_empty() {
            let settings = restart.join(", ");
            tracing::warn!(
                settings,
                "these settings change when the engine is restarted"
            );
        }
        self.log.set_level(settings.log_level);
        engine.reload(settings.engine.defaults);
        self.values = settings.values;
        tracing::info!("the settings have been read again");
    }
}
