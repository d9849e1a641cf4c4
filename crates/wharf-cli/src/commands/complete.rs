//! What a line may go on with: the answer the shells' scripts ask for.
//!
//! Given the words up to the one that is being typed, it prints what that one may become, each with what it means behind
//! a tab. Names of containers and the like are the engine's; an engine that does not run is not started for that,
//! and what goes wrong is not told, since the user is in the middle of a line.

use std::time::Duration;

use serde_json::Value;

use super::table::{self, COMMANDS, GROUPS};
use super::{AnyCommand, GLOBALS, completion};
use crate::client::{Client, Manner};
use crate::failure::Failure;
use crate::grammar::{HelpEntry, Line};
use crate::printer::Printer;
use crate::program::Program;
use crate::settings::contexts::Store;
use crate::settings::{Choice, Config, Credentials, Host, config};

/// The word the scripts ask by.
pub(super) const COMMAND: &str = "__complete";

/// How long an engine may take to tell its names.
const PATIENCE: Duration = Duration::from_secs(2);

/// A word, and what it means.
type Candidate = (String, String);

/// Answers for the words typed; the last one is not finished.
pub(super) fn run(program: Program, words: &[String]) -> Result<u8, Failure> {
    let mut text = String::new();
    if let Some((current, before)) = words.split_last() {
        let current = current.trim_matches('"');
        let mut candidates = candidates(program, before, current);
        candidates.retain(|(word, _)| word.starts_with(current));
        candidates.sort();
        candidates.dedup();
        for (word, about) in candidates {
            text.push_str(&format!("{word}\t{about}\n"));
        }
    }
    Printer.data(text.as_bytes())?;
    Ok(0)
}

fn candidates(program: Program, before: &[String], current: &str) -> Vec<Candidate> {
    let globals = GLOBALS.help_entries();
    let (choice, directory, rest) = match GLOBALS.parse(before) {
        Ok(Line::Arguments(mut globals, words)) => {
            globals.choice.host = globals.hosts.pop();
            let directory = config::directory(globals.config.as_deref());
            (globals.choice, directory, words)
        }
        // A flag before the command waits for its value.
        _ => return Vec::new(),
    };
    let engine = Engine {
        program,
        choice,
        directory,
    };
    let Some(first) = rest.first() else {
        if current.starts_with('-') {
            return flags(&globals);
        }
        return roots();
    };
    let (command, arguments) = if table::group(first).is_some() {
        match rest.get(1) {
            None => return members(first),
            Some(word) => (table::find(&format!("{first} {word}")), &rest[2..]),
        }
    } else {
        (table::find(first), &rest[1..])
    };
    let Some((command, _)) = command else {
        return Vec::new();
    };
    of_command(command, arguments, current, &engine)
}

/// The words a line may begin with.
fn roots() -> Vec<Candidate> {
    let groups = GROUPS
        .iter()
        .map(|group| (group.name.to_owned(), group.about.to_owned()));
    let plain = COMMANDS.iter().flat_map(|command| {
        let names = command.names().iter().filter(|name| !name.contains(' '));
        names.map(|name| ((*name).to_owned(), command.about().to_owned()))
    });
    groups.chain(plain).collect()
}

/// The commands of a group.
fn members(group: &str) -> Vec<Candidate> {
    let of_group = |command: &&&dyn AnyCommand| !table::is_hidden(command.names());
    COMMANDS
        .iter()
        .filter(of_group)
        .filter_map(|command| {
            let name = command.names().first()?.strip_prefix(group)?;
            Some((
                name.strip_prefix(' ')?.to_owned(),
                command.about().to_owned(),
            ))
        })
        .collect()
}

fn flags(entries: &[HelpEntry]) -> Vec<Candidate> {
    entries
        .iter()
        .map(|entry| (format!("--{}", entry.long), entry.about.clone()))
        .collect()
}

fn of_command(
    command: &dyn AnyCommand,
    arguments: &[String],
    current: &str,
    engine: &Engine,
) -> Vec<Candidate> {
    let entries = command.entries();
    let takes_value = |word: &str| {
        entries.iter().find(|entry| {
            !entry.kind.is_empty()
                && (word.strip_prefix("--") == Some(entry.long)
                    || word.strip_prefix('-').is_some_and(|letters| {
                        !letters.starts_with('-') && letters.chars().last() == entry.short
                    }))
        })
    };
    if let Some(entry) = arguments.last().and_then(|word| takes_value(word)) {
        return values(entry.long, engine);
    }
    if current.starts_with('-') {
        return flags(&entries);
    }
    let mut positional = 0;
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        if takes_value(word).is_some() {
            words.next();
        } else if !word.starts_with('-') {
            positional += 1;
        }
    }
    subjects(command, positional, engine)
}

/// The values of a flag that has only some.
fn values(flag: &str, engine: &Engine) -> Vec<Candidate> {
    let words: &[&str] = match flag {
        "pull" => &["always", "missing", "never"],
        "platform" => &PLATFORMS,
        "restart" => &["no", "always", "on-failure", "unless-stopped"],
        "log-driver" => &["json-file", "local", "journald", "syslog", "none"],
        "network" => &["bridge", "host", "none"],
        "type" => &["container", "image", "network", "volume"],
        "volumes-from" => return engine.containers(true),
        _ => &[],
    };
    words
        .iter()
        .map(|word| ((*word).to_owned(), String::new()))
        .collect()
}

/// Platforms that images are made for.
const PLATFORMS: [&str; 9] = [
    "linux/386",
    "linux/amd64",
    "linux/arm",
    "linux/arm/v6",
    "linux/arm/v7",
    "linux/arm64",
    "linux/ppc64le",
    "linux/riscv64",
    "linux/s390x",
];

/// What a command is about, as its usage line has it.
fn subjects(command: &dyn AnyCommand, position: usize, engine: &Engine) -> Vec<Candidate> {
    let usage = command.usage();
    let names = command.names();
    let repeats = usage.contains("...]") && !usage.contains("[ARG...]");
    if position > 0 && !repeats {
        return Vec::new();
    }
    if usage.contains("bash|zsh") {
        let shells = completion::SHELLS.iter();
        return shells
            .map(|(shell, _)| ((*shell).to_owned(), String::new()))
            .collect();
    }
    let stopped_too = [
        "start", "rm", "inspect", "logs", "rename", "diff", "export", "cp", "commit", "update",
    ];
    let all =
        names.iter().any(|name| stopped_too.contains(name)) || names.contains(&"container inspect");
    let mut found = Vec::new();
    let word = usage.trim_start_matches("[OPTIONS] ");
    if word.starts_with("CONTAINER") || word.starts_with("[CONTAINER") {
        found.extend(engine.containers(all));
    } else if names.contains(&"logout") {
        found.extend(engine.registries());
    } else if names.contains(&"push")
        || word.starts_with("IMAGE")
        || word.starts_with("SOURCE_IMAGE")
    {
        found.extend(engine.images());
    } else if word.starts_with("VOLUME") {
        found.extend(engine.volumes());
    } else if names.iter().any(|name| name.starts_with("context ")) {
        found.extend(engine.contexts());
    } else if word.starts_with("NAME|ID") {
        found.extend(engine.containers(true));
        found.extend(engine.images());
    }
    found
}

/// The engine that is asked for names, if it runs.
struct Engine {
    program: Program,
    choice: Choice,
    directory: std::path::PathBuf,
}

impl Engine {
    fn ask(&self, path: &str) -> Option<Value> {
        let config = Config::load(&self.directory).unwrap_or_default();
        let mut host = Host::resolve(&self.choice, &config, &self.directory).ok()?;
        host.chosen = true;
        let client = Client::new(host, self.program, Manner::default());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .ok()?;
        runtime
            .block_on(async { tokio::time::timeout(PATIENCE, client.get(path)).await })
            .ok()?
            .ok()
    }

    fn containers(&self, all: bool) -> Vec<Candidate> {
        let path = if all {
            "/containers/json?all=1"
        } else {
            "/containers/json"
        };
        let answer = self.ask(path).unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        answer
            .as_array()
            .into_iter()
            .flatten()
            .map(|container| {
                let name = text(&container["Names"][0]);
                let about = format!(
                    "{} ({})",
                    text(&container["Image"]),
                    text(&container["Status"])
                );
                (name.trim_start_matches('/').to_owned(), about)
            })
            .collect()
    }

    fn images(&self) -> Vec<Candidate> {
        let answer = self.ask("/images/json").unwrap_or_default();
        answer
            .as_array()
            .into_iter()
            .flatten()
            .flat_map(|image| image["RepoTags"].as_array().cloned().unwrap_or_default())
            .filter_map(|tag| Some((tag.as_str()?.to_owned(), String::new())))
            .collect()
    }

    fn volumes(&self) -> Vec<Candidate> {
        let answer = self.ask("/volumes").unwrap_or_default();
        answer["Volumes"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|volume| {
                let driver = volume["Driver"].as_str().unwrap_or_default();
                Some((volume["Name"].as_str()?.to_owned(), driver.to_owned()))
            })
            .collect()
    }

    /// Where the user is logged in, as far as the configuration tells.
    fn registries(&self) -> Vec<Candidate> {
        let credentials = Credentials::load(&self.directory);
        let servers = credentials.map(|credentials| credentials.servers());
        let servers = servers.unwrap_or_default().into_iter();
        servers.map(|server| (server, String::new())).collect()
    }

    fn contexts(&self) -> Vec<Candidate> {
        let contexts = Store::new(&self.directory).list().unwrap_or_default();
        contexts
            .into_iter()
            .map(|meta| (meta.name, meta.metadata.description))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let current = words.pop().unwrap_or_default();
        let host = ["--host", "unix:///nonexistent/sock"].map(str::to_owned);
        let before: Vec<String> = host.into_iter().chain(words).collect();
        let mut found: Vec<String> = candidates(Program::Wharf, &before, &current)
            .into_iter()
            .map(|(word, _)| word)
            .filter(|word| word.starts_with(&current))
            .collect();
        found.sort();
        found
    }

    #[test]
    fn a_line_goes_on_with_commands_then_flags_then_names() {
        assert_eq!(words("ru"), ["run"]);
        assert!(words("").contains(&"container".to_owned()));
        assert_eq!(words("container ren"), ["rename"]);
        assert!(words("system ").contains(&"df".to_owned()));
        assert!(!words("system ").contains(&"dial-stdio".to_owned()));
        assert_eq!(words("run --cap-"), ["--cap-add", "--cap-drop"]);
        assert_eq!(words("run -it --pull m"), ["missing"]);
        assert_eq!(
            words("run --restart=always --pull "),
            ["always", "missing", "never"]
        );
        assert_eq!(words("completion z"), ["zsh"]);
        assert_eq!(words("manifest an"), ["annotate"]);
        assert_eq!(
            words("login --password"),
            ["--password", "--password-stdin"]
        );
        assert_eq!(words("pull --platform linux/arm64"), ["linux/arm64"]);
        // No engine runs there.
        assert_eq!(words("rm "), Vec::<String>::new());
        assert_eq!(words("nosuch "), Vec::<String>::new());
    }

    #[test]
    fn the_scripts_ask_the_program() {
        for (shell, script) in completion::SHELLS {
            assert!(
                script.contains("__complete") && script.contains("NAME"),
                "{shell}"
            );
        }
    }
}
