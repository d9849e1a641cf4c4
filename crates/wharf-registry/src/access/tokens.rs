//! The token service: what `/token` gives out, and what is believed of a bearer.
//!
//! Source: Docker's "Token Authentication Specification" and "Token Scope Documentation", which stock
//! clients speak.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use ring::rand::{SecureRandom as _, SystemRandom};
use wharf_types::Repository;

use super::jwt::{self, Claims, Grant, Key, SigningKey, TokenError};
use super::policy::{Action, Policy};
use super::{AccessError, Caller};
use crate::watched::{self, Watched};

/// Most scopes of one request that are looked at.
const MAX_SCOPES: usize = 64;

/// Longest file of keys, in bytes.
const MAX_FILE: u64 = 1024 * 1024;

/// How clients get tokens, and which are believed.
#[derive(Debug)]
pub struct Tokens {
    service: String,
    realm: Option<String>,
    issuer: Option<Issuer>,
    foreign: Option<Foreign>,
}

/// Gives tokens out under the service's own name.
#[derive(Debug)]
struct Issuer {
    key: SigningKey,
    public: [Key; 1],
    lifetime: Duration,
}

/// Somebody else whose tokens are believed.
#[derive(Debug)]
struct Foreign {
    issuer: String,
    keys: Watched<Vec<Key>, AccessError>,
}

/// How a token service is set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenSettings {
    /// Whom tokens are for, `aud`.
    pub service: String,
    /// Where clients get them; without one it is `/token` of the host they asked.
    pub realm: Option<String>,
    /// Whether this registry gives them out.
    pub issue: Option<IssueSettings>,
    /// Whose tokens are believed beside its own.
    pub trust: Option<TrustSettings>,
}

/// How tokens are given out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssueSettings {
    /// The private key, PEM; without one each process makes its own.
    pub key: Option<PathBuf>,
    /// How long a token is good for.
    pub lifetime: Duration,
}

/// Whose tokens are believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustSettings {
    /// The name in them, `iss`.
    pub issuer: String,
    /// Certificates or public keys, PEM.
    pub keys: PathBuf,
}

/// One thing a client asks leave for, `repository:<name>:<actions>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scope {
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) actions: Vec<String>,
}

impl Scope {
    /// Leave to do something to a repository.
    pub(crate) fn repository(name: &Repository, actions: &[&str]) -> Self {
        Self {
            kind: "repository".to_owned(),
            name: name.to_string(),
            actions: actions.iter().map(|action| (*action).to_owned()).collect(),
        }
    }

    /// Leave to list repositories.
    pub(crate) fn catalog() -> Self {
        Self {
            kind: "registry".to_owned(),
            name: "catalog".to_owned(),
            actions: vec!["*".to_owned()],
        }
    }

    fn read(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once(':')?;
        // The name of a repository may begin with a host and its port.
        let (name, actions) = rest.rsplit_once(':')?;
        // `repository(plugin)` names a class, which means nothing here.
        let kind = kind.split('(').next().unwrap_or(kind);
        Some(Self {
            kind: kind.to_owned(),
            name: name.to_owned(),
            actions: actions.split(',').map(str::to_owned).collect(),
        })
    }
}

impl std::fmt::Display for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}", self.kind, self.name, self.actions.join(","))
    }
}

/// A token that was given out.
#[derive(Debug)]
pub(crate) struct Issued {
    pub(crate) token: String,
    pub(crate) lifetime: Duration,
    pub(crate) issued_at: Timestamp,
}

impl Tokens {
    /// Reads the keys.
    ///
    /// # Errors
    /// A file cannot be read, or has no key that can be used.
    pub fn new(settings: TokenSettings) -> Result<Self, AccessError> {
        let issuer = settings.issue.map(Issuer::new).transpose()?;
        let foreign = settings.trust.map(Foreign::new).transpose()?;
        Ok(Self {
            service: settings.service,
            realm: settings.realm,
            issuer,
            foreign,
        })
    }

    /// Returns whether tokens are given out here.
    pub(crate) fn issues(&self) -> bool {
        self.issuer.is_some()
    }

    /// Returns the service that tokens are for.
    pub(crate) fn service(&self) -> &str {
        &self.service
    }

    /// Checks a bearer's token.
    pub(crate) fn check(&self, token: &str, now: Timestamp) -> Result<Caller, TokenError> {
        let now = now.as_second();
        let mut refused = None;
        if let Some(issuer) = &self.issuer {
            match jwt::open(token, &issuer.public) {
                Ok(claims) => {
                    claims.check(&self.service, &self.service, now)?;
                    return Ok(caller(claims));
                }
                Err(error) => refused = Some(error),
            }
        }
        if let Some(foreign) = &self.foreign {
            match jwt::open(token, &foreign.keys.get()) {
                Ok(claims) => {
                    claims.check(&foreign.issuer, &self.service, now)?;
                    return Ok(caller(claims));
                }
                Err(error) => refused = Some(error),
            }
        }
        Err(refused.unwrap_or(TokenError::Signature))
    }

    /// Gives a token out that allows what the policy lets its bearer do of what was asked.
    pub(crate) fn issue(
        &self,
        name: Option<&str>,
        scopes: &str,
        policy: &Policy,
        now: Timestamp,
    ) -> Option<Issued> {
        let issuer = self.issuer.as_ref()?;
        let asked = scopes.split_whitespace().take(MAX_SCOPES);
        let access = asked
            .filter_map(Scope::read)
            .filter_map(|scope| grant(scope, name, policy));
        let from = now.as_second();
        let lifetime = i64::try_from(issuer.lifetime.as_secs()).unwrap_or(i64::MAX);
        let mut id = [0; 16];
        SystemRandom::new().fill(&mut id).ok()?;
        let claims = Claims {
            iss: self.service.clone(),
            sub: name.unwrap_or_default().to_owned(),
            aud: vec![self.service.clone()],
            exp: from.saturating_add(lifetime),
            nbf: Some(from),
            iat: Some(from),
            jti: id.iter().map(|byte| format!("{byte:02x}")).collect(),
            access: access.collect(),
        };
        Some(Issued {
            token: issuer.key.sign(&claims)?,
            lifetime: issuer.lifetime,
            issued_at: now,
        })
    }

    /// Returns what to answer with when a token is needed: where to get it, and for what.
    pub(crate) fn challenge(
        &self,
        origin: &str,
        scopes: &[Scope],
        error: Option<&'static str>,
    ) -> String {
        let realm = match &self.realm {
            Some(realm) => realm.clone(),
            None => format!("{origin}/token"),
        };
        let mut challenge = format!(
            "Bearer realm=\"{}\",service=\"{}\"",
            super::quotable(&realm),
            super::quotable(&self.service)
        );
        if !scopes.is_empty() {
            let scopes: Vec<String> = scopes.iter().map(Scope::to_string).collect();
            challenge.push_str(&format!(
                ",scope=\"{}\"",
                super::quotable(&scopes.join(" "))
            ));
        }
        if let Some(error) = error {
            challenge.push_str(&format!(",error=\"{error}\""));
        }
        challenge
    }
}

impl Issuer {
    fn new(settings: IssueSettings) -> Result<Self, AccessError> {
        let key = match &settings.key {
            None => SigningKey::generate().map_err(|_| AccessError::Random)?,
            Some(path) => {
                let pem = read(path)?;
                SigningKey::read(&pem).map_err(|source| AccessError::Key {
                    path: path.clone(),
                    source,
                })?
            }
        };
        Ok(Self {
            public: [key.public()],
            key,
            lifetime: settings.lifetime,
        })
    }
}

impl Foreign {
    fn new(settings: TrustSettings) -> Result<Self, AccessError> {
        let path = settings.keys.clone();
        let keys = Watched::new(vec![settings.keys], move || {
            Key::read_all(&read(&path)?).map_err(|source| AccessError::Key {
                path: path.clone(),
                source,
            })
        })?;
        Ok(Self {
            issuer: settings.issuer,
            keys,
        })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, AccessError> {
    watched::read(path, MAX_FILE).map_err(|source| AccessError::Read {
        path: path.to_owned(),
        source,
    })
}

fn caller(claims: Claims) -> Caller {
    Caller {
        name: Some(claims.sub).filter(|name| !name.is_empty()),
        grants: Some(Arc::from(claims.access)),
    }
}

/// Returns the part of what was asked that the policy allows, if any.
fn grant(scope: Scope, name: Option<&str>, policy: &Policy) -> Option<Grant> {
    let actions: Vec<String> = if scope == Scope::catalog() {
        // The list shows each only what it may pull, so everybody may have it.
        scope.actions
    } else if scope.kind == "repository" {
        let repository: Repository = scope.name.parse().ok()?;
        let asked = |action: &str| {
            let asked = |asked: &String| asked == action || asked == "*";
            scope.actions.iter().any(asked)
        };
        let known = [
            ("pull", Action::Pull),
            ("push", Action::Push),
            ("delete", Action::Delete),
        ];
        known
            .into_iter()
            .filter(|(text, action)| asked(text) && policy.allows(name, &repository, *action))
            .map(|(text, _)| text.to_owned())
            .collect()
    } else {
        return None;
    };
    (!actions.is_empty()).then_some(Grant {
        kind: scope.kind,
        name: scope.name,
        actions,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(service: &str) -> Tokens {
        Tokens::new(TokenSettings {
            service: service.to_owned(),
            realm: None,
            issue: Some(IssueSettings {
                key: None,
                lifetime: Duration::from_secs(300),
            }),
            trust: None,
        })
        .expect("a key")
    }

    #[test]
    fn a_token_allows_what_was_asked_and_may_be_given() {
        let tokens = tokens("here");
        let now = Timestamp::now();
        let policy = Policy::users(true);
        let granted = |name: Option<&str>, scopes: &str| {
            let issued = tokens.issue(name, scopes, &policy, now).expect("a token");
            let caller = tokens.check(&issued.token, now).expect("ours");
            assert_eq!(caller.name.as_deref(), name);
            let grants = caller.grants.expect("a token");
            let text = grants
                .iter()
                .map(|grant| format!("{}:{}:{}", grant.kind, grant.name, grant.actions.join(",")));
            text.collect::<Vec<_>>()
        };
        assert_eq!(
            granted(
                Some("anna"),
                "repository:a/b:pull,push repository:c:delete,fly"
            ),
            ["repository:a/b:pull,push", "repository:c:delete"]
        );
        assert_eq!(
            granted(None, "repository:a/b:push,pull"),
            ["repository:a/b:pull"]
        );
        assert_eq!(
            granted(Some("anna"), "repository:a:* registry:catalog:*"),
            ["repository:a:pull,push,delete", "registry:catalog:*"]
        );
        assert_eq!(
            granted(
                Some("anna"),
                "repository:../x:pull registry:other:* x repository:a:"
            ),
            Vec::<String>::new()
        );
    }

    #[test]
    fn tokens_of_others_are_refused() {
        let (one, other) = (tokens("one"), tokens("one"));
        let now = Timestamp::now();
        let issued = one
            .issue(Some("a"), "", &Policy::open(), now)
            .expect("a token");
        assert!(one.check(&issued.token, now).is_ok());
        assert_eq!(
            other.check(&issued.token, now).map(|_| ()),
            Err(TokenError::Signature)
        );
        let later = now + jiff::SignedDuration::from_secs(400);
        assert_eq!(
            one.check(&issued.token, later).map(|_| ()),
            Err(TokenError::Expired)
        );
    }

    #[test]
    fn the_challenge_is_as_the_specification_has_it() {
        let tokens = tokens("registry.docker.io");
        let scope = Scope::repository(
            &"samalba/my-app".parse().expect("a name"),
            &["pull", "push"],
        );
        assert_eq!(
            tokens.challenge("https://auth.docker.io", &[scope], None),
            r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:samalba/my-app:pull,push""#
        );
        assert_eq!(
            tokens.challenge("http://h:5000", &[], Some("invalid_token")),
            r#"Bearer realm="http://h:5000/token",service="registry.docker.io",error="invalid_token""#
        );
    }
}
