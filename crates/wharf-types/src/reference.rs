//! Image references, with Docker's rules for what a short name means.
//!
//! Grammar: `distribution/reference` (`reference.go`, `regexp.go`, `normalize.go`):
//! `[domain/]path[:tag][@digest]`. A first component is a domain when it holds a `.` or a `:`, is
//! `localhost`, or has an upper-case letter; otherwise the domain is `docker.io`, and a path of a
//! single component there is under `library/`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Digest;

/// The registry that short names mean.
pub const DEFAULT_DOMAIN: &str = "docker.io";
/// The tag that a name without tag and digest means.
pub const DEFAULT_TAG: &str = "latest";
/// Longest repository name, domain included.
pub(crate) const NAME_MAX: usize = 255;
/// Longest tag.
const TAG_MAX: usize = 128;

/// A reference to an image: a repository, and a tag or a digest or both or neither.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Reference {
    domain: String,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// Why a reference was refused; the texts are Docker's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// It does not follow the grammar.
    #[error("invalid reference format")]
    Format,
    /// The repository has an upper-case letter.
    #[error("invalid reference format: repository name ({0}) must be lowercase")]
    Uppercase(String),
    /// It is an image's id, which names no repository.
    #[error("invalid repository name ({0}), cannot specify 64-byte hexadecimal strings")]
    Identifier(String),
    /// The repository's name is too long.
    #[error("repository name must not be more than {NAME_MAX} characters")]
    TooLong,
}

impl Reference {
    /// Returns the registry's host and port.
    #[must_use]
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// Returns the repository's path at the registry, `library/` included.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns the tag, when one was given.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// Returns the digest, when one was given.
    #[must_use]
    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// Returns the repository as people write it: without `docker.io/` and `library/`.
    #[must_use]
    pub fn familiar_name(&self) -> String {
        if self.domain != DEFAULT_DOMAIN {
            return format!("{}/{}", self.domain, self.path);
        }
        match self.path.strip_prefix("library/") {
            Some(rest) if !rest.contains('/') => rest.to_owned(),
            _ => self.path.clone(),
        }
    }

    /// Returns the whole reference as people write it.
    #[must_use]
    pub fn familiar(&self) -> String {
        self.with_suffix(self.familiar_name())
    }

    /// Returns the reference with the tag `latest` when it has neither tag nor digest.
    #[must_use]
    pub fn with_default_tag(mut self) -> Self {
        if self.tag.is_none() && self.digest.is_none() {
            self.tag = Some(DEFAULT_TAG.to_owned());
        }
        self
    }

    /// Returns the same repository with another tag and no digest.
    ///
    /// # Errors
    /// [`ReferenceError::Format`] when the tag does not follow the grammar.
    pub fn with_tag(mut self, tag: &str) -> Result<Self, ReferenceError> {
        check_tag(tag)?;
        self.tag = Some(tag.to_owned());
        self.digest = None;
        Ok(self)
    }

    /// Returns the reference without the tag when it has a digest too: the digest decides.
    #[must_use]
    pub fn without_tag_beside_digest(mut self) -> Self {
        if self.digest.is_some() {
            self.tag = None;
        }
        self
    }

    /// Returns the same repository with a digest and no tag.
    #[must_use]
    pub fn with_digest(mut self, digest: Digest) -> Self {
        self.tag = None;
        self.digest = Some(digest);
        self
    }

    fn with_suffix(&self, mut text: String) -> String {
        if let Some(tag) = &self.tag {
            text.push(':');
            text.push_str(tag);
        }
        if let Some(digest) = &self.digest {
            text.push('@');
            text.push_str(&digest.to_string());
        }
        text
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        if crate::digest::parse_hex(text).is_some() {
            return Err(ReferenceError::Identifier(text.to_owned()));
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (
                rest,
                Some(digest.parse().map_err(|_| ReferenceError::Format)?),
            ),
            None => (text, None),
        };
        let (domain, remainder) = split_domain(rest);
        let (path, tag) = match remainder.rsplit_once(':') {
            Some((path, tag)) => (path, Some(tag)),
            None => (remainder, None),
        };
        if path.bytes().any(|byte| byte.is_ascii_uppercase()) {
            // Docker names the repository as it would be at the registry.
            let prefix = if domain.is_none() && !path.contains('/') {
                "library/"
            } else {
                ""
            };
            return Err(ReferenceError::Uppercase(format!("{prefix}{path}")));
        }
        check_path(path)?;
        if let Some(tag) = tag {
            check_tag(tag)?;
        }
        let (domain, path) = match domain {
            None | Some("docker.io" | "index.docker.io") if !path.contains('/') => {
                (DEFAULT_DOMAIN, format!("library/{path}"))
            }
            None | Some("docker.io" | "index.docker.io") => (DEFAULT_DOMAIN, path.to_owned()),
            Some(domain) => {
                check_domain(domain)?;
                (domain, path.to_owned())
            }
        };
        if domain.len() + 1 + path.len() > NAME_MAX {
            return Err(ReferenceError::TooLong);
        }
        Ok(Self {
            domain: domain.to_owned(),
            path,
            tag: tag.map(str::to_owned),
            digest,
        })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.with_suffix(format!("{}/{}", self.domain, self.path)))
    }
}

impl TryFrom<String> for Reference {
    type Error = ReferenceError;

    fn try_from(text: String) -> Result<Self, ReferenceError> {
        text.parse()
    }
}

impl From<Reference> for String {
    fn from(reference: Reference) -> Self {
        reference.to_string()
    }
}

fn split_domain(text: &str) -> (Option<&str>, &str) {
    match text.split_once('/') {
        Some((first, rest))
            if first.contains(['.', ':'])
                || first == "localhost"
                || first.bytes().any(|byte| byte.is_ascii_uppercase()) =>
        {
            (Some(first), rest)
        }
        _ => (None, text),
    }
}

/// Host labels of letters, digits and inner hyphens, or an IPv6 address in brackets; then a port.
fn check_domain(domain: &str) -> Result<(), ReferenceError> {
    let (host, port) = match domain.strip_prefix('[') {
        Some(rest) => {
            let (address, after) = rest.split_once(']').ok_or(ReferenceError::Format)?;
            if address.is_empty() || !address.bytes().all(|b| b.is_ascii_hexdigit() || b == b':') {
                return Err(ReferenceError::Format);
            }
            (
                None,
                after
                    .strip_prefix(':')
                    .or((!after.is_empty()).then_some("")),
            )
        }
        None => match domain.split_once(':') {
            Some((host, port)) => (Some(host), Some(port)),
            None => (Some(domain), None),
        },
    };
    let label = |label: &str| {
        let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        !label.is_empty()
            && label.bytes().all(inner)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let host_holds = host.is_none_or(|host| host.split('.').all(label));
    let port_holds =
        port.is_none_or(|port| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()));
    (host_holds && port_holds)
        .then_some(())
        .ok_or(ReferenceError::Format)
}

/// Components of `[a-z0-9]+` joined by `.`, `_`, `__` or any number of `-`.
pub(crate) fn check_path(path: &str) -> Result<(), ReferenceError> {
    let component = |component: &str| {
        let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let mut separators = component.split(|c: char| c.is_ascii() && alphanumeric(c as u8));
        let bytes = component.as_bytes();
        bytes.first().is_some_and(|b| alphanumeric(*b))
            && bytes.last().is_some_and(|b| alphanumeric(*b))
            && separators
                .all(|s| matches!(s, "" | "." | "_" | "__") || s.bytes().all(|b| b == b'-'))
    };
    path.split('/')
        .all(component)
        .then_some(())
        .ok_or(ReferenceError::Format)
}

/// `[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}`.
pub(crate) fn check_tag(tag: &str) -> Result<(), ReferenceError> {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let holds = tag.len() <= TAG_MAX
        && tag.bytes().next().is_some_and(word)
        && tag.bytes().all(|b| word(b) || b == b'.' || b == b'-');
    holds.then_some(()).ok_or(ReferenceError::Format)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, full: &str, familiar: &str) {
        let reference: Reference = text.parse().expect(text);
        assert_eq!(reference.to_string(), full);
        assert_eq!(reference.familiar(), familiar);
    }

    #[test]
    fn short_names_mean_docker_hub() {
        check("debian", "docker.io/library/debian", "debian");
        check("debian:12", "docker.io/library/debian:12", "debian:12");
        check("docker.io/debian", "docker.io/library/debian", "debian");
        check(
            "index.docker.io/library/debian",
            "docker.io/library/debian",
            "debian",
        );
        check("me/app:v1", "docker.io/me/app:v1", "me/app:v1");
        check("localhost/app", "localhost/app", "localhost/app");
        check(
            "localhost:5000/app:x",
            "localhost:5000/app:x",
            "localhost:5000/app:x",
        );
        check("[::1]:5000/a/b", "[::1]:5000/a/b", "[::1]:5000/a/b");
        check("Upper/app", "Upper/app", "Upper/app");
    }

    #[test]
    fn tag_and_digest_together() {
        let digest = Digest::of(b"");
        let text = format!("quay.io/a/b:1@{digest}");
        let reference: Reference = text.parse().expect("reference");
        assert_eq!(
            (reference.tag(), reference.digest()),
            (Some("1"), Some(digest))
        );
        assert_eq!(reference.to_string(), text);
    }

    #[test]
    fn attack_g6_what_breaks_the_grammar_is_refused() {
        for text in [
            "",
            ":tag",
            "a:",
            "a@",
            "../a",
            "a/../b",
            "a//b",
            "/a",
            "a/",
            "a b",
            "a\n",
            "a:t\nx",
            "a:.t",
            "a___b",
            "-a",
            "a-",
            "a@sha256:00",
            "a%2fb",
            "exa_mple.com:x/a",
            "a.b:/c",
        ] {
            assert!(text.parse::<Reference>().is_err(), "{text:?}");
        }
        assert_eq!(
            "a/B".parse::<Reference>(),
            Err(ReferenceError::Uppercase("a/B".to_owned()))
        );
        assert_eq!(
            "a".repeat(256).parse::<Reference>(),
            Err(ReferenceError::TooLong)
        );
        assert!(
            format!("a:{}", "t".repeat(129))
                .parse::<Reference>()
                .is_err()
        );
        let id = Digest::of(b"").hex();
        assert_eq!(id.parse::<Reference>(), Err(ReferenceError::Identifier(id)));
    }

    proptest::proptest! {
        #[test]
        fn what_is_read_is_written_back_to_the_same(text in "[a-z0-9./:@_-]{1,40}") {
            if let Ok(reference) = text.parse::<Reference>() {
                proptest::prop_assert_eq!(reference.to_string().parse(), Ok(reference.clone()));
                proptest::prop_assert_eq!(reference.familiar().parse(), Ok(reference));
            }
        }

        #[test]
        fn any_text_is_read_or_refused(text: String) {
            drop(text.parse::<Reference>());
        }
    }
}
