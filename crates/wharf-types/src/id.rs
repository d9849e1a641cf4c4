//! Ids of containers, execs and uploads: 256 random bits, 64 hex digits.

use std::fmt;
use std::str::FromStr;

use rustix::rand::{GetRandomFlags, getrandom};
use serde::{Deserialize, Serialize};

use crate::digest::{hex, parse_hex};

/// Text that is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid id {0:?}: expected 64 hex digits")]
pub struct IdError(String);

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name([u8; 32]);

        impl $name {
            /// Draws a new id.
            ///
            /// # Panics
            /// Never: getrandom(2) of 32 bytes cannot fail or fall short once the kernel's pool is
            /// ready, and it waits until then.
            #[must_use]
            pub fn random() -> Self {
                let mut bytes = [0; 32];
                // The first twelve digits are shown and used as a host name; ones that are all
                // decimal would be read as a number by some resolvers, so they are drawn again.
                loop {
                    getrandom(&mut bytes, GetRandomFlags::empty()).expect("getrandom of 32 bytes");
                    if !hex(&bytes[..6]).bytes().all(|digit| digit.is_ascii_digit()) {
                        return Self(bytes);
                    }
                }
            }

            /// Returns the first twelve digits, as tables show it.
            #[must_use]
            pub fn short(&self) -> String {
                hex(&self.0[..6])
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                parse_hex(text).map(Self).ok_or_else(|| IdError(text.to_owned()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;

            fn try_from(text: String) -> Result<Self, IdError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.to_string()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.short())
            }
        }
    };
}

id! {
    /// The id of a container.
    ContainerId
}

id! {
    /// The id of a process that joins a container.
    ExecId
}

id! {
    /// The id of a blob on its way into a registry.
    UploadId
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_back() {
        let id = ContainerId::random();
        assert_eq!(id.to_string().len(), 64);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!(id.to_string().starts_with(&id.short()));
    }

    #[test]
    fn what_is_not_64_hex_digits_is_refused() {
        for text in ["", "abc", "../../../etc", &"g".repeat(64), &"A".repeat(64)] {
            assert_eq!(text.parse::<ContainerId>(), Err(IdError(text.to_owned())));
        }
    }
}
