//! The command line `wharf runtime`: the runtime as engines other than Wharf use it.
//!
//! Options, the state document and exit codes are those of runc; texts of errors that others read
//! (a missing program, a container that exists) too. A container is a directory below `--root` with its
//! state, locked while it changes.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;

mod args;
mod console;
mod container;
mod create;
mod events;
mod exec;
mod features;
mod lifecycle;
mod list;
mod log;
mod process_spec;
mod reexec;
mod signals;
mod spec;
mod update;

use args::{Arguments, Command};
use log::Log;

/// What a command says in the end: its exit code, or why it failed.
type Outcome = Result<u8, Failure>;

/// A failed command.
#[derive(Debug)]
struct Failure {
    error: Box<dyn std::error::Error>,
    code: u8,
}

impl<E: Into<Box<dyn std::error::Error>>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self {
            error: error.into(),
            code: 1,
        }
    }
}

/// Runs the command line; the first argument is the program's name.
pub fn main(args: impl Iterator<Item = OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(args) {
        Ok(arguments) => arguments,
        Err(error) => {
            let code = if error.use_stderr() { 1 } else { 0 };
            // Nobody is left to tell when the message cannot be printed.
            return match error.print() {
                Ok(()) | Err(_) => ExitCode::from(code),
            };
        }
    };
    let log = match Log::open(
        arguments.log.as_deref(),
        arguments.log_format,
        arguments.debug,
    ) {
        Ok(log) => log,
        Err(error) => {
            Log::to_stderr(&error.to_string());
            return ExitCode::FAILURE;
        }
    };
    let name = name(arguments.command.as_ref());
    match dispatch(arguments, &log) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            log.error(&format!(
                "wharf runtime {name} failed: {}",
                describe(&*failure.error)
            ));
            ExitCode::from(failure.code)
        }
    }
}

fn dispatch(arguments: Arguments, log: &Log) -> Outcome {
    let root = arguments.root;
    if arguments.version {
        return list::version();
    }
    if arguments.systemd_cgroup {
        return Err("--systemd-cgroup is not supported: cgroups are made directly".into());
    }
    if arguments.rootless == "true" {
        return Err("--rootless is not supported: the runtime needs root".into());
    }
    let Some(command) = arguments.command else {
        return Err("no command given; see --help".into());
    };
    match command {
        Command::Create(args) => {
            reexec::from_protected_copy()?;
            create::create(&root, args, log)
        }
        Command::Run(args) => {
            reexec::from_protected_copy()?;
            create::run(&root, args, log)
        }
        Command::Exec(args) => {
            reexec::from_protected_copy()
                .and_then(|()| exec::exec(&root, *args, log))
                .map_err(
                    // As runc: a process's own exit code cannot be mistaken for the runtime's failure.
                    |failure| Failure {
                        code: 255,
                        ..failure
                    },
                )
        }
        Command::Start(args) => lifecycle::start(&root, &args.id, log),
        Command::State(args) => list::state(&root, &args.id),
        Command::Kill(args) => lifecycle::kill(&root, &args),
        Command::Delete(args) => lifecycle::delete(&root, &args, log),
        Command::Ps(args) => list::ps(&root, &args),
        Command::List(args) => list::list(&root, &args, log),
        Command::Pause(args) => lifecycle::pause(&root, &args.id),
        Command::Resume(args) => lifecycle::resume(&root, &args.id),
        Command::Update(args) => update::update(&root, &args),
        Command::Events(args) => events::events(&root, &args),
        Command::Spec(args) => spec::spec(&args),
        Command::Features => features::features(),
        Command::Checkpoint(args) => Err(unsupported("checkpoint", &args)),
        Command::Restore(args) => Err(unsupported("restore", &args)),
    }
}

fn unsupported(command: &str, args: &args::Unsupported) -> Failure {
    let rest = args.rest.join(" ");
    format!("{command} {rest}: saving and restoring processes is not supported").into()
}

fn name(command: Option<&Command>) -> &'static str {
    match command {
        Some(Command::Create(_)) => "create",
        Some(Command::Start(_)) => "start",
        Some(Command::State(_)) => "state",
        Some(Command::Kill(_)) => "kill",
        Some(Command::Delete(_)) => "delete",
        Some(Command::Run(_)) => "run",
        Some(Command::Exec(_)) => "exec",
        Some(Command::Ps(_)) => "ps",
        Some(Command::List(_)) => "list",
        Some(Command::Pause(_)) => "pause",
        Some(Command::Resume(_)) => "resume",
        Some(Command::Update(_)) => "update",
        Some(Command::Events(_)) => "events",
        Some(Command::Spec(_)) => "spec",
        Some(Command::Features) => "features",
        Some(Command::Checkpoint(_)) => "checkpoint",
        Some(Command::Restore(_)) => "restore",
        None => "command",
    }
}

/// An error with its causes, one line.
fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// Prints to standard output.
fn print(text: &str) -> std::io::Result<()> {
    use std::io::Write;
    std::io::stdout().write_all(text.as_bytes())
}

/// Prints a document to standard output.
fn print_json(document: &impl serde::Serialize) -> Outcome {
    print(&format!("{}\n", serde_json::to_string_pretty(document)?))?;
    Ok(0)
}
