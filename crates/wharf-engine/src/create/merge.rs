//! What a container runs: the request over the image's defaults, in Docker's way.

use std::collections::BTreeMap;

use wharf_oci::image::ContainerConfig as ImageDefaults;
use wharf_wire as wire;

use crate::error::Error;

/// Lays a request's configuration over its image's, and returns program and arguments.
pub(super) fn merge(
    config: &mut wire::ContainerConfig,
    image: &ImageDefaults,
) -> Result<Vec<String>, Error> {
    config.env = Some(merge_env(
        &image.env,
        config.env.as_deref().unwrap_or_default(),
    )?);
    let mut labels: BTreeMap<_, _> = image.labels.clone();
    labels.append(&mut config.labels.take().unwrap_or_default());
    config.labels = Some(labels);
    for port in image.exposed_ports.keys() {
        config
            .exposed_ports
            .entry(port.clone())
            .or_insert(wire::Empty);
    }
    let defaults = [
        (&mut config.user, &image.user),
        (&mut config.working_dir, &image.working_dir),
        (&mut config.stop_signal, &image.stop_signal),
    ];
    for (given, default) in defaults {
        if given.is_empty() {
            given.clone_from(default);
        }
    }
    if config.stop_timeout.is_none() {
        config.stop_timeout = image.stop_timeout;
    }
    if config.on_build.is_none() && !image.on_build.is_empty() {
        config.on_build = Some(image.on_build.clone());
    }
    crate::health::merge(&mut config.healthcheck, image.healthcheck.as_ref());
    merge_command(config, image)
}

/// An entry point that is given takes the image's arguments away; one empty word takes away the
/// image's entry point too.
fn merge_command(
    config: &mut wire::ContainerConfig,
    image: &ImageDefaults,
) -> Result<Vec<String>, Error> {
    let given = config
        .entrypoint
        .as_ref()
        .is_some_and(|entrypoint| !entrypoint.is_empty());
    if !given {
        if config.cmd.as_ref().is_none_or(|cmd| cmd.is_empty()) {
            config.cmd = image.cmd.clone().map(wire::Words);
        }
        if config.entrypoint.is_none() {
            config.entrypoint = image.entrypoint.clone().map(wire::Words);
        }
    }
    let reset = config
        .entrypoint
        .as_ref()
        .is_some_and(|words| *words.0 == [String::new()]);
    if reset {
        config.entrypoint = None;
    }
    let words = |words: &Option<wire::Words>| words.as_deref().unwrap_or_default().to_vec();
    let command = [words(&config.entrypoint), words(&config.cmd)].concat();
    if command.is_empty() {
        return Err(Error::invalid("no command specified"));
    }
    if command.iter().any(|word| word.contains('\0')) {
        return Err(Error::invalid("the command holds a zero byte"));
    }
    Ok(command)
}

/// The image's variables, then the request's; a name given again keeps its place. A name without
/// value takes the variable away.
fn merge_env(image: &[String], given: &[String]) -> Result<Vec<String>, Error> {
    let name = |entry: &str| entry.split('=').next().unwrap_or_default().to_owned();
    let mut env: Vec<String> = image.to_vec();
    for entry in given {
        let key = name(entry);
        if key.is_empty() || entry.contains('\0') {
            return Err(Error::invalid(format!(
                "invalid environment variable: {entry}"
            )));
        }
        let at = env.iter().position(|old| name(old) == key);
        match (at, entry.contains('=')) {
            (Some(at), true) => env[at].clone_from(entry),
            (None, true) => env.push(entry.clone()),
            (Some(at), false) => drop(env.remove(at)),
            (None, false) => {}
        }
    }
    Ok(env)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Option<Vec<String>> {
        Some(words.iter().map(|word| (*word).to_owned()).collect())
    }

    fn command(
        entrypoint: Option<Vec<String>>,
        cmd: Option<Vec<String>>,
    ) -> Result<Vec<String>, String> {
        let image = ImageDefaults {
            entrypoint: words(&["entry"]),
            cmd: words(&["default"]),
            ..Default::default()
        };
        let mut config = wire::ContainerConfig {
            entrypoint: entrypoint.map(wire::Words),
            cmd: cmd.map(wire::Words),
            ..Default::default()
        };
        merge(&mut config, &image).map_err(|error| error.to_string())
    }

    #[test]
    fn the_command_follows_dockers_rules() {
        for (entrypoint, cmd, expected) in [
            (None, None, &["entry", "default"][..]),
            (None, words(&["a"]), &["entry", "a"]),
            (words(&["mine"]), None, &["mine"]),
            (words(&["mine"]), words(&["a"]), &["mine", "a"]),
            (words(&[""]), words(&["a"]), &["a"]),
        ] {
            let found = command(entrypoint.clone(), cmd.clone());
            assert_eq!(found.ok(), words(expected), "{entrypoint:?} {cmd:?}");
        }
        assert_eq!(
            command(words(&[""]), None),
            Err("no command specified".to_owned())
        );
    }

    #[test]
    fn variables_are_replaced_in_place_and_taken_away() {
        let image = ["PATH=/bin".to_owned(), "A=1".to_owned()];
        let given = ["A=2".to_owned(), "B=x=y".to_owned(), "PATH".to_owned()];
        let env = merge_env(&image, &given).expect("env");
        assert_eq!(env, ["A=2", "B=x=y"]);
        assert!(merge_env(&[], &["=x".to_owned()]).is_err());
    }
}
