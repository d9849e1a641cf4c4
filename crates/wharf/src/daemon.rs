//! `wharf daemon`: the engine behind its sockets.
//!
//! The order of a start: settings, pid file, sockets under temporary names, engine (which recovers), sockets under
//! their real names, readiness told. So a client that can connect is answered, and a start that fails leaves the
//! sockets of whoever runs as they are. Stopping ends the API and the engine; containers go on.
//!
//! SIGHUP has the settings read again; see [`reload`].

mod flags;
mod group;
mod keys;
mod listen;
mod log;
mod pidfile;
mod reload;
mod settings;
mod tls;
mod values;

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Context as _;
use rustix::process::{Resource, Rlimit, geteuid, getrlimit, setrlimit};
use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};
use wharf_engine::Engine;
use wharf_sys::allocator;

pub(crate) use flags::say;

use flags::{Given, Typed};
use listen::Guard;
use reload::Reloading;
use settings::Settings;

/// Arenas of the allocator: more only hold memory back.
const ARENAS: u8 = 2;
/// Threads of the runtime: requests are short, and what takes long has threads of its own.
const MOST_WORKERS: usize = 8;

/// Runs the engine until it is told to stop.
pub(crate) fn main(name: &str, arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let given = match flags::read(name, arguments) {
        Ok(Typed::Given(given)) => *given,
        Ok(Typed::Answered) => return ExitCode::SUCCESS,
        Err(code) => return code,
    };
    let validate = given.validate;
    let outcome = Settings::resolve(&given)
        .map_err(anyhow::Error::from)
        .and_then(|settings| {
            let guard = guard(&settings)?;
            if validate {
                flags::say("configuration OK");
                return Ok(());
            }
            run(given, settings, guard)
        });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            flags::say(&format!("{name}: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// What stands before TCP sockets; the settings have made sure that it is enough.
fn guard(settings: &Settings) -> anyhow::Result<Guard> {
    let open = settings.values.truth("allow-insecure-tcp") == Some(true);
    Ok(match &settings.tls {
        Some(files) if files.client_authority.is_some() => Guard::Verified(files.load()?),
        Some(files) if open => Guard::Open(Some(files.load()?)),
        None if open => Guard::Open(None),
        _ => Guard::Closed,
    })
}

fn run(given: Given, mut settings: Settings, guard: Guard) -> anyhow::Result<()> {
    if !geteuid().is_root() {
        anyhow::bail!("the engine needs to be started as root");
    }
    settings.engine.open_files = raise_open_files()?;
    allocator::limit_arenas(ARENAS);
    if settings.detached {
        rustix::process::setsid()
            .context("cannot leave the session of whoever started the engine")?;
    }
    let log = log::begin(settings.log_format, settings.log_level);
    let pidfile = pidfile::PidFile::take(&settings.pidfile)?;
    let sockets = listen::bind(&settings.hosts, settings.group.as_deref())?;
    let workers = std::thread::available_parallelism()
        .map_or(2, usize::from)
        .clamp(2, MOST_WORKERS);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers)
        .thread_name("wharf-worker")
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let reloading = Reloading::new(given, settings.values.clone(), log);
    let outcome = runtime.block_on(serve(settings, reloading, sockets, guard));
    pidfile.remove();
    outcome
}

/// Lets the engine open as many files as it is allowed to: each running container and each client is
/// one or two. Returns the soft limit there was, which containers get.
fn raise_open_files() -> anyhow::Result<Option<u64>> {
    let before = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: before.maximum,
        ..before
    };
    setrlimit(Resource::Nofile, raised).context("cannot raise the limit of open files")?;
    Ok(before.current)
}

async fn serve(
    settings: Settings,
    reloading: Reloading,
    sockets: listen::Sockets,
    guard: Guard,
) -> anyhow::Result<()> {
    let mut signals = Signals::catch()?;
    let engine = Engine::open(settings.engine).context("cannot open the engine")?;
    let (listeners, published) = sockets.publish(&guard)?;
    if matches!(guard, Guard::Open(_)) {
        tracing::warn!("whoever can connect to the engine's TCP sockets is root on this machine");
    }
    tracing::info!(version = env!("CARGO_PKG_VERSION"), sockets = %published, "the engine is ready");
    tell(&[NotifyState::Ready]);
    // What opening took is not needed again soon.
    if let Err(error) = wharf_sys::memory::forget_code() {
        tracing::debug!(%error, "the program's code stays in memory");
    }
    allocator::trim();
    wharf_api::serve(engine.clone(), listeners, async {
        signals.stop(reloading, &engine).await;
        tell(&[NotifyState::Stopping]);
    })
    .await;
    engine.shutdown().await;
    published.remove();
    tracing::info!("the engine has stopped; containers go on");
    Ok(())
}

/// Tells the service manager, if there is one.
fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "could not tell the service manager");
    }
}

/// The signals the engine acts on.
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    hangup: tokio::signal::unix::Signal,
}

impl Signals {
    /// Catches them from here on.
    fn catch() -> anyhow::Result<Self> {
        let catch = |kind| signal(kind).context("cannot catch signals");
        Ok(Self {
            terminate: catch(SignalKind::terminate())?,
            interrupt: catch(SignalKind::interrupt())?,
            hangup: catch(SignalKind::hangup())?,
        })
    }

    /// Returns at the first that stops the engine, and has the settings read again at those before.
    async fn stop(&mut self, mut reloading: Reloading, engine: &Engine) {
        loop {
            let name = tokio::select! {
                _ = self.terminate.recv() => "SIGTERM",
                _ = self.interrupt.recv() => "SIGINT",
                _ = self.hangup.recv() => {
                    reloading.reload(engine);
                    continue;
                }
            };
            tracing::info!(signal = name, "the engine stops");
            return;
        }
    }
}
