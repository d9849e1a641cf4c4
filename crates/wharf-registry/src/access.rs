//! Who may do what.
//!
//! Passwords are those of an htpasswd file with bcrypt entries, as `htpasswd -B` writes them: the one
//! form that file knows that is fit for its purpose. A check costs some 50 ms on purpose, so what was
//! right once is remembered, as a keyed hash of name and password, for a while.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use ring::hmac;
use ring::rand::SystemRandom;

/// How long a password that was right is not checked again.
const REMEMBERED: Duration = Duration::from_secs(60);

/// Most passwords remembered at a time.
const MOST_REMEMBERED: usize = 1024;

/// Longest htpasswd file, in bytes.
const MAX_FILE: usize = 1024 * 1024;

/// An entry nobody knows the password of, checked for names that are not in the file: whether a name
/// is there must not show in the time an answer takes.
const NOBODY: &str = "$2y$10$abcdefghijklmnopqrstuuH1iLzuXJqXy9r1a8NoTYfNTvPbaSDAK";

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
    /// The system gave no random numbers.
    #[error("no random numbers to be had")]
    Random,
}

/// Names and the hashes of their passwords.
pub struct Htpasswd {
    entries: HashMap<String, String>,
    key: hmac::Key,
    remembered: Mutex<HashMap<Vec<u8>, Instant>>,
}

impl std::fmt::Debug for Htpasswd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Htpasswd")
            .field("entries", &self.entries.len())
            .finish_non_exhaustive()
    }
}

impl Htpasswd {
    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read, or a line of it is not an entry with a bcrypt hash.
    pub fn read(path: &Path) -> Result<Self, AccessError> {
        let failed = |source| AccessError::Read {
            path: path.to_owned(),
            source,
        };
        let text = std::fs::read_to_string(path).map_err(failed)?;
        if text.len() > MAX_FILE {
            return Err(failed(std::io::ErrorKind::FileTooLarge.into()));
        }
        let mut entries = HashMap::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (name, hash) = entry(line).map_err(|what| AccessError::Line {
                path: path.to_owned(),
                line: index + 1,
                what,
            })?;
            entries.insert(name.to_owned(), hash.to_owned());
        }
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())
            .map_err(|_| AccessError::Random)?;
        Ok(Self {
            entries,
            key,
            remembered: Mutex::default(),
        })
    }

    /// Returns whether the password is this name's. It may take tens of milliseconds: not for a thread that serves others.
    #[must_use]
    pub fn check(&self, name: &str, password: &str) -> bool {
        let mut proof = hmac::Context::with_key(&self.key);
        // The length keeps ("ab", "c") and ("a", "bc") apart.
        proof.update(&(name.len() as u64).to_be_bytes());
        proof.update(name.as_bytes());
        proof.update(password.as_bytes());
        let proof = proof.sign().as_ref().to_vec();
        let now = Instant::now();
        {
            let remembered = self
                .remembered
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            if remembered
                .get(&proof)
                .is_some_and(|since| now.duration_since(*since) < REMEMBERED)
            {
                return true;
            }
        }
        let hash = self.entries.get(name);
        let right = bcrypt::verify(password, hash.map_or(NOBODY, String::as_str)).unwrap_or(false)
            && hash.is_some();
        if right {
            let mut remembered = self
                .remembered
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            if remembered.len() >= MOST_REMEMBERED {
                remembered.clear();
            }
            remembered.insert(proof, now);
        }
        right
    }
}

fn entry(line: &str) -> Result<(&str, &str), &'static str> {
    let (name, hash) = line.split_once(':').ok_or("expected name:hash")?;
    if name.is_empty() {
        return Err("the name is empty");
    }
    let bcrypt = ["$2y$", "$2a$", "$2b$"]
        .iter()
        .any(|prefix| hash.starts_with(prefix));
    bcrypt
        .then_some((name, hash))
        .ok_or("only bcrypt hashes are accepted: make them with htpasswd -B")
}

/// Who may do what.
#[derive(Debug, Default)]
pub enum Access {
    /// Everybody may do everything: for a listener nobody else reaches.
    #[default]
    Open,
    /// Who has a name and password may do everything.
    Basic(Box<Basic>),
}

/// Names and passwords, and what they are needed for.
#[derive(Debug)]
pub struct Basic {
    /// The names.
    pub users: Htpasswd,
    /// What a client shows its user.
    pub realm: String,
    /// Whether everybody may read.
    pub anonymous_read: bool,
}

/// What a request does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Read,
    Write,
}

impl Access {
    /// Returns the challenge to answer with when the request may not do this.
    pub(crate) fn refuse(
        &self,
        action: Action,
        base: bool,
        credentials: Option<&(String, String)>,
    ) -> Option<String> {
        let Self::Basic(basic) = self else {
            return None;
        };
        let allowed = match credentials {
            Some((name, password)) => basic.users.check(name, password),
            // `docker login` asks the base path, and must not be told that a wrong password is right.
            None => basic.anonymous_read && action == Action::Read && !base,
        };
        (!allowed).then(|| format!("Basic realm=\"{}\"", basic.realm.replace(['"', '\\'], "")))
    }
}

/// Reads `Authorization: Basic …`.
pub(crate) fn credentials(headers: &http::HeaderMap) -> Option<(String, String)> {
    use base64::Engine as _;

    let text = headers.get(http::header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = text.split_once(' ')?;
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

    fn users(text: &str) -> Result<Htpasswd, AccessError> {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), text).expect("written");
        Htpasswd::read(file.path())
    }

    #[test]
    fn a_password_is_checked_and_remembered() {
        let hash = bcrypt::hash("geheim", 4).expect("a hash");
        let users = users(&format!("# people\n\nanna:{hash}\n")).expect("a file");
        for _ in 0..2 {
            assert!(users.check("anna", "geheim"));
            assert!(!users.check("anna", "geheim2"));
            assert!(!users.check("annag", "eheim"));
            assert!(!users.check("", ""));
        }
    }

    #[test]
    fn other_hashes_are_refused_with_their_line() {
        for text in ["anna:{SHA}xxx", "\nanna", ":$2y$05$x", "anna:$apr1$x"] {
            assert!(
                matches!(users(text), Err(AccessError::Line { .. })),
                "{text}"
            );
        }
    }

    #[test]
    fn who_may_do_what() {
        let hash = bcrypt::hash("p", 4).expect("a hash");
        let mut access = Access::Basic(Box::new(Basic {
            users: users(&format!("u:{hash}")).expect("a file"),
            realm: "a \"b\"".to_owned(),
            anonymous_read: false,
        }));
        let right = ("u".to_owned(), "p".to_owned());
        let wrong = ("u".to_owned(), "q".to_owned());
        assert_eq!(access.refuse(Action::Write, false, Some(&right)), None);
        assert_eq!(
            access.refuse(Action::Read, false, None).as_deref(),
            Some("Basic realm=\"a b\"")
        );
        assert!(access.refuse(Action::Read, false, Some(&wrong)).is_some());
        if let Access::Basic(basic) = &mut access {
            basic.anonymous_read = true;
        }
        assert_eq!(access.refuse(Action::Read, false, None), None);
        assert!(access.refuse(Action::Read, true, None).is_some());
        assert!(access.refuse(Action::Write, false, None).is_some());
        assert!(
            access.refuse(Action::Read, false, Some(&wrong)).is_some(),
            "wrong is not anonymous"
        );
    }
}
