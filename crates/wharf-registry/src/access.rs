//! Who may do what.
//!
//! A request is somebody's: nobody's who says so ([`Caller::anonymous`]), a user's with name and
//! password, or a bearer's of a token. What a caller may do is what the policy allows its name; a
//! bearer must also have been granted it.

mod der;
mod htpasswd;
mod jwt;
mod policy;
mod tokens;

use std::path::PathBuf;
use std::sync::Arc;

use http::HeaderMap;
use jiff::Timestamp;
use wharf_types::Repository;

pub use self::htpasswd::Htpasswd;
pub use self::jwt::KeyError;
pub use self::policy::{Action, Policy};
pub use self::tokens::{IssueSettings, TokenSettings, Tokens, TrustSettings};

pub(crate) use self::jwt::Grant;
pub(crate) use self::tokens::Scope;

use crate::watched::Watched;

/// Why nobody can be told apart.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// The file cannot be read.
    #[error("cannot read {path}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A line is not `name:bcrypt-hash`.
    #[error("{path}, line {line}: {what}", path = path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A file that is no policy.
    #[error("policy {path}: {what}", path = path.display())]
    Policy {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A file without a key that can be used.
    #[error("keys in {path}", path = path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: KeyError,
    },
    /// The system gave no random numbers.
    #[error("no random numbers to be had")]
    Random,
}

/// The rules that say who may do what.
#[derive(Debug)]
pub enum Rules {
    /// Rules that stay as they are.
    Fixed(Arc<Policy>),
    /// Rules of a file.
    File(Watched<Policy, AccessError>),
}

impl Rules {
    /// Reads a policy's file, now and when it changes.
    ///
    /// # Errors
    /// It cannot be read, or is no policy.
    pub fn file(path: PathBuf) -> Result<Self, AccessError> {
        let read = path.clone();
        Watched::new(vec![path], move || Policy::read(&read)).map(Self::File)
    }

    fn get(&self) -> Arc<Policy> {
        match self {
            Self::Fixed(policy) => Arc::clone(policy),
            Self::File(file) => file.get(),
        }
    }
}

impl From<Policy> for Rules {
    fn from(policy: Policy) -> Self {
        Self::Fixed(Arc::new(policy))
    }
}

/// Who may do what, and how they show who they are.
#[derive(Debug)]
pub struct Access {
    /// The rules.
    pub rules: Rules,
    /// Names and passwords.
    pub users: Option<Watched<Htpasswd, AccessError>>,
    /// What a client shows its user when it asks for a password.
    pub realm: String,
    /// Tokens, when clients are to show these rather than passwords.
    pub tokens: Option<Tokens>,
}

/// Who a request is from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller {
    /// The name, unless the caller gave none.
    pub(crate) name: Option<String>,
    /// What a token allows; `None` for who came without one.
    pub(crate) grants: Option<Arc<[Grant]>>,
}

impl Caller {
    /// Somebody who says not who they are.
    pub(crate) fn anonymous() -> Self {
        Self {
            name: None,
            grants: None,
        }
    }

    fn named(name: String) -> Self {
        Self {
            name: Some(name),
            ..Self::anonymous()
        }
    }

    /// Returns whether the caller said who it is, rightly.
    pub(crate) fn is_known(&self) -> bool {
        self.name.is_some() || self.grants.is_some()
    }
}

/// What a request shows of its sender.
pub(crate) enum Shown {
    Nothing,
    Password(String, String),
    Token(String),
    /// Something that cannot be read.
    Garbage,
}

/// Why the sender is not who they say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unknown {
    Password,
    Token(String),
}

impl Access {
    /// Everybody may do everything: for a listener nobody else reaches.
    #[must_use]
    pub fn open() -> Self {
        Self {
            rules: Policy::open().into(),
            users: None,
            realm: String::new(),
            tokens: None,
        }
    }

    /// Reads names and passwords from a file, now and when it changes.
    ///
    /// # Errors
    /// It cannot be read, or is no htpasswd file with bcrypt entries.
    pub fn users(path: PathBuf) -> Result<Watched<Htpasswd, AccessError>, AccessError> {
        let read = path.clone();
        Watched::new(vec![path], move || Htpasswd::read(&read))
    }

    /// Returns whether everybody may do everything.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.tokens.is_none() && self.policy().is_open()
    }

    /// Returns the rules in force.
    pub(crate) fn policy(&self) -> Arc<Policy> {
        self.rules.get()
    }

    /// Says who the sender is without taking time, if that can be said.
    pub(crate) fn recognise(&self, shown: &Shown) -> Option<Result<Caller, Unknown>> {
        match shown {
            Shown::Nothing => Some(Ok(Caller::anonymous())),
            Shown::Garbage => Some(Err(Unknown::Password)),
            Shown::Token(token) => Some(match &self.tokens {
                Some(tokens) => tokens
                    .check(token, Timestamp::now())
                    .map_err(|error| Unknown::Token(error.to_string())),
                None => Err(Unknown::Password),
            }),
            Shown::Password(name, password) => match &self.users {
                // A password nobody asked for says nothing.
                None if self.tokens.is_none() => Some(Ok(Caller::anonymous())),
                None => Some(Err(Unknown::Password)),
                Some(users) => users
                    .get()
                    .recall(name, password)
                    .then(|| Ok(Caller::named(name.clone()))),
            },
        }
    }

    /// Says who the sender is; a password takes its time: not for a thread that serves others.
    pub(crate) fn identify(&self, shown: Shown) -> Result<Caller, Unknown> {
        if let Some(known) = self.recognise(&shown) {
            return known;
        }
        let (Shown::Password(name, password), Some(users)) = (shown, &self.users) else {
            return Err(Unknown::Password);
        };
        if users.get().check(&name, &password) {
            Ok(Caller::named(name))
        } else {
            Err(Unknown::Password)
        }
    }

    /// Returns whether a caller may do this.
    pub(crate) fn allows(&self, caller: &Caller, repository: &Repository, action: Action) -> bool {
        self.grants(caller, repository, action)
            && self
                .policy()
                .allows(caller.name.as_deref(), repository, action)
    }

    /// Returns whether a caller's token allows this, or it needs none.
    pub(crate) fn grants(&self, caller: &Caller, repository: &Repository, action: Action) -> bool {
        match (&caller.grants, &self.tokens) {
            (Some(grants), _) => granted(grants, repository, action),
            // With tokens, who has none has nothing; people show a password instead.
            (None, Some(_)) => caller.name.is_some(),
            (None, None) => true,
        }
    }

    /// Returns whether a caller may ask which repositories there are; it is shown those it may pull.
    pub(crate) fn allows_catalog(&self, caller: &Caller) -> bool {
        match (&caller.grants, &self.tokens) {
            (Some(grants), _) => grants
                .iter()
                .any(|grant| grant.kind == "registry" && grant.name == "catalog"),
            (None, Some(_)) => caller.name.is_some(),
            (None, None) => true,
        }
    }

    /// Returns whether a caller may see that a repository is there.
    pub(crate) fn shows(&self, caller: &Caller, repository: &Repository) -> bool {
        self.policy()
            .allows(caller.name.as_deref(), repository, Action::Pull)
    }

    /// Returns whether everybody must say who they are, or show a token, before they are told that this
    /// is a registry: `docker login` asks that, and must not be told that a wrong password is right.
    pub(crate) fn asks_at_base(&self) -> bool {
        self.users.is_some() || self.tokens.is_some()
    }

    /// Returns the challenge of who shows passwords.
    pub(crate) fn password_challenge(&self) -> String {
        format!("Basic realm=\"{}\"", quotable(&self.realm))
    }
}

fn granted(grants: &[Grant], repository: &Repository, action: Action) -> bool {
    // The policy, if there is one, tells pushes that replace from those that add; tokens do not.
    let wanted = match action {
        Action::Pull => "pull",
        Action::Push | Action::Overwrite => "push",
        Action::Delete => "delete",
    };
    grants.iter().any(|grant| {
        grant.kind == "repository"
            && grant.name == repository.as_str()
            && grant
                .actions
                .iter()
                .any(|action| action == wanted || action == "*")
    })
}

/// Text for between quotes in a header.
fn quotable(text: &str) -> String {
    text.replace(['"', '\\'], "")
}

/// Reads `Authorization`.
pub(crate) fn shown(headers: &HeaderMap) -> Shown {
    let Some(text) = headers.get(http::header::AUTHORIZATION) else {
        return Shown::Nothing;
    };
    let read = text.to_str().ok().and_then(|text| {
        let (scheme, rest) = text.split_once(' ')?;
        if scheme.eq_ignore_ascii_case("bearer") {
            return Some(Shown::Token(rest.trim().to_owned()));
        }
        let (name, password) = password(scheme, rest)?;
        Some(Shown::Password(name, password))
    });
    read.unwrap_or(Shown::Garbage)
}

fn password(scheme: &str, encoded: &str) -> Option<(String, String)> {
    use base64::Engine as _;

    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = base64::engine::general_purpose::STANDARD
        .decode(encoded.trim())
        .ok()?;
    let (name, password) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    Some((name.to_owned(), password.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository() -> Repository {
        "a/b".parse().expect("a name")
    }

    fn bearer(name: Option<&str>, actions: &[&str]) -> Caller {
        Caller {
            name: name.map(str::to_owned),
            grants: Some(Arc::from([Grant {
                kind: "repository".to_owned(),
                name: "a/b".to_owned(),
                actions: actions.iter().map(|action| (*action).to_owned()).collect(),
            }])),
        }
    }

    fn with_tokens(policy: Policy) -> Access {
        Access {
            rules: policy.into(),
            tokens: Some(
                Tokens::new(TokenSettings {
                    service: "s".to_owned(),
                    realm: None,
                    issue: None,
                    trust: None,
                })
                .expect("nothing to read"),
            ),
            ..Access::open()
        }
    }

    #[test]
    fn a_bearer_needs_the_grant_and_the_policy() {
        let access = with_tokens(Policy::users(true));
        let allows = |caller: &Caller, action| access.allows(caller, &repository(), action);
        assert!(allows(&bearer(Some("anna"), &["push"]), Action::Push));
        assert!(allows(&bearer(Some("anna"), &["push"]), Action::Overwrite));
        assert!(!allows(&bearer(Some("anna"), &["push"]), Action::Pull));
        assert!(!allows(&bearer(Some("anna"), &["pull"]), Action::Delete));
        assert!(allows(&bearer(None, &["pull", "push"]), Action::Pull));
        assert!(!allows(&bearer(None, &["pull", "push"]), Action::Push));
        assert!(!allows(&Caller::anonymous(), Action::Pull));
        let other = "a/c".parse().expect("a name");
        assert!(!access.allows(&bearer(Some("anna"), &["*"]), &other, Action::Pull));
    }

    #[test]
    fn without_tokens_the_policy_decides() {
        let access = Access {
            rules: Policy::users(true).into(),
            ..Access::open()
        };
        let anna = Caller::named("anna".to_owned());
        assert!(access.allows(&anna, &repository(), Action::Delete));
        assert!(access.allows(&Caller::anonymous(), &repository(), Action::Pull));
        assert!(!access.allows(&Caller::anonymous(), &repository(), Action::Push));
    }

    #[test]
    fn what_a_request_shows_is_read() {
        let read = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(http::header::AUTHORIZATION, text.parse().expect("a value"));
            match shown(&headers) {
                Shown::Nothing => "nothing".to_owned(),
                Shown::Password(name, password) => format!("{name}/{password}"),
                Shown::Token(token) => token,
                Shown::Garbage => "garbage".to_owned(),
            }
        };
        assert_eq!(read("Basic YTpiOmM="), "a/b:c");
        assert_eq!(read("basic YTpiOmM="), "a/b:c");
        assert_eq!(read("Bearer x.y.z"), "x.y.z");
        for text in ["Basic", "Basic !", "Digest x", "Basic YWI="] {
            assert_eq!(read(text), "garbage", "{text}");
        }
    }
}
