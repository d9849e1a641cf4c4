//! What a registry is told about who asks.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{Context, SHA256};

/// Who asks. `Debug` hides the secret.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Credentials {
    /// Nobody in particular.
    #[default]
    None,
    /// A name and a password, or an access token in the place of one.
    Basic {
        /// The name.
        username: String,
        /// The password.
        password: String,
    },
    /// A refresh token that a login was given, Docker's `identitytoken`.
    IdentityToken(String),
    /// A bearer token for the registry itself, Docker's `registrytoken`; no token server is asked.
    RegistryToken(String),
}

impl Credentials {
    /// Returns a name and a password as credentials; none of both is nobody.
    #[must_use]
    pub fn basic(username: impl Into<String>, password: impl Into<String>) -> Self {
        let (username, password) = (username.into(), password.into());
        if username.is_empty() && password.is_empty() {
            return Self::None;
        }
        Self::Basic { username, password }
    }

    /// Returns whether this is nobody.
    #[must_use]
    pub fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }

    /// Returns the name, when there is one.
    pub(crate) fn username(&self) -> Option<&str> {
        match self {
            Self::Basic { username, .. } => Some(username),
            _ => None,
        }
    }

    /// Returns the value of `Authorization` for basic authentication.
    pub(crate) fn basic_header(&self) -> Option<String> {
        match self {
            Self::Basic { username, password } => Some(format!(
                "Basic {}",
                STANDARD.encode(format!("{username}:{password}"))
            )),
            _ => None,
        }
    }

    /// Returns what tells these credentials from others in the cache of tokens: a wrong password must
    /// not be served the token of the right one.
    pub(crate) fn fingerprint(&self) -> [u8; 32] {
        let parts: [&str; 3] = match self {
            Self::None => ["none", "", ""],
            Self::Basic { username, password } => ["basic", username, password],
            Self::IdentityToken(token) => ["identity", token, ""],
            Self::RegistryToken(token) => ["registry", token, ""],
        };
        let mut hash = Context::new(&SHA256);
        for part in parts {
            // The length keeps ("ab", "c") and ("a", "bc") apart.
            hash.update(&(part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
        let mut bytes = [0; 32];
        bytes.copy_from_slice(hash.finish().as_ref());
        bytes
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Basic { username, .. } => f
                .debug_struct("Basic")
                .field("username", username)
                .finish_non_exhaustive(),
            Self::IdentityToken(_) => f.write_str("IdentityToken(..)"),
            Self::RegistryToken(_) => f.write_str("RegistryToken(..)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_do_not_show() {
        for credentials in [
            Credentials::basic("me", "hunter2"),
            Credentials::IdentityToken("hunter2".to_owned()),
            Credentials::RegistryToken("hunter2".to_owned()),
        ] {
            assert!(!format!("{credentials:?}").contains("hunter2"));
        }
    }

    #[test]
    fn different_credentials_have_different_fingerprints() {
        let all = [
            Credentials::None,
            Credentials::basic("ab", "c"),
            Credentials::basic("a", "bc"),
            Credentials::IdentityToken("ab".to_owned()),
            Credentials::RegistryToken("ab".to_owned()),
        ];
        for (index, one) in all.iter().enumerate() {
            for other in &all[index + 1..] {
                assert_ne!(one.fingerprint(), other.fingerprint());
            }
        }
    }

    #[test]
    fn the_header_is_that_of_rfc_7617() {
        assert_eq!(
            Credentials::basic("Aladdin", "open sesame")
                .basic_header()
                .as_deref(),
            Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==")
        );
    }
}
