//! `wharf registry`: an OCI registry behind a socket.
//!
//! Settings have the names of the CNCF registry's environment variables too, because that is how people
//! configure the one they replace.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use jiff::SignedDuration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing::level_filters::LevelFilter;
use wharf_registry::{Access, Basic, Htpasswd, Retention, Service, Storage};

/// Runs an OCI registry.
#[derive(Parser)]
#[command(name = "wharf registry", bin_name = "wharf registry")]
struct Command {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Serve a directory of images over HTTP
    Serve(Serve),
}

#[derive(Args)]
struct Serve {
    /// Directory of the images; a directory of the CNCF registry is read as it is
    #[arg(
        long,
        default_value = "/var/lib/registry",
        env = "REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY"
    )]
    root: PathBuf,
    /// Address and port to listen on; a port alone means every address
    #[arg(long, default_value = "127.0.0.1:5000", env = "REGISTRY_HTTP_ADDR", value_parser = address)]
    listen: SocketAddr,
    /// File of names and passwords, made with `htpasswd -B`; without one everybody may do everything
    #[arg(long, env = "REGISTRY_AUTH_HTPASSWD_PATH")]
    htpasswd: Option<PathBuf>,
    /// What clients show when they ask for a password
    #[arg(
        long,
        default_value = "registry",
        env = "REGISTRY_AUTH_HTPASSWD_REALM",
        requires = "htpasswd"
    )]
    realm: String,
    /// Let everybody read, and those with a password write
    #[arg(long, requires = "htpasswd")]
    anonymous_read: bool,
    /// How often to remove what no image needs; 0s: never
    #[arg(long, default_value = "1h", value_parser = duration)]
    collect_every: Duration,
    /// How long a blob is kept that no image needs
    #[arg(long, default_value = "24h", value_parser = duration)]
    keep_blobs: Duration,
    /// How long an upload is kept that nobody goes on with
    #[arg(long, default_value = "168h", value_parser = duration)]
    keep_uploads: Duration,
    /// Remove images that have no tag any more
    #[arg(long)]
    collect_untagged: bool,
    /// What is logged: debug, info, warn, error
    #[arg(long, default_value = "info", env = "REGISTRY_LOG_LEVEL")]
    log_level: LevelFilter,
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let full = if text.starts_with(':') {
        format!("0.0.0.0{text}")
    } else {
        text.to_owned()
    };
    full.parse()
        .map_err(|_| format!("{text:?} is not ADDRESS:PORT; names are not looked up"))
}

fn duration(text: &str) -> Result<Duration, String> {
    let signed: SignedDuration = text
        .parse()
        .map_err(|_| format!("{text:?} is not a duration such as 24h"))?;
    signed
        .try_into()
        .map_err(|_| format!("{text:?} is negative"))
}

/// Runs the hat; `arguments` begin with its name.
pub(crate) fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let command = match Command::try_parse_from(arguments) {
        Ok(command) => command,
        Err(error) => error.exit(),
    };
    let Verb::Serve(serve) = command.verb;
    match run(serve) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            crate::daemon::say(&format!("wharf registry: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(settings: Serve) -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_max_level(settings.log_level)
        .with_ansi(false)
        .init();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_name("wharf-worker")
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(serve(settings))
}

async fn serve(settings: Serve) -> anyhow::Result<()> {
    let catch = |kind| signal(kind).context("cannot catch signals");
    let (mut terminate, mut interrupt) = (
        catch(SignalKind::terminate())?,
        catch(SignalKind::interrupt())?,
    );
    let access = match &settings.htpasswd {
        None => Access::Open,
        Some(path) => Access::Basic(Box::new(Basic {
            users: Htpasswd::read(path)?,
            realm: settings.realm,
            anonymous_read: settings.anonymous_read,
        })),
    };
    let storage = Storage::open(&settings.root)?;
    let listener = TcpListener::bind(settings.listen).await;
    let listener = listener.with_context(|| format!("cannot listen on {}", settings.listen))?;
    let bound = listener.local_addr().unwrap_or(settings.listen);
    if matches!(access, Access::Open) && !bound.ip().is_loopback() {
        tracing::warn!(address = %bound, "everybody who reaches this address may push and delete: give it --htpasswd");
    }
    tracing::info!(address = %bound, root = %settings.root.display(), "the registry is ready");
    let service = Service {
        storage,
        access,
        collect_every: Some(settings.collect_every).filter(|every| !every.is_zero()),
        retention: Retention {
            blobs: settings.keep_blobs,
            uploads: settings.keep_uploads,
            untagged: settings.collect_untagged,
        },
    };
    wharf_registry::serve(service, listener, async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("the registry stops");
    })
    .await;
    Ok(())
}
