//! Names at a registry: a repository's path, and a tag.
//!
//! Grammar: OCI distribution specification 1.1, "Pulling manifests"; it is that of
//! [`Reference`](crate::Reference), whose checks these types share.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

use crate::ReferenceError;
use crate::reference::{NAME_MAX, check_path, check_tag};

macro_rules! checked_text {
    ($(#[$doc:meta])* $name:ident, $check:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// Returns the name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = ReferenceError;

            fn from_str(text: &str) -> Result<Self, ReferenceError> {
                let check: fn(&str) -> Result<(), ReferenceError> = $check;
                check(text)?;
                Ok(Self(text.to_owned()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

checked_text!(
    /// The path of a repository at its registry, `library/debian`.
    Repository,
    |text| {
        if text.len() > NAME_MAX {
            return Err(ReferenceError::TooLong);
        }
        check_path(text)
    }
);

checked_text!(
    /// A tag, `latest`.
    Tag,
    check_tag
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attack_g6_names_that_could_leave_the_tree_are_refused() {
        for text in [
            "",
            "..",
            "../a",
            "a/../b",
            "/a",
            "a/",
            "a//b",
            "A",
            "a\n",
            "_layers",
            "a%2fb",
            "a/_uploads",
        ] {
            assert!(text.parse::<Repository>().is_err(), "{text:?}");
        }
        assert_eq!(
            "a".repeat(256).parse::<Repository>(),
            Err(ReferenceError::TooLong)
        );
        for text in ["", ".", "..", "a/b", "a\n", "-a", &"t".repeat(129)] {
            assert!(text.parse::<Tag>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn names_people_use_are_accepted() {
        for text in ["debian", "library/debian", "a/b/c-d.e_f__g", "0"] {
            assert_eq!(text.parse::<Repository>().expect(text).as_str(), text);
        }
        for text in ["latest", "2", "V1.0_x-y", "_"] {
            assert_eq!(text.parse::<Tag>().expect(text).as_str(), text);
        }
    }
}
