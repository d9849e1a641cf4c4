//! Dockerfile instructions that change an image's configuration, as `import --change` and
//! `commit --change` take them.
//!
//! The instructions are those Docker allows there: CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL,
//! ONBUILD, STOPSIGNAL, USER, VOLUME, WORKDIR. Source: Dockerfile reference, "Overview" and each
//! instruction's section.

use wharf_oci::image::{ContainerConfig, Empty, Healthcheck};

use crate::error::Error;

/// The instructions that change a configuration.
const INSTRUCTIONS: [&str; 11] = [
    "CMD",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "HEALTHCHECK",
    "LABEL",
    "ONBUILD",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// An instruction that was not applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum ChangeError {
    /// It is not an instruction, or none that changes a configuration.
    #[error("{0} is not a valid change command")]
    Unknown(String),
    /// It lacks its arguments.
    #[error("{0} requires at least one argument")]
    Empty(String),
    /// Its arguments are not what it takes.
    #[error("cannot apply {instruction} {arguments:?}: {reason}")]
    Arguments {
        instruction: &'static str,
        arguments: String,
        reason: &'static str,
    },
}

/// Applies instructions, one after the other.
pub(crate) fn apply_all(config: &mut ContainerConfig, lines: &[String]) -> Result<(), Error> {
    for line in lines {
        apply(config, line).map_err(|error| Error::invalid(error.to_string()))?;
    }
    Ok(())
}

/// Applies one instruction.
fn apply(config: &mut ContainerConfig, line: &str) -> Result<(), ChangeError> {
    let line = line.trim();
    let (instruction, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let rest = rest.trim();
    let instruction = instruction.to_ascii_uppercase();
    if rest.is_empty() && INSTRUCTIONS.contains(&instruction.as_str()) {
        return Err(ChangeError::Empty(instruction));
    }
    match instruction.as_str() {
        "CMD" => config.cmd = Some(command(rest)),
        "ENTRYPOINT" => config.entrypoint = Some(command(rest)),
        "ENV" => {
            for (key, value) in pairs("ENV", rest)? {
                let prefix = format!("{key}=");
                config.env.retain(|known| !known.starts_with(&prefix));
                config.env.push(prefix + &value);
            }
        }
        "HEALTHCHECK" => config.healthcheck = Some(healthcheck(rest)?),
        "EXPOSE" => {
            for port in rest.split_whitespace() {
                config.exposed_ports.insert(exposed(port)?, Empty {});
            }
        }
        "LABEL" => config.labels.extend(pairs("LABEL", rest)?),
        "ONBUILD" => config.on_build.push(rest.to_owned()),
        "STOPSIGNAL" => config.stop_signal = rest.to_owned(),
        "USER" => config.user = rest.to_owned(),
        "VOLUME" => {
            let paths = json_words(rest);
            let paths =
                paths.unwrap_or_else(|| rest.split_whitespace().map(str::to_owned).collect());
            config
                .volumes
                .extend(paths.into_iter().map(|path| (path, Empty {})));
        }
        "WORKDIR" => config.working_dir = working_dir(&config.working_dir, rest),
        _ => return Err(ChangeError::Unknown(instruction.to_ascii_lowercase())),
    }
    Ok(())
}

/// The form of a JSON list is a program and its arguments; anything else is a line for the shell.
fn command(text: &str) -> Vec<String> {
    json_words(text).unwrap_or_else(|| vec!["/bin/sh".to_owned(), "-c".to_owned(), text.to_owned()])
}

/// `NONE`, or options, `CMD` and the two forms of a command.
fn healthcheck(text: &str) -> Result<Healthcheck, ChangeError> {
    let refused = |reason| ChangeError::Arguments {
        instruction: "HEALTHCHECK",
        arguments: text.to_owned(),
        reason,
    };
    let mut check = Healthcheck::default();
    let mut rest = text;
    loop {
        let (word, more) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        let more = more.trim_start();
        let Some(option) = word.strip_prefix("--") else {
            check.test = Some(match word.to_ascii_uppercase().as_str() {
                "NONE" if more.is_empty() => vec!["NONE".to_owned()],
                "NONE" => return Err(refused("NONE takes no arguments")),
                "CMD" if more.is_empty() => return Err(refused("CMD needs a command")),
                "CMD" => match json_words(more) {
                    Some(words) => [vec!["CMD".to_owned()], words].concat(),
                    None => vec!["CMD-SHELL".to_owned(), more.to_owned()],
                },
                _ => return Err(refused("it is CMD or NONE")),
            });
            return Ok(check);
        };
        let (name, value) = option
            .split_once('=')
            .ok_or_else(|| refused("an option has no value"))?;
        let duration = || {
            let duration = value.parse::<jiff::SignedDuration>().ok();
            duration
                .and_then(|duration| i64::try_from(duration.as_nanos()).ok())
                .filter(|nanoseconds| *nanoseconds >= 1_000_000 || *nanoseconds == 0)
                .ok_or_else(|| refused("a duration is not one, or less than 1ms"))
        };
        match name {
            "interval" => check.interval = duration()?,
            "timeout" => check.timeout = duration()?,
            "start-period" => check.start_period = duration()?,
            "start-interval" => check.start_interval = duration()?,
            "retries" => {
                let retries = value.parse().ok().filter(|retries| *retries >= 0);
                check.retries = retries.ok_or_else(|| refused("the retries are no number"))?;
            }
            _ => return Err(refused("an option is unknown")),
        }
        rest = more;
    }
}

fn json_words(text: &str) -> Option<Vec<String>> {
    text.starts_with('[')
        .then(|| serde_json::from_str(text).ok())
        .flatten()
}

fn working_dir(current: &str, given: &str) -> String {
    if given.starts_with('/') {
        return given.to_owned();
    }
    format!("{}/{given}", current.trim_end_matches('/'))
}

fn exposed(port: &str) -> Result<String, ChangeError> {
    let (number, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    let holds = number
        .split('-')
        .all(|number| number.parse::<u16>().is_ok_and(|n| n > 0))
        && number.split('-').count() <= 2
        && matches!(protocol.as_str(), "tcp" | "udp" | "sctp");
    let refused = ChangeError::Arguments {
        instruction: "EXPOSE",
        arguments: port.to_owned(),
        reason: "invalid containerPort",
    };
    holds.then(|| format!("{number}/{protocol}")).ok_or(refused)
}

/// `key=value …` with quotes and backslashes, or the old form `key the rest`.
fn pairs(instruction: &'static str, text: &str) -> Result<Vec<(String, String)>, ChangeError> {
    let refused = |reason| ChangeError::Arguments {
        instruction,
        arguments: text.to_owned(),
        reason,
    };
    let first = text.split_whitespace().next().unwrap_or_default();
    if !first.contains('=') {
        let (key, value) = text
            .split_once(char::is_whitespace)
            .ok_or_else(|| refused("it must have two arguments"))?;
        return Ok(vec![(key.to_owned(), value.trim().to_owned())]);
    }
    let words = words(text).ok_or_else(|| refused("a quote is not closed"))?;
    words
        .into_iter()
        .map(|word| match word.split_once('=') {
            Some(("", _)) => Err(refused("a name is empty")),
            Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
            None => Err(refused("expected key=value")),
        })
        .collect()
}

/// Splits at blanks outside of quotes, and takes quotes and backslashes away.
fn words(text: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        match (c, quote) {
            ('\\', Some('"') | None) => {
                word.get_or_insert_default().extend(characters.next());
            }
            (c, Some(open)) if c == open => quote = None,
            ('"' | '\'', None) => {
                word.get_or_insert_default();
                quote = Some(c);
            }
            (c, None) if c.is_whitespace() => words.extend(word.take()),
            (c, _) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(lines: &[&str]) -> ContainerConfig {
        let mut config = ContainerConfig::default();
        for line in lines {
            apply(&mut config, line).expect(line);
        }
        config
    }

    #[test]
    fn commands_have_two_forms() {
        let config = applied(&[r#"CMD ["a", "b c"]"#, "entrypoint a b"]);
        assert_eq!(config.cmd.expect("cmd"), ["a", "b c"]);
        assert_eq!(
            config.entrypoint.expect("entry point"),
            ["/bin/sh", "-c", "a b"]
        );
    }

    #[test]
    fn variables_and_labels() {
        let config = applied(&[
            r#"ENV A=1 B="two words" C=th\ ree"#,
            "ENV A 1 2",
            "LABEL x=y",
            "LABEL x='z'",
        ]);
        assert_eq!(config.env, ["B=two words", "C=th ree", "A=1 2"]);
        assert_eq!(config.labels["x"], "z");
    }

    #[test]
    fn ports_volumes_directories() {
        let config = applied(&[
            "EXPOSE 80 53/UDP 7000-7010/tcp",
            r#"VOLUME ["/a"]"#,
            "VOLUME /b /c",
            "WORKDIR /x",
            "WORKDIR y",
            "USER 1:2",
            "STOPSIGNAL SIGINT",
        ]);
        let ports: Vec<_> = config.exposed_ports.keys().map(String::as_str).collect();
        assert_eq!(ports, ["53/udp", "7000-7010/tcp", "80/tcp"]);
        assert_eq!(
            config.volumes.keys().collect::<Vec<_>>(),
            ["/a", "/b", "/c"]
        );
        assert_eq!(
            (config.working_dir.as_str(), config.user.as_str()),
            ("/x/y", "1:2")
        );
        assert_eq!(config.stop_signal, "SIGINT");
    }

    #[test]
    fn health_checks() {
        let config = applied(&["HEALTHCHECK --interval=5s --retries=2 CMD curl -f x"]);
        let check = config.healthcheck.expect("check");
        assert_eq!((check.interval, check.retries), (5_000_000_000, 2));
        assert_eq!(check.test.expect("test"), ["CMD-SHELL", "curl -f x"]);
        let config = applied(&[r#"healthcheck cmd ["a", "b"]"#]);
        let test = config.healthcheck.and_then(|check| check.test);
        assert_eq!(test.expect("test"), ["CMD", "a", "b"]);
        let config = applied(&["HEALTHCHECK NONE"]);
        let test = config.healthcheck.and_then(|check| check.test);
        assert_eq!(test.expect("test"), ["NONE"]);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let mut config = ContainerConfig::default();
        for line in [
            "RUN x",
            "CMD",
            "",
            "ENV A",
            "ENV =x",
            "ENV A=\"x",
            "EXPOSE 0",
            "EXPOSE a",
            "EXPOSE 1-2-3",
            "HEALTHCHECK x",
            "HEALTHCHECK CMD",
            "HEALTHCHECK NONE x",
            "HEALTHCHECK --interval CMD x",
            "HEALTHCHECK --interval=1 CMD x",
            "HEALTHCHECK --bogus=1 CMD x",
        ] {
            assert!(apply(&mut config, line).is_err(), "{line}");
        }
        assert_eq!(config, ContainerConfig::default());
    }
}
