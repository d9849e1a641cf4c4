//! `wharf registry`: an OCI registry behind a socket.
//!
//! Settings are flags, and the CNCF registry's environment variables too, because that is how people
//! configure the one they replace.

mod environment;
mod flags;
mod proxies;
mod settings;

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;
use clap::error::ErrorKind;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use self::environment::Environment;
use self::flags::{Command, LogFormat, Serve, Verb};

/// Threads that wait for the disk, at most.
const BLOCKING_THREADS: usize = 64;

/// Runs the hat; `arguments` begin with its name.
pub(crate) fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.collect();
    let environment = match Environment::read(std::env::vars_os()) {
        Ok(environment) => environment,
        // Help is given whatever the environment says.
        Err(_) if Command::try_parse_from(&arguments).is_err_and(|error| is_help(error.kind())) => {
            Environment::default()
        }
        Err(error) => return failed(&error.into()),
    };
    let command = match parse(&arguments, &environment) {
        Ok(command) => command,
        Err(error) => error.exit(),
    };
    let Verb::Serve(serve) = command.verb;
    match run(*serve, &environment) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

fn failed(error: &anyhow::Error) -> ExitCode {
    crate::daemon::say(&format!("wharf registry: {error:#}"));
    ExitCode::FAILURE
}

fn is_help(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::DisplayHelp
            | ErrorKind::DisplayVersion
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    )
}

/// Reads the command line with what the environment adds to it, before what was typed.
fn parse(arguments: &[OsString], environment: &Environment) -> Result<Command, clap::Error> {
    let with = |added: &[OsString]| {
        // The hat's name and the verb come first.
        let verb = arguments.len().min(2);
        let (first, rest) = arguments.split_at(verb);
        Command::try_parse_from(first.iter().chain(added).chain(rest))
    };
    let all: Vec<OsString> = environment
        .arguments
        .iter()
        .flat_map(|(_, added)| added.clone())
        .collect();
    with(&all).map_err(|error| {
        // Whoever set a variable must be told its name, not that of the flag it stands for.
        let wrong = environment.arguments.iter().find(|(_, added)| {
            with(added).is_err_and(|error| {
                error.kind() == ErrorKind::ValueValidation
                    || error.kind() == ErrorKind::InvalidValue
            })
        });
        match wrong {
            Some((variable, _)) => {
                let text = error.to_string();
                let text = text.trim_start_matches("error: ");
                clap::Error::raw(ErrorKind::ValueValidation, format!("{variable}: {text}\n"))
            }
            None => error,
        }
    })
}

fn run(flags: Serve, environment: &Environment) -> anyhow::Result<()> {
    log(&flags);
    for (variable, why) in &environment.not_needed {
        tracing::info!(variable, why, "not needed");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_name("wharf-worker")
        // No thread is held while a client is waited for, so that many clients need no more of them.
        .max_blocking_threads(BLOCKING_THREADS)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(serve(flags))
}

/// Logs to stderr; audit lines whatever the level.
fn log(flags: &Serve) {
    let shown = Targets::new()
        .with_default(flags.log_level)
        .with_target("audit", tracing::Level::INFO);
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(false);
    let registry = tracing_subscriber::registry().with(shown);
    match flags.log_format {
        LogFormat::Text => registry.with(layer).init(),
        LogFormat::Json => registry.with(layer.json()).init(),
    }
}

async fn serve(flags: Serve) -> anyhow::Result<()> {
    let catch = |kind| signal(kind).context("cannot catch signals");
    let (mut terminate, mut interrupt) = (
        catch(SignalKind::terminate())?,
        catch(SignalKind::interrupt())?,
    );
    let root = flags.root.clone();
    let (service, listeners) = settings::resolve(flags).await?;
    let bound = listeners.clients.local_addr()?;
    if service.access.is_open() && !bound.ip().is_loopback() {
        tracing::warn!(address = %bound, "everybody who reaches this address may push and delete: give it --htpasswd");
    }
    if let Some(operators) = &listeners.operators {
        tracing::info!(metrics = %operators.local_addr()?, "metrics are served");
    }
    tracing::info!(address = %bound, root = %root.display(), tls = service.tls.is_some(), "the registry is ready");
    wharf_registry::serve(service, listeners, async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("the registry stops");
    })
    .await;
    tracing::info!("the registry has stopped");
    Ok(())
}
