//! Names of volumes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ContainerId;

/// The name of a volume: the name of a directory too, so that it may hold nothing else.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct VolumeName(String);

/// Text that is not the name of a volume; the wording is Docker's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VolumeNameError {
    /// One letter could be a drive.
    #[error(
        "create {0}: volume name is too short, names should be at least two alphanumeric characters"
    )]
    Short(String),
    /// Longer than a directory's name can be.
    #[error("create {0}: volume name is too long, names should be at most 255 characters")]
    Long(String),
    /// A path, for example.
    #[error(
        "create {0}: \"{0}\" includes invalid characters for a local volume name, only \
         \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use absolute path"
    )]
    Characters(String),
}

impl VolumeName {
    /// Longest name a directory can have.
    const LENGTH_MAX: usize = 255;

    /// Makes up a name for a volume without one: 64 hexadecimal digits, as random as an id.
    #[must_use]
    pub fn anonymous() -> Self {
        Self(ContainerId::random().to_string())
    }

    /// Returns the name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for VolumeName {
    type Err = VolumeNameError;

    fn from_str(text: &str) -> Result<Self, VolumeNameError> {
        let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
        let owned = || text.to_owned();
        match text.as_bytes() {
            [_] => Err(VolumeNameError::Short(owned())),
            [first, rest @ ..]
                if first.is_ascii_alphanumeric() && rest.iter().copied().all(inner) =>
            {
                if text.len() > Self::LENGTH_MAX {
                    return Err(VolumeNameError::Long(owned()));
                }
                Ok(Self(owned()))
            }
            _ => Err(VolumeNameError::Characters(owned())),
        }
    }
}

impl fmt::Display for VolumeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for VolumeName {
    type Error = VolumeNameError;

    fn try_from(text: String) -> Result<Self, VolumeNameError> {
        text.parse()
    }
}

impl From<VolumeName> for String {
    fn from(name: VolumeName) -> Self {
        name.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_the_name_of_a_directory() {
        for good in ["ab", "a.b", "0_x-", VolumeName::anonymous().as_str()] {
            assert_eq!(good.parse::<VolumeName>().expect(good).as_str(), good);
        }
        for bad in ["", "a/b", "..", ".a", "-v", "a b", "a:b", "é1", "a\0"] {
            let error = bad.parse::<VolumeName>().expect_err(bad);
            assert_eq!(error, VolumeNameError::Characters(bad.to_owned()));
        }
        let error = "a".parse::<VolumeName>().expect_err("too short");
        assert_eq!(error, VolumeNameError::Short("a".to_owned()));
        assert!("a".repeat(256).parse::<VolumeName>().is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_name_leaves_its_directory(text in "[a./\\-]{0,8}") {
            if let Ok(name) = text.parse::<VolumeName>() {
                proptest::prop_assert!(!name.as_str().contains('/') && !name.as_str().starts_with('.'));
            }
        }
    }
}
