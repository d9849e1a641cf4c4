//! Health checks: the `--health-…` flags joined into one.

use std::time::Duration;

use wharf_wire::HealthConfig;

use super::duration;
use crate::grammar::Invalid;

/// The `--health-…` flags.
#[derive(Debug, Default)]
pub(crate) struct HealthArguments {
    pub(crate) command: Option<String>,
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
    pub(crate) start_period: Duration,
    pub(crate) start_interval: Duration,
    pub(crate) retries: i64,
    pub(crate) on_failure: String,
    pub(crate) disabled: bool,
    /// The first flag that was given a negative time.
    negative: Option<&'static str>,
}

/// Flags that exclude each other, or numbers out of their range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HealthError {
    /// Both kinds of flags.
    #[error("--no-healthcheck conflicts with --health-* options")]
    Conflict,
    /// Less than no time.
    #[error("--{0} cannot be negative")]
    Negative(&'static str),
    /// Less than no retries.
    #[error("--health-retries cannot be negative")]
    Retries,
}

impl HealthArguments {
    /// Reads a flag's time. That it is negative is told when the whole line is known.
    pub(crate) fn time(&mut self, flag: &'static str, text: &str) -> Result<Duration, Invalid> {
        match text.strip_prefix('-').map(duration::parse) {
            Some(Ok(_)) => {
                self.negative.get_or_insert(flag);
                Ok(Duration::ZERO)
            }
            _ => Ok(duration::parse(text)?),
        }
    }

    /// Returns the check, if any flag asks for one.
    pub(crate) fn resolve(&self) -> Result<Option<HealthConfig>, HealthError> {
        let nanoseconds = |time: Duration| i64::try_from(time.as_nanos()).unwrap_or(i64::MAX);
        let check = HealthConfig {
            test: self
                .command
                .iter()
                .flat_map(|command| ["CMD-SHELL".to_owned(), command.clone()])
                .collect(),
            interval: nanoseconds(self.interval),
            timeout: nanoseconds(self.timeout),
            start_period: nanoseconds(self.start_period),
            start_interval: nanoseconds(self.start_interval),
            retries: self.retries,
            on_failure: self.on_failure.clone(),
        };
        if let Some(flag) = self.negative {
            return Err(HealthError::Negative(flag));
        }
        if self.retries < 0 {
            return Err(HealthError::Retries);
        }
        let asked = check != HealthConfig::default();
        match (self.disabled, asked) {
            (true, true) => Err(HealthError::Conflict),
            (true, false) => Ok(Some(HealthConfig {
                test: vec!["NONE".to_owned()],
                ..HealthConfig::default()
            })),
            (false, true) => Ok(Some(check)),
            (false, false) => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_check_and_a_check_exclude_each_other() {
        let mut arguments = HealthArguments::default();
        assert_eq!(arguments.resolve(), Ok(None));
        arguments.command = Some("true".to_owned());
        arguments.interval = Duration::from_secs(1);
        let check = arguments.resolve().expect("good").expect("a check");
        assert_eq!(
            (check.test, check.interval),
            (
                vec!["CMD-SHELL".to_owned(), "true".to_owned()],
                1_000_000_000
            )
        );
        arguments.disabled = true;
        assert_eq!(arguments.resolve(), Err(HealthError::Conflict));
    }
}
