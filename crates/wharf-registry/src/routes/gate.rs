//! What a request passes before anything is done for it: its client's rate, who it is from, and whether
//! that caller may do this.

use std::sync::Arc;
use std::time::Instant;

use http::{HeaderMap, Method, StatusCode};
use wharf_types::Repository;

use crate::access::{self, Action, Caller, Scope, Shown, Unknown};
use crate::refusal::Refusal;
use crate::routes::Call;
use crate::server::{Peer, Registry};
use crate::target::{PageTarget, Target};

/// Refuses clients that ask too often. Health is asked by machines of the house.
pub(super) fn limit(
    registry: &Registry,
    peer: Peer,
    target: &Result<Target, Refusal>,
) -> Result<(), Refusal> {
    if matches!(target, Ok(Target::Health | Target::Ready)) {
        return Ok(());
    }
    let Some(allowances) = &registry.allowances else {
        return Ok(());
    };
    let Err(wait) = allowances.pay(peer.address.ip(), Instant::now()) else {
        return Ok(());
    };
    registry.metrics.limited.inc();
    let mut refusal = Refusal::new(
        StatusCode::TOO_MANY_REQUESTS,
        "TOOMANYREQUESTS",
        "too many requests: slow down",
    );
    refusal.retry_after = Some(wait.as_secs().saturating_add(1));
    Err(refusal)
}

/// Says who a request is from.
pub(super) async fn identify(
    registry: &Arc<Registry>,
    peer: Peer,
    target: &Target,
    headers: &HeaderMap,
) -> Result<Caller, Refusal> {
    let shown = access::shown(headers);
    let known = match registry.access.recognise(&shown) {
        Some(known) => known,
        None => check(registry, shown).await?,
    };
    known.map_err(|unknown| {
        let error = match &unknown {
            Unknown::Password => None,
            Unknown::Token(why) => {
                tracing::debug!(why, "a token was refused");
                Some("invalid_token")
            }
        };
        challenge(registry, peer, headers, target, &[], error)
    })
}

/// Works a password out, which costs its time on purpose.
async fn check(registry: &Arc<Registry>, shown: Shown) -> Result<Result<Caller, Unknown>, Refusal> {
    let registry = Arc::clone(registry);
    tokio::task::spawn_blocking(move || registry.access.identify(shown))
        .await
        .map_err(|error| Refusal::unknown(error.to_string()))
}

/// What must be allowed for a request.
enum Need<'a> {
    Nothing,
    /// To be somebody, if that can be shown here.
    Name,
    Catalog,
    Repository(&'a Repository, Action),
}

fn need<'a>(target: &'a Target, method: &Method) -> Need<'a> {
    let read = matches!(*method, Method::GET | Method::HEAD);
    match target {
        Target::Health | Target::Ready | Target::Token => Need::Nothing,
        Target::Base => Need::Name,
        // A page, like a search, shows what its reader may pull.
        Target::Page(PageTarget::Repositories) | Target::Search => Need::Nothing,
        Target::Catalog => Need::Catalog,
        Target::Page(PageTarget::Repository(name) | PageTarget::Image(name, _))
        | Target::Tags(name)
        | Target::Referrers(name, _) => Need::Repository(name, Action::Pull),
        Target::Manifest(name, _) | Target::Blob(name, _) => {
            let action = match *method {
                Method::DELETE => Action::Delete,
                _ if read => Action::Pull,
                _ => Action::Push,
            };
            Need::Repository(name, action)
        }
        Target::Uploads(name) | Target::Upload(name, _) => Need::Repository(name, Action::Push),
    }
}

/// Refuses what the caller may not do, and what this registry does for nobody.
pub(super) fn authorize(call: &Call, target: &Target) -> Result<(), Refusal> {
    let access = &call.registry.access;
    let need = need(target, &call.method);
    let allowed = match &need {
        Need::Nothing => true,
        Need::Name => call.caller.is_known() || !access.asks_at_base(),
        Need::Catalog => access.allows_catalog(&call.caller),
        Need::Repository(name, action) => call.may(name, *action),
    };
    if !allowed {
        return Err(refuse(call, target, &need));
    }
    match need {
        Need::Repository(name, action) if action != Action::Pull => possible(call, name, action),
        _ => Ok(()),
    }
}

/// Refuses changes that nobody can make.
fn possible(call: &Call, name: &Repository, action: Action) -> Result<(), Refusal> {
    if call.registry.read_only {
        return Err(Refusal::unsupported("the registry is read-only"));
    }
    if action == Action::Delete && !call.registry.deletes {
        return Err(Refusal::unsupported("deletes are turned off here"));
    }
    if action != Action::Delete && call.registry.is_cached(name) {
        return Err(Refusal::unsupported(format!(
            "{name} is a copy of another registry's: push it there"
        )));
    }
    Ok(())
}

fn refuse(call: &Call, target: &Target, need: &Need<'_>) -> Refusal {
    let scopes = match need {
        Need::Repository(name, action) => scopes(call, name, *action),
        Need::Catalog => vec![Scope::catalog()],
        Need::Nothing | Need::Name => Vec::new(),
    };
    let tokens = call.registry.access.tokens.is_some();
    let grants = call.caller.grants.is_some();
    // Who has shown a password has shown all there is to show. A token could be had that allows more, unless the
    // one that is here was granted what it takes, and the policy is against it.
    let final_word = match need {
        Need::Repository(name, action) if grants => {
            call.registry.access.grants(&call.caller, name, *action)
        }
        _ => call.caller.name.is_some() && !grants,
    };
    if final_word {
        return Refusal::denied("you may not do this");
    }
    let error = (tokens && grants).then_some("insufficient_scope");
    challenge(
        &call.registry,
        call.peer,
        &call.headers,
        target,
        &scopes,
        error,
    )
}

/// What a token must allow for a request: what clients ask the token service for next.
fn scopes(call: &Call, name: &Repository, action: Action) -> Vec<Scope> {
    let actions: &[&str] = match action {
        Action::Pull => &["pull"],
        Action::Push | Action::Overwrite => &["pull", "push"],
        Action::Delete => &["delete"],
    };
    let mut scopes = vec![Scope::repository(name, actions)];
    let from = call.query.get("mount").and(call.query.get("from"));
    if let Some(from) = from.and_then(|from| from.parse().ok()) {
        scopes.push(Scope::repository(&from, &["pull"]));
    }
    scopes
}

fn challenge(
    registry: &Registry,
    peer: Peer,
    headers: &HeaderMap,
    target: &Target,
    scopes: &[Scope],
    error: Option<&'static str>,
) -> Refusal {
    let access = &registry.access;
    // Browsers know passwords only, and so does who asks for a token.
    let by_password = matches!(target, Target::Page(_) | Target::Token | Target::Search);
    match &access.tokens {
        Some(tokens) if !by_password => {
            let origin = registry.origin(peer, headers);
            Refusal::unauthorized(tokens.challenge(&origin, scopes, error))
        }
        _ => Refusal::unauthorized(access.password_challenge()),
    }
}
