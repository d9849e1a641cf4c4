//! The commands and how a line finds its own.

mod account;
mod api_socket;
mod attach;
mod attended;
mod commit;
mod complete;
mod completion;
mod content_trust;
mod contexts;
mod cp;
mod create;
mod dial_stdio;
mod diff;
mod each;
mod events;
mod exec;
mod export;
mod help;
mod history;
mod image_inspect;
mod image_prune;
mod images;
mod import;
mod info;
mod inspect;
mod kill;
mod load;
mod login;
mod logout;
mod logs;
mod manifest;
mod pause;
mod port;
mod prune;
mod ps;
mod pull;
mod push;
mod registry_client;
mod rename;
mod restart;
mod rm;
mod rmi;
mod run;
mod save;
mod search;
mod start;
mod stats;
mod stop;
mod system_df;
mod table;
mod tag;
mod top;
mod update;
mod version;
mod volumes;
mod wait;

use std::cell::OnceCell;
use std::path::PathBuf;

use crate::client::{Client, Manner};
use crate::environment;
use crate::failure::{Failure, chain};
use crate::grammar::{Arity, Demand, Flag, Grammar, HelpEntry, Line, UsageError, UsageProblem};
use crate::printer::Printer;
use crate::program::Program;
use crate::settings::{Choice, Config, Credentials, Host, config};

/// What a command's function has to work with.
pub(crate) struct Context {
    pub(crate) program: Program,
    /// The program and the command as typed.
    pub(crate) command: String,
    pub(crate) printer: Printer,
    globals: Globals,
    config: OnceCell<Config>,
    /// What the flags ask of the engine.
    demands: Vec<Demand>,
}

impl Context {
    /// The engine that is meant.
    pub(crate) fn host(&self) -> Result<Host, Failure> {
        Host::resolve(&self.globals.choice, self.config(), &self.directory())
            .map_err(|error| Failure::of(&error))
    }

    /// A client of it.
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        let host = self.host()?;
        let version = environment::read(environment::DOCKER_API_VERSION);
        let minor = version
            .as_deref()
            .and_then(|text| text.strip_prefix("1.")?.parse().ok());
        if let Some(refusal) = minor.and_then(|minor| {
            let mut demands = self.demands.iter();
            demands.find_map(|demand| demand.refusal(minor))
        }) {
            return Err(Failure::message(refusal));
        }
        let headers = self.config().http_headers.iter();
        Ok(Client::new(
            host,
            self.program,
            Manner {
                version,
                headers: headers
                    .map(|(name, value)| (name.clone(), value.clone()))
                    .collect(),
                demands: self.demands.clone(),
                trace: self.globals.debug,
            },
        ))
    }

    /// The directory of the user's configuration.
    pub(crate) fn directory(&self) -> PathBuf {
        config::directory(self.globals.config.as_deref())
    }

    /// The user's configuration; a broken one is told and counts as empty, as with Docker.
    pub(crate) fn config(&self) -> &Config {
        self.config.get_or_init(|| {
            Config::load(&self.directory()).unwrap_or_else(|error| {
                self.printer.note(&format!("WARNING: {}", chain(&error)));
                Config::default()
            })
        })
    }

    /// Who the user is at registries. Of a broken configuration [`Context::config`] tells, once.
    pub(crate) fn credentials(&self) -> Credentials {
        self.config();
        let directory = self.directory();
        Credentials::load(&directory).unwrap_or_else(|_| Credentials::none(&directory))
    }

    /// The flags that say which engine is meant.
    pub(crate) fn choice(&self) -> &Choice {
        &self.globals.choice
    }

    /// The keys to leave a container by: the flag's, else the configuration's.
    pub(crate) fn detach_keys<'a>(&'a self, flag: Option<&'a str>) -> Option<&'a str> {
        flag.or_else(|| Some(self.config().detach_keys.as_str()))
    }

    /// Runs what talks to the engine, on this thread.
    pub(crate) fn block_on<T>(
        &self,
        future: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::message(format!("cannot wait for the engine: {error}")))?;
        runtime.block_on(future)
    }

    /// How a command that makes containers fails: in the program's name, and with where to read more.
    pub(crate) fn refused(&self, text: &str, code: u8) -> Failure {
        Failure::with_code(
            format!("{}: {text}\n\n{}", self.program.name(), self.hint()),
            code,
        )
    }

    /// Where to read more about the command that was typed.
    pub(crate) fn hint(&self) -> String {
        format!("Run '{} --help' for more information", self.command)
    }
}

/// One command.
pub(crate) struct Command<A: 'static> {
    /// Its names, the grouped ones first: `container ls`, `container list`, `ps`.
    pub(crate) names: &'static [&'static str],
    pub(crate) about: &'static str,
    /// What follows the name in the usage line.
    pub(crate) usage: &'static str,
    pub(crate) grammar: Grammar<A>,
    pub(crate) run: fn(&Context, A, Vec<String>) -> Result<u8, Failure>,
}

/// A command, whatever its arguments.
pub(crate) trait AnyCommand: Sync {
    fn names(&self) -> &'static [&'static str];
    fn about(&self) -> &'static str;
    /// What follows the name in the usage line.
    fn usage(&self) -> &'static str;
    /// The flags it shows.
    fn entries(&self) -> Vec<HelpEntry>;
    fn help(&self, program: Program, name: &str) -> String;
    fn execute(
        &self,
        program: Program,
        globals: Globals,
        name: &str,
        arguments: &[String],
    ) -> Result<u8, Failure>;
}

impl<A: Default> AnyCommand for Command<A> {
    fn names(&self) -> &'static [&'static str] {
        self.names
    }

    fn about(&self) -> &'static str {
        self.about
    }

    fn usage(&self) -> &'static str {
        self.usage
    }

    fn entries(&self) -> Vec<HelpEntry> {
        self.grammar.help_entries()
    }

    fn help(&self, program: Program, name: &str) -> String {
        help::command(program, self, name)
    }

    fn execute(
        &self,
        program: Program,
        globals: Globals,
        name: &str,
        arguments: &[String],
    ) -> Result<u8, Failure> {
        let command = format!("{} {name}", program.name());
        let mut demands = Vec::new();
        match self.grammar.parse_noting(arguments, &mut demands) {
            Ok(Line::Help) => {
                Printer.data(self.help(program, name).as_bytes())?;
                Ok(0)
            }
            Ok(Line::Arguments(values, positional)) => (self.run)(
                &Context {
                    program,
                    command,
                    printer: Printer,
                    globals,
                    config: OnceCell::new(),
                    demands: heeded(demands)?,
                },
                values,
                positional,
            ),
            Err(problem) => {
                let usage = format!("{command} {}", self.usage).trim_end().to_owned();
                Err(Failure::Usage(UsageError {
                    problem,
                    command,
                    usage,
                }))
            }
        }
    }
}

/// The flags before the command.
#[derive(Debug, Default)]
pub(crate) struct Globals {
    hosts: Vec<String>,
    choice: Choice,
    config: Option<String>,
    debug: bool,
    log_level: String,
    version: bool,
}

type G = Flag<Globals>;

pub(crate) static GLOBALS: Grammar<Globals> = Grammar {
    flags: &[&[
        G::value("config", "string", "Location of client config files (default \"~/.docker\")", |a, v| {
            a.config = Some(v.to_owned());
            Ok(())
        }),
        G::value(
            "context",
            "string",
            "Name of the context to use to connect to the daemon (overrides DOCKER_HOST env var and default context set with \"docker context use\")",
            |a, v| {
                a.choice.context = Some(v.to_owned());
                Ok(())
            },
        )
        .short('c'),
        G::switch("debug", "Enable debug mode", |a, on| a.debug = on).short('D'),
        G::value("host", "list", "Daemon socket to connect to", |a, v| {
            a.hosts.push(v.to_owned());
            Ok(())
        })
        .short('H'),
        G::value(
            "log-level",
            "string",
            "Set the logging level (\"debug\", \"info\", \"warn\", \"error\", \"fatal\")",
            |a, v| {
                v.clone_into(&mut a.log_level);
                Ok(())
            },
        )
        .short('l')
        .default("\"info\""),
        G::switch("tls", "Use TLS; implied by --tlsverify", |a, on| a.choice.tls.tls = on),
        G::value(
            "tlscacert",
            "string",
            "Trust certs signed only by this CA (default \"~/.docker/ca.pem\")",
            |a, v| {
                a.choice.tls.ca = Some(v.to_owned());
                Ok(())
            },
        ),
        G::value(
            "tlscert",
            "string",
            "Path to TLS certificate file (default \"~/.docker/cert.pem\")",
            |a, v| {
                a.choice.tls.certificate = Some(v.to_owned());
                Ok(())
            },
        ),
        G::value(
            "tlskey",
            "string",
            "Path to TLS key file (default \"~/.docker/key.pem\")",
            |a, v| {
                a.choice.tls.key = Some(v.to_owned());
                Ok(())
            },
        ),
        G::switch("tlsverify", "Use TLS and verify the remote", |a, on| {
            a.choice.tls.verify = Some(on);
        }),
        G::switch("version", "Print version information and quit", |a, on| {
            a.version = on;
        })
        .short('v'),
    ]],
    interspersed: false,
    arity: Arity::AtLeast(0),
};

/// Runs a command line.
pub(crate) fn dispatch(program: Program, arguments: &[String]) -> Result<u8, Failure> {
    let (mut globals, words) = match GLOBALS.parse(arguments) {
        Ok(Line::Help) => return show(&help::root(program)),
        Ok(Line::Arguments(globals, words)) => (globals, words),
        Err(problem) => {
            let command = program.name().to_owned();
            let usage = format!("{command} [OPTIONS] COMMAND [ARG...]");
            return Err(Failure::Usage(UsageError {
                problem,
                command,
                usage,
            }));
        }
    };
    if globals.version {
        return show(&format!(
            "Wharf version {}, Engine API {}\n",
            env!("CARGO_PKG_VERSION"),
            wharf_wire::API_VERSION
        ));
    }
    if globals.hosts.len() > 1 {
        return Err(Failure::message(
            "Failed to initialize: unable to resolve docker endpoint: Specify only one -H",
        ));
    }
    match globals.log_level.as_str() {
        "" | "info" | "warn" | "error" | "fatal" => {}
        "debug" => globals.debug = true,
        other => {
            return Err(Failure::message(format!(
                "Unable to parse logging level: {other}"
            )));
        }
    }
    globals.choice.host = globals.hosts.pop();
    match words.split_first() {
        None => show(&help::root(program)),
        Some((word, rest)) if word == complete::COMMAND => complete::run(program, rest),
        Some((word, rest)) if word == "help" => help_about(program, rest),
        Some((group, rest)) if table::group(group).is_some() => match rest.split_first() {
            None => show(&help::group(program, group)),
            Some((flag, _)) if flag == "--help" || flag == "-h" => {
                show(&help::group(program, group))
            }
            Some((word, rest)) => {
                let name = format!("{group} {word}");
                match table::find(&name) {
                    Some((command, name)) => command.execute(program, globals, name, rest),
                    None => Err(unknown(program, &name, Some(group))),
                }
            }
        },
        Some((word, rest)) => match table::find(word) {
            Some((command, name)) => command.execute(program, globals, name, rest),
            None => Err(unknown(program, word, None)),
        },
    }
}

/// The commands with a page in the manual, by the name that is shortest to type.
pub(crate) fn pages() -> Vec<(&'static str, &'static dyn AnyCommand)> {
    table::COMMANDS
        .iter()
        .filter(|command| !table::is_hidden(command.names()))
        .filter_map(|command| Some((*command.names().last()?, *command)))
        .collect()
}

/// Refuses the flags that no engine of ours can mean; the others wait for what the engine turns out to be.
fn heeded(demands: Vec<Demand>) -> Result<Vec<Demand>, Failure> {
    match demands.iter().find_map(|demand| demand.refusal(u32::MAX)) {
        Some(refusal) => Err(Failure::message(refusal)),
        None => Ok(demands),
    }
}

fn show(text: &str) -> Result<u8, Failure> {
    Printer.data(text.as_bytes())?;
    Ok(0)
}

fn help_about(program: Program, words: &[String]) -> Result<u8, Failure> {
    let name = words.join(" ");
    if name.is_empty() {
        return show(&help::root(program));
    }
    if table::group(&name).is_some() {
        return show(&help::group(program, &name));
    }
    match table::find(&name) {
        Some((command, name)) => show(&command.help(program, name)),
        None => Err(unknown(program, &name, None)),
    }
}

fn unknown(program: Program, name: &str, group: Option<&str>) -> Failure {
    let program = program.name();
    if name.starts_with('-') || name.contains(" -") {
        let command = group.map_or(program.to_owned(), |group| format!("{program} {group}"));
        let flag = name.rsplit(' ').next().unwrap_or(name);
        let problem = match flag.strip_prefix("--") {
            Some(long) => UsageProblem::UnknownLong(long.to_owned()),
            None => UsageProblem::UnknownShort {
                letter: flag.chars().nth(1).unwrap_or('-'),
                group: flag.trim_start_matches('-').to_owned(),
            },
        };
        return Failure::Usage(UsageError {
            problem,
            usage: command.clone(),
            command,
        });
    }
    if table::is_dockers(name) {
        return Failure::message(format!(
            "{program}: {program} {name} is known from Docker, but wharf does not serve it yet\n\nRun '{program} --help' for more information"
        ));
    }
    match group {
        None => Failure::message(format!(
            "{program}: unknown command: {program} {name}\n\nRun '{program} --help' for more information"
        )),
        Some(group) => Failure::message(format!(
            "{program}: unknown command: {program} {name}\n\nUsage:  {program} {group}{}\n\nRun '{program} {group} --help' for more information",
            // Docker's usage lines of groups have the word, its errors do with one group.
            if group == "manifest" { " COMMAND" } else { "" }
        )),
    }
}

#[cfg(test)]
mod tests;
