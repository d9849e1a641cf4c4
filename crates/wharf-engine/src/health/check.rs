//! A health check as it was configured.

use std::time::Duration;

use wharf_oci::image::Healthcheck;
use wharf_wire as wire;

use crate::error::Error;

const INTERVAL: Duration = Duration::from_secs(30);
const TIMEOUT: Duration = Duration::from_secs(30);
const START_INTERVAL: Duration = Duration::from_secs(5);
const RETRIES: i64 = 3;
/// Shortest duration that may be asked for, in nanoseconds.
const SHORTEST: i64 = 1_000_000;

/// How and when a container is probed, every default filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Check {
    pub(crate) command: Vec<String>,
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
    pub(crate) start_period: Duration,
    pub(crate) start_interval: Duration,
    pub(crate) retries: i64,
    pub(crate) on_failure: OnFailure,
}

/// What is done about a container that becomes unhealthy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnFailure {
    /// It is only told.
    Nothing,
    /// It is killed, and its restart policy decides.
    Kill,
    /// It is restarted.
    Restart,
    /// It is stopped.
    Stop,
}

impl OnFailure {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "" | "none" => Self::Nothing,
            "kill" => Self::Kill,
            "restart" => Self::Restart,
            "stop" => Self::Stop,
            _ => return None,
        })
    }
}

impl Check {
    /// Returns a container's check, if it has one.
    pub(crate) fn of(config: &wire::ContainerConfig) -> Option<Self> {
        let given = config.healthcheck.as_ref()?;
        let (kind, words) = given.test.split_first()?;
        let command = match kind.as_str() {
            "CMD" => words.to_vec(),
            "CMD-SHELL" => {
                let shell = config.shell.as_deref().filter(|shell| !shell.is_empty());
                let shell = shell.map_or_else(
                    || ["/bin/sh", "-c"].map(str::to_owned).to_vec(),
                    <[_]>::to_vec,
                );
                [&shell, words].concat()
            }
            _ => return None,
        };
        let or = |nanoseconds: i64, default: Duration| match u64::try_from(nanoseconds) {
            Ok(nanoseconds @ 1..) => Duration::from_nanos(nanoseconds),
            _ => default,
        };
        Some(Self {
            command,
            interval: or(given.interval, INTERVAL),
            timeout: or(given.timeout, TIMEOUT),
            start_period: or(given.start_period, Duration::ZERO),
            start_interval: or(given.start_interval, START_INTERVAL),
            retries: if given.retries > 0 {
                given.retries
            } else {
                RETRIES
            },
            on_failure: OnFailure::parse(&given.on_failure).unwrap_or(OnFailure::Nothing),
        })
    }
}

/// Checks what a request asks for.
pub(crate) fn validate(check: &wire::HealthConfig) -> Result<(), Error> {
    let refused = |text: String| Err(Error::invalid(text));
    let short = |nanoseconds: i64| nanoseconds != 0 && nanoseconds < SHORTEST;
    for (name, value) in [("Interval", check.interval), ("Timeout", check.timeout)] {
        if short(value) {
            return refused(format!("{name} in Healthcheck cannot be less than 1ms"));
        }
    }
    if check.retries < 0 {
        return refused("Retries in Healthcheck cannot be negative".to_owned());
    }
    for (name, value) in [
        ("StartPeriod", check.start_period),
        ("StartInterval", check.start_interval),
    ] {
        if short(value) {
            return refused(format!("{name} in Healthcheck cannot be less than 1ms"));
        }
    }
    match check.test.split_first() {
        None => {}
        Some((kind, words)) => match (kind.as_str(), words) {
            ("NONE", _) | ("CMD", [_, ..]) | ("CMD-SHELL", [_]) => {}
            ("CMD" | "CMD-SHELL", _) => {
                return refused(format!(
                    "the health check {kind} has no command of its form"
                ));
            }
            _ => {
                return refused(format!(
                    "unknown kind of health check '{kind}' (expected 'NONE', 'CMD' or 'CMD-SHELL')"
                ));
            }
        },
    }
    if OnFailure::parse(&check.on_failure).is_none() {
        return refused(format!(
            "unknown action '{}' on failure of the health check (expected 'none', 'kill', 'restart' or 'stop')",
            check.on_failure
        ));
    }
    Ok(())
}

/// Fills what a request leaves open from the image's check.
pub(crate) fn merge(given: &mut Option<wire::HealthConfig>, image: Option<&Healthcheck>) {
    let Some(image) = image else {
        return;
    };
    let check = given.get_or_insert_default();
    if check.test.is_empty() {
        check.test = image.test.clone().unwrap_or_default();
    }
    for (given, default) in [
        (&mut check.interval, image.interval),
        (&mut check.timeout, image.timeout),
        (&mut check.start_period, image.start_period),
        (&mut check.start_interval, image.start_interval),
        (&mut check.retries, image.retries),
    ] {
        if *given == 0 {
            *given = default;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(check: wire::HealthConfig) -> wire::ContainerConfig {
        wire::ContainerConfig {
            healthcheck: Some(check),
            ..Default::default()
        }
    }

    fn test(words: &[&str]) -> wire::HealthConfig {
        wire::HealthConfig {
            test: words.iter().map(|word| (*word).to_owned()).collect(),
            ..Default::default()
        }
    }

    #[test]
    fn a_shell_form_gets_the_shell() {
        let command = |config: &wire::ContainerConfig| Check::of(config).map(|check| check.command);
        let words =
            |words: &[&str]| Some(words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>());
        assert_eq!(
            command(&config(test(&["CMD-SHELL", "a b"]))),
            words(&["/bin/sh", "-c", "a b"])
        );
        assert_eq!(
            command(&config(test(&["CMD", "a", "b"]))),
            words(&["a", "b"])
        );
        let own = wire::ContainerConfig {
            shell: Some(wire::Words(vec!["/bin/ash".to_owned(), "-ec".to_owned()])),
            ..config(test(&["CMD-SHELL", "a"]))
        };
        assert_eq!(command(&own), words(&["/bin/ash", "-ec", "a"]));
        assert_eq!(command(&config(test(&["NONE"]))), None);
        assert_eq!(command(&config(test(&[]))), None);
    }

    #[test]
    fn nonsense_is_refused_by_name() {
        for (check, expected) in [
            (
                wire::HealthConfig {
                    interval: 5,
                    ..test(&["CMD", "a"])
                },
                "Interval in Healthcheck cannot be less than 1ms",
            ),
            (
                wire::HealthConfig {
                    retries: -1,
                    ..test(&["CMD", "a"])
                },
                "Retries in Healthcheck cannot be negative",
            ),
            (
                test(&["EXEC", "a"]),
                "unknown kind of health check 'EXEC' (expected 'NONE', 'CMD' or 'CMD-SHELL')",
            ),
            (
                test(&["CMD"]),
                "the health check CMD has no command of its form",
            ),
        ] {
            let error = validate(&check).expect_err("refused");
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn the_image_fills_the_gaps() {
        let image = Healthcheck {
            test: Some(vec!["CMD".to_owned(), "probe".to_owned()]),
            interval: 7_000_000_000,
            retries: 9,
            ..Default::default()
        };
        let mut given = Some(wire::HealthConfig {
            retries: 1,
            ..Default::default()
        });
        merge(&mut given, Some(&image));
        let expected = wire::HealthConfig {
            interval: 7_000_000_000,
            retries: 1,
            ..test(&["CMD", "probe"])
        };
        assert_eq!(given, Some(expected));
        let mut none = Some(test(&["NONE"]));
        merge(&mut none, Some(&image));
        assert_eq!(Check::of(&config(none.expect("given"))), None);
    }
}
