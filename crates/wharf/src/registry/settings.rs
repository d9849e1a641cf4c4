//! From flags to a registry that is ready to serve.

use anyhow::{Context as _, bail};
use tokio::net::TcpListener;
use wharf_registry::{
    Access, IssueSettings, Listeners, Policy, Retention, Rules, Service, Storage, Tls, TlsFiles,
    TokenSettings, Tokens, TrustSettings,
};

use super::flags::{Auth, Serve, TlsVersion};
use super::proxies;

/// Opens everything the flags name. Nothing listens when something of it is wrong.
pub(super) async fn resolve(flags: Serve) -> anyhow::Result<(Service, Listeners)> {
    let access = access(&flags)?;
    let tls = tls(&flags)?;
    let proxies = proxies::resolve(&flags)?;
    let storage = Storage::open(&flags.root)?.with_quotas(flags.quota.clone());
    let bind = async |address| {
        let listener = TcpListener::bind(address).await;
        listener.with_context(|| format!("cannot listen on {address}"))
    };
    let clients = bind(flags.listen).await?;
    let operators = match flags.metrics_listen {
        Some(address) => Some(bind(address).await?),
        None => None,
    };
    let service = Service {
        tls,
        url: flags.url,
        rate: flags.rate_limit,
        read_only: flags.read_only,
        deletes: !flags.no_delete,
        access_log: flags.access_log,
        collect_every: Some(flags.collect_every).filter(|every| !every.is_zero()),
        retention: Retention {
            blobs: flags.keep_blobs,
            uploads: flags.keep_uploads,
            untagged: flags.collect_untagged,
        },
        grace: flags.drain,
        proxies,
        ..Service::new(storage, access)
    };
    Ok((service, Listeners { clients, operators }))
}

fn tls(flags: &Serve) -> anyhow::Result<Option<Tls>> {
    let (Some(certificate), Some(key)) = (&flags.tls_certificate, &flags.tls_key) else {
        return Ok(None);
    };
    let files = TlsFiles {
        certificate: certificate.clone(),
        key: key.clone(),
        client_authority: flags.tls_client_ca.clone(),
        only_newest: flags.tls_minimum == TlsVersion::Tls13,
    };
    Tls::new(files).map(Some).context("no TLS")
}

/// Who may do what. What was said of it must make sense together: a registry that is open because a
/// setting was forgotten is worse than one that does not start.
fn access(flags: &Serve) -> anyhow::Result<Access> {
    let foreign = flags.token_trust.is_some();
    let with_tokens = foreign || flags.token_issue;
    match flags.auth {
        Some(Auth::Htpasswd) if flags.htpasswd.is_none() => {
            bail!("--auth htpasswd needs --htpasswd FILE")
        }
        Some(Auth::Htpasswd) if with_tokens => {
            bail!("--auth htpasswd and settings of tokens exclude each other")
        }
        Some(Auth::Token) if !with_tokens => {
            bail!("--auth token needs --token-issuer and --token-trust, or --token-issue")
        }
        Some(Auth::None) if with_tokens || flags.htpasswd.is_some() => {
            bail!("--auth none, but there are settings of passwords or tokens")
        }
        _ => {}
    }
    if flags.token_realm.is_none() && foreign && !flags.token_issue {
        bail!(
            "tokens of {:?} need --token-realm: where clients get them",
            flags.token_issuer.as_deref().unwrap_or_default()
        );
    }
    if flags.token_realm.is_some() && !with_tokens {
        bail!("--token-realm needs --token-issuer and --token-trust, or --token-issue");
    }
    if flags.token_issue && flags.htpasswd.is_none() && flags.policy.is_none() {
        bail!("--token-issue needs --htpasswd, or a --policy that says what everybody may do");
    }
    if flags.anonymous_read && flags.htpasswd.is_none() && !flags.token_issue {
        bail!("--anonymous-read needs --htpasswd: without it everybody may do everything");
    }
    let users = flags.htpasswd.clone().map(Access::users).transpose()?;
    let rules = match &flags.policy {
        Some(path) => Rules::file(path.clone())?,
        // What a foreign token grants is all there is to say.
        None if users.is_none() => Policy::open().into(),
        None => Policy::users(flags.anonymous_read).into(),
    };
    let tokens = with_tokens.then(|| token_settings(flags));
    Ok(Access {
        rules,
        users,
        realm: flags.realm.clone(),
        tokens: tokens.map(Tokens::new).transpose()?,
    })
}

fn token_settings(flags: &Serve) -> TokenSettings {
    let trust = flags.token_issuer.clone().zip(flags.token_trust.clone());
    TokenSettings {
        service: flags.token_service.clone(),
        realm: flags.token_realm.clone(),
        issue: flags.token_issue.then(|| IssueSettings {
            key: flags.token_key.clone(),
            lifetime: flags.token_lifetime,
        }),
        trust: trust.map(|(issuer, keys)| TrustSettings { issuer, keys }),
    }
}
