//! Dockerfile instructions that change an image's configuration, as `import --change` and
//! `commit --change` take them.
//!
//! The instructions are those Docker allows there: CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, ONBUILD,
//! STOPSIGNAL, USER, VOLUME, WORKDIR. Source: Dockerfile reference, "Overview" and each
//! instruction's section.

use wharf_oci::image::{ContainerConfig, Empty};

use crate::error::Error;

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
    if rest.is_empty() {
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
        _ => return Err(ChangeError::Unknown(instruction)),
    }
    Ok(())
}

/// The form of a JSON list is a program and its arguments; anything else is a line for the shell.
fn command(text: &str) -> Vec<String> {
    json_words(text).unwrap_or_else(|| vec!["/bin/sh".to_owned(), "-c".to_owned(), text.to_owned()])
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
        ] {
            assert!(apply(&mut config, line).is_err(), "{line}");
        }
        assert_eq!(config, ContainerConfig::default());
    }
}
