//! `wharf daemon`: the engine behind its sockets.
//!
//! The order of a start: settings, pid file, sockets under temporary names, engine (which recovers), sockets under
//! their real names, readiness told. So a client that can connect is answered, and a start that fails leaves the
//! sockets of whoever runs as they are. Stopping ends the API and the engine; containers go on.

mod flags;
mod group;
mod listen;
mod pidfile;
mod settings;

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Context as _;
use rustix::process::geteuid;
use tokio::signal::unix::{SignalKind, signal};
use tracing::level_filters::LevelFilter;
use wharf_engine::Engine;
use wharf_sys::allocator;

use flags::Typed;
use settings::Settings;

/// Arenas of the allocator: more only hold memory back.
const ARENAS: u8 = 2;
/// Threads of the runtime: requests are short, and what takes long has threads of its own.
const MOST_WORKERS: usize = 8;

/// Runs the engine until it is told to stop.
pub(crate) fn main(name: &str, arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let typed = match flags::read(name, arguments) {
        Ok(Typed::Given(given)) => given,
        Ok(Typed::Answered) => return ExitCode::SUCCESS,
        Err(code) => return code,
    };
    let validate = typed.validate;
    let outcome = Settings::resolve(*typed)
        .map_err(anyhow::Error::from)
        .and_then(|settings| {
            if validate {
                flags::say("configuration OK");
                return Ok(());
            }
            run(settings)
        });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            flags::say(&format!("{name}: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(settings: Settings) -> anyhow::Result<()> {
    if !geteuid().is_root() {
        anyhow::bail!("the engine needs to be started as root");
    }
    allocator::limit_arenas(ARENAS);
    if settings.detached {
        rustix::process::setsid()
            .context("cannot leave the session of whoever started the engine")?;
    }
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_max_level(settings.log_level)
        .with_ansi(false)
        .init();
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
    let outcome = runtime.block_on(serve(settings, sockets));
    pidfile.remove();
    outcome
}

async fn serve(settings: Settings, sockets: listen::Sockets) -> anyhow::Result<()> {
    let stop = stop_signal()?;
    let engine = Engine::open(settings.engine).context("cannot open the engine")?;
    let (listeners, published) = sockets.publish()?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), sockets = %published, "the engine is ready");
    if let Err(error) = sd_notify::notify(&[sd_notify::NotifyState::Ready]) {
        tracing::warn!(%error, "could not tell the service manager that the engine is ready");
    }
    wharf_api::serve(engine.clone(), listeners, async {
        stop.await;
        if let Err(error) = sd_notify::notify(&[sd_notify::NotifyState::Stopping]) {
            tracing::warn!(%error, "could not tell the service manager that the engine stops");
        }
    })
    .await;
    engine.shutdown().await;
    published.remove();
    tracing::info!("the engine has stopped; containers go on");
    Ok(())
}

/// Catches the signals that stop the engine from here on, and returns what completes at the first.
fn stop_signal() -> anyhow::Result<impl Future<Output = ()>> {
    let catch = |kind| signal(kind).context("cannot catch signals");
    let mut terminate = catch(SignalKind::terminate())?;
    let mut interrupt = catch(SignalKind::interrupt())?;
    let mut hangup = catch(SignalKind::hangup())?;
    Ok(async move {
        loop {
            let name = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
                _ = hangup.recv() => {
                    tracing::warn!("SIGHUP: the configuration is read at the start only");
                    continue;
                }
            };
            tracing::info!(signal = name, "the engine stops");
            return;
        }
    })
}

/// What is logged, by dockerd's names.
fn log_level(name: &str) -> Option<LevelFilter> {
    match name {
        "debug" => Some(LevelFilter::DEBUG),
        "info" => Some(LevelFilter::INFO),
        "warn" => Some(LevelFilter::WARN),
        "error" | "fatal" => Some(LevelFilter::ERROR),
        _ => None,
    }
}
