//! Names and passwords.
//!
//! They are those of an htpasswd file with bcrypt entries, as `htpasswd -B` writes them: the one
//! form that file knows that is fit for its purpose. A check costs some 50 ms on purpose, so what was
//! right once is remembered, as a keyed hash of name and password, for a while.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use ring::hmac;
use ring::rand::SystemRandom;

use super::AccessError;

/// How long a password that was right is not checked again.
const REMEMBERED: Duration = Duration::from_secs(60);

/// Most passwords remembered at a time.
const MOST_REMEMBERED: usize = 1024;

/// Longest htpasswd file, in bytes.
const MAX_FILE: u64 = 1024 * 1024;

/// An entry nobody knows the password of, checked for names that are not in the file: whether a name
/// is there must not show in the time an answer takes.
const NOBODY: &str = "$2y$10$abcdefghijklmnopqrstuuH1iLzuXJqXy9r1a8NoTYfNTvPbaSDAK";

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
        let text = crate::watched::read(path, MAX_FILE).map_err(failed)?;
        let text =
            String::from_utf8(text).map_err(|_| failed(std::io::ErrorKind::InvalidData.into()))?;
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

    /// Returns whether the password was this name's a short while ago, without working it out again.
    #[must_use]
    pub(crate) fn recall(&self, name: &str, password: &str) -> bool {
        let proof = self.proof(name, password);
        let remembered = self
            .remembered
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        remembered
            .get(&proof)
            .is_some_and(|since| since.elapsed() < REMEMBERED)
    }

    /// Returns whether the password is this name's. It may take tens of milliseconds: not for a thread that serves others.
    #[must_use]
    pub fn check(&self, name: &str, password: &str) -> bool {
        if self.recall(name, password) {
            return true;
        }
        let hash = self.entries.get(name);
        let right = bcrypt::verify(password, hash.map_or(NOBODY, String::as_str)).unwrap_or(false)
            && hash.is_some();
        if right {
            let proof = self.proof(name, password);
            let mut remembered = self
                .remembered
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            if remembered.len() >= MOST_REMEMBERED {
                remembered.clear();
            }
            remembered.insert(proof, Instant::now());
        }
        right
    }

    fn proof(&self, name: &str, password: &str) -> Vec<u8> {
        let mut proof = hmac::Context::with_key(&self.key);
        // The length keeps ("ab", "c") and ("a", "bc") apart.
        proof.update(&(name.len() as u64).to_be_bytes());
        proof.update(name.as_bytes());
        proof.update(password.as_bytes());
        proof.sign().as_ref().to_vec()
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
}
