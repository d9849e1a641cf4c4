//! Versions of the API: the prefix of a path, and which of them are spoken.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;
use wharf_wire::{API_VERSION, MIN_API_VERSION};

/// A version of the Engine API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ApiVersion {
    major: u16,
    minor: u16,
}

/// A version that is not spoken.
#[derive(Debug, PartialEq, Eq, Error)]
pub(crate) enum VersionError {
    #[error("client version {0} is too new. Maximum supported API version is {API_VERSION}")]
    TooNew(String),
    #[error(
        "client version {0} is too old. Minimum supported API version is {MIN_API_VERSION}, \
         please upgrade your client to a newer version"
    )]
    TooOld(String),
}

impl ApiVersion {
    pub(crate) const NEWEST: Self = Self::new(1, 51);
    pub(crate) const OLDEST: Self = Self::new(1, 24);

    pub(crate) const fn new(major: u16, minor: u16) -> Self {
        Self { major, minor }
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl FromStr for ApiVersion {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (major, minor) = text.split_once('.').ok_or(())?;
        Ok(Self::new(
            major.parse().map_err(drop)?,
            minor.parse().map_err(drop)?,
        ))
    }
}

/// Takes the version off the front of a path: `/v1.41/info` is `/info` asked by a client of 1.41. Without one the
/// newest version is spoken.
pub(crate) fn split(path: &str) -> Result<(ApiVersion, &str), VersionError> {
    let Some((text, rest)) = prefix(path) else {
        return Ok((ApiVersion::NEWEST, path));
    };
    match text.parse() {
        Ok(version) if version < ApiVersion::OLDEST => Err(VersionError::TooOld(text.to_owned())),
        Ok(version) if version > ApiVersion::NEWEST => Err(VersionError::TooNew(text.to_owned())),
        Ok(version) => Ok((version, rest)),
        // All digits and dots, and yet not two numbers of any version there ever was.
        Err(()) => Err(VersionError::TooNew(text.to_owned())),
    }
}

fn prefix(path: &str) -> Option<(&str, &str)> {
    let after = path.strip_prefix("/v")?;
    let (text, rest) = after.split_at(after.find('/')?);
    let digits = text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.');
    (digits && text.contains('.')).then_some((text, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_are_those_of_the_wire() {
        assert_eq!(ApiVersion::NEWEST.to_string(), API_VERSION);
        assert_eq!(ApiVersion::OLDEST.to_string(), MIN_API_VERSION);
    }

    #[test]
    fn a_version_is_taken_off_a_path() {
        let newest = ApiVersion::NEWEST;
        for (path, expected) in [
            ("/info", Ok((newest, "/info"))),
            ("/v1.41/info", Ok((ApiVersion::new(1, 41), "/info"))),
            ("/v1.24/info", Ok((ApiVersion::new(1, 24), "/info"))),
            (
                "/v1.51/containers/a/json",
                Ok((newest, "/containers/a/json")),
            ),
            ("/volumes", Ok((newest, "/volumes"))),
            ("/version", Ok((newest, "/version"))),
            ("/v1.41", Ok((newest, "/v1.41"))),
            ("/v1/info", Ok((newest, "/v1/info"))),
            ("/v1.23/info", Err(VersionError::TooOld("1.23".into()))),
            ("/v9.99/info", Err(VersionError::TooNew("9.99".into()))),
            ("/v1.2.3/info", Err(VersionError::TooNew("1.2.3".into()))),
            (
                "/v1.99999999/info",
                Err(VersionError::TooNew("1.99999999".into())),
            ),
        ] {
            assert_eq!(split(path), expected, "{path}");
        }
    }

    #[test]
    fn refusals_are_in_dockers_words() {
        assert_eq!(
            VersionError::TooNew("9.99".into()).to_string(),
            "client version 9.99 is too new. Maximum supported API version is 1.51"
        );
        assert_eq!(
            VersionError::TooOld("1.2".into()).to_string(),
            "client version 1.2 is too old. Minimum supported API version is 1.24, please upgrade your client to a \
             newer version"
        );
    }
}
