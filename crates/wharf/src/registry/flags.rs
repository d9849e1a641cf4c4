//! The command line of `wharf registry serve`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use jiff::SignedDuration;
use tracing::level_filters::LevelFilter;
use wharf_registry::{Quota, Rate, Upstream};

/// Runs an OCI registry.
#[derive(Parser)]
#[command(
    name = "wharf registry",
    bin_name = "wharf registry",
    args_override_self = true
)]
pub(super) struct Command {
    #[command(subcommand)]
    pub(super) verb: Verb,
}

#[derive(Subcommand)]
pub(super) enum Verb {
    /// Serve a directory of images over HTTP
    #[command(args_override_self = true)]
    Serve(Box<Serve>),
}

/// How clients show who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Auth {
    /// Not at all
    None,
    /// By a name and password of the file --htpasswd
    Htpasswd,
    /// By a token: of --token-issuer, or of this server (--token-issue)
    Token,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum LogFormat {
    /// Lines for people
    Text,
    /// One JSON object a line
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum TlsVersion {
    #[value(name = "tls1.2")]
    Tls12,
    #[value(name = "tls1.3")]
    Tls13,
}

#[derive(Args)]
pub(super) struct Serve {
    /// Directory of the images; a directory of the CNCF registry is read as it is
    #[arg(long, default_value = "/var/lib/registry")]
    pub(super) root: PathBuf,
    /// Address and port to listen on; a port alone means every address
    #[arg(long, default_value = "127.0.0.1:5000", value_parser = address)]
    pub(super) listen: SocketAddr,
    /// How clients reach this server, https://HOST, when a proxy stands before it
    #[arg(long, value_parser = url)]
    pub(super) url: Option<String>,
    /// How long requests under way are waited for at the end
    #[arg(long, default_value = "30s", value_parser = duration)]
    pub(super) drain: Duration,
    /// Second address, for metrics and health
    #[arg(long, value_parser = address)]
    pub(super) metrics_listen: Option<SocketAddr>,

    /// Certificate of this server, PEM; it is read again when it changes
    #[arg(long, requires = "tls_key")]
    pub(super) tls_certificate: Option<PathBuf>,
    /// Private key of the certificate, PEM
    #[arg(long, requires = "tls_certificate")]
    pub(super) tls_key: Option<PathBuf>,
    /// Who signs for clients, PEM; without it clients need no certificate
    #[arg(long, requires = "tls_certificate")]
    pub(super) tls_client_ca: Option<PathBuf>,
    /// Oldest version of TLS that is spoken
    #[arg(long, default_value = "tls1.2")]
    pub(super) tls_minimum: TlsVersion,

    /// How clients show who they are [default: by what other flags there are]
    #[arg(long)]
    pub(super) auth: Option<Auth>,
    /// File of names and passwords, made with `htpasswd -B`; without one everybody may do everything
    #[arg(long)]
    pub(super) htpasswd: Option<PathBuf>,
    /// What clients show when they ask for a password
    #[arg(long, default_value = "registry")]
    pub(super) realm: String,
    /// Let everybody read, and those with a password write
    #[arg(long, conflicts_with = "policy")]
    pub(super) anonymous_read: bool,
    /// File that says who may do what to which repositories
    #[arg(long)]
    pub(super) policy: Option<PathBuf>,
    /// Give tokens out at /token, to those with a password and to everybody for what everybody may do
    #[arg(long)]
    pub(super) token_issue: bool,
    /// Private key of these tokens, P-256, PEM [default: a new one at each start]
    #[arg(long, requires = "token_issue")]
    pub(super) token_key: Option<PathBuf>,
    /// How long these tokens are good for
    #[arg(long, default_value = "5m", value_parser = duration)]
    pub(super) token_lifetime: Duration,
    /// Where clients get tokens [default: /token of this server]
    #[arg(long, value_parser = url)]
    pub(super) token_realm: Option<String>,
    /// Whom tokens are for
    #[arg(long, default_value = "wharf-registry")]
    pub(super) token_service: String,
    /// Name of somebody else who gives tokens out
    #[arg(long, requires = "token_trust")]
    pub(super) token_issuer: Option<String>,
    /// Certificates or public keys of that issuer, PEM
    #[arg(long, requires = "token_issuer")]
    pub(super) token_trust: Option<PathBuf>,

    /// Refuse whatever changes something
    #[arg(long)]
    pub(super) read_only: bool,
    /// Refuse deletes
    #[arg(long)]
    pub(super) no_delete: bool,
    /// Bytes that the repositories below a prefix may hold, PREFIX=SIZE; several times
    #[arg(long, value_parser = quota, value_name = "PREFIX=SIZE")]
    pub(super) quota: Vec<Quota>,
    /// Requests a second that one address may make, and how many at once, RATE[:BURST]
    #[arg(long, value_parser = rate, value_name = "RATE[:BURST]")]
    pub(super) rate_limit: Option<Rate>,

    /// Repositories below PREFIX are copies of those at URL, fetched when they are asked for; several times
    #[arg(long, value_parser = upstream, value_name = "PREFIX=URL")]
    pub(super) proxy: Vec<Upstream>,
    /// Every repository is a copy of the one at this URL
    #[arg(long, value_name = "URL")]
    pub(super) proxy_all: Option<String>,
    /// Name at the upstream --proxy-all
    #[arg(long, requires = "proxy_all", requires = "proxy_password", hide = true)]
    pub(super) proxy_username: Option<String>,
    /// Password at the upstream --proxy-all; for the environment, where other users do not see it
    #[arg(long, requires = "proxy_all", requires = "proxy_username", hide = true)]
    pub(super) proxy_password: Option<String>,
    /// File with the passwords of upstreams, in the form of Docker's config.json
    #[arg(long)]
    pub(super) proxy_auth: Option<PathBuf>,
    /// How long a tag is believed to name what it named upstream
    #[arg(long, default_value = "1m", value_parser = duration)]
    pub(super) proxy_fresh: Duration,
    /// How long an image from upstream is kept that nobody asks for; 0s: for ever
    #[arg(long, default_value = "168h", value_parser = duration)]
    pub(super) proxy_keep: Duration,

    /// How often to remove what no image needs; 0s: never
    #[arg(long, default_value = "1h", value_parser = duration)]
    pub(super) collect_every: Duration,
    /// How long a blob is kept that no image needs
    #[arg(long, default_value = "24h", value_parser = duration)]
    pub(super) keep_blobs: Duration,
    /// How long an upload is kept that nobody goes on with
    #[arg(long, default_value = "168h", value_parser = duration)]
    pub(super) keep_uploads: Duration,
    /// Remove images that have no tag any more
    #[arg(long)]
    pub(super) collect_untagged: bool,

    /// What is logged: debug, info, warn, error; audit lines are always
    #[arg(long, default_value = "info")]
    pub(super) log_level: LevelFilter,
    /// Form of the log
    #[arg(long, default_value = "text")]
    pub(super) log_format: LogFormat,
    /// Log each request
    #[arg(long)]
    pub(super) access_log: bool,
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let full = match text.strip_prefix("localhost") {
        Some(port) => format!("127.0.0.1{port}"),
        None if text.starts_with(':') => format!("0.0.0.0{text}"),
        None => text.to_owned(),
    };
    full.parse()
        .map_err(|_| format!("{text:?} is not ADDRESS:PORT; names are not looked up"))
}

fn url(text: &str) -> Result<String, String> {
    let host = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    match host {
        Some(host)
            if !host.is_empty() && host.chars().all(|c| c.is_ascii_graphic() && c != '"') =>
        {
            Ok(text.to_owned())
        }
        _ => Err(format!("{text:?} is not https://HOST")),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let signed: SignedDuration = text
        .parse()
        .map_err(|_| format!("{text:?} is not a duration such as 24h"))?;
    signed
        .try_into()
        .map_err(|_| format!("{text:?} is negative"))
}

fn upstream(text: &str) -> Result<Upstream, String> {
    let (prefix, url) = text
        .split_once('=')
        .ok_or_else(|| format!("{text:?} is not PREFIX=URL"))?;
    Ok(Upstream {
        prefix: prefix.trim_end_matches('/').to_owned(),
        url: url.to_owned(),
        credentials: None,
    })
}

fn quota(text: &str) -> Result<Quota, String> {
    let (prefix, size) = text
        .rsplit_once('=')
        .ok_or_else(|| format!("{text:?} is not PREFIX=SIZE"))?;
    let limit = wharf_types::size::binary(size).map_err(|error| error.to_string())?;
    let prefix = prefix.trim_end_matches('/');
    if !prefix.is_empty() && prefix.parse::<wharf_types::Repository>().is_err() {
        return Err(format!("no repository can have {prefix:?} in its name"));
    }
    Ok(Quota {
        prefix: prefix.to_owned(),
        limit: limit
            .try_into()
            .map_err(|_| format!("{size:?} is negative"))?,
    })
}

fn rate(text: &str) -> Result<Rate, String> {
    let (rate, burst) = match text.split_once(':') {
        Some((rate, burst)) => (rate, Some(burst)),
        None => (text, None),
    };
    let number = |text: &str| match text.parse::<u32>() {
        Ok(0) | Err(_) => Err(format!("{text:?} is no number of requests")),
        Ok(number) => Ok(number),
    };
    let per_second = number(rate)?;
    Ok(Rate {
        per_second,
        // A pull of an image with many layers is free, whatever the rate.
        burst: match burst {
            Some(burst) => number(burst)?,
            None => per_second.saturating_mul(10).max(100),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read() {
        assert_eq!(
            address(":5000").map(|a| a.to_string()).as_deref(),
            Ok("0.0.0.0:5000")
        );
        assert_eq!(
            address("localhost:1").map(|a| a.to_string()).as_deref(),
            Ok("127.0.0.1:1")
        );
        assert!(address("registry.example:5000").is_err());
        assert_eq!(
            quota("team/=2k"),
            Ok(Quota {
                prefix: "team".to_owned(),
                limit: 2048
            })
        );
        assert_eq!(quota("=1").map(|quota| quota.prefix).as_deref(), Ok(""));
        for wrong in ["team", "Team=1", "team=-1", "team=x"] {
            assert!(quota(wrong).is_err(), "{wrong}");
        }
        assert_eq!(
            rate("5:7"),
            Ok(Rate {
                per_second: 5,
                burst: 7
            })
        );
        assert_eq!(rate("5").map(|rate| rate.burst), Ok(100));
        assert!(rate("0").is_err() && rate("x").is_err() && rate("1:0").is_err());
        assert!(url("https://a:5").is_ok() && url("a:5").is_err() && url("https://a\"b").is_err());
    }
}
