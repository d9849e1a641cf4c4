//! Content digests, `sha256:` and 64 lower-case hex digits.
//!
//! Source: OCI image specification 1.1, `descriptor.md`, "Digests". Only SHA-256 is accepted: it is
//! the one algorithm every registry and engine writes, and one that is unknown must be refused
//! rather than trusted (attack G5).

use std::fmt;
use std::str::FromStr;

use ring::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};

/// The digest of some content, SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest([u8; 32]);

/// Why a digest was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// There is no colon between algorithm and digits.
    #[error("invalid digest {0:?}: expected sha256:<64 hex digits>")]
    Format(String),
    /// The algorithm is not SHA-256.
    #[error("unsupported digest algorithm {0:?}: only sha256 is accepted")]
    Algorithm(String),
}

impl Digest {
    /// Returns the digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let mut hasher = Hasher::new();
        hasher.update(bytes);
        hasher.finish()
    }

    /// Returns the 64 hex digits, without the algorithm: what directories are named after.
    #[must_use]
    pub fn hex(&self) -> String {
        hex(&self.0)
    }

    /// Returns the first twelve hex digits, as tables show an image.
    #[must_use]
    pub fn short(&self) -> String {
        hex(&self.0[..6])
    }

    /// Reads 64 lower-case hex digits without an algorithm.
    ///
    /// # Errors
    /// [`DigestError::Format`] on anything else.
    pub fn from_hex(digits: &str) -> Result<Self, DigestError> {
        parse_hex(digits)
            .map(Self)
            .ok_or_else(|| DigestError::Format(digits.to_owned()))
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let (algorithm, digits) = text
            .split_once(':')
            .ok_or_else(|| DigestError::Format(text.to_owned()))?;
        if algorithm != "sha256" {
            return Err(DigestError::Algorithm(algorithm.to_owned()));
        }
        parse_hex(digits)
            .map(Self)
            .ok_or_else(|| DigestError::Format(text.to_owned()))
    }
}

impl TryFrom<String> for Digest {
    type Error = DigestError;

    fn try_from(text: String) -> Result<Self, DigestError> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Computes a [`Digest`] piece by piece.
#[derive(Clone)]
pub struct Hasher(Context);

impl Hasher {
    /// Starts on empty content.
    #[must_use]
    pub fn new() -> Self {
        Self(Context::new(&SHA256))
    }

    /// Adds the next piece.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Returns the digest of all pieces.
    #[must_use]
    pub fn finish(self) -> Digest {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(self.0.finish().as_ref());
        Digest(bytes)
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hasher")
    }
}

impl Default for Hasher {
    fn default() -> Self {
        Self::new()
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |value: u8| char::from(DIGITS[usize::from(value)]);
    // Room once: lists of containers are made of these.
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(digit(byte >> 4));
        text.push(digit(byte & 15));
    }
    text
}

/// Reads 64 lower-case hex digits; upper case is refused, so that one content has one name.
pub(crate) fn parse_hex(digits: &str) -> Option<[u8; 32]> {
    let digits = digits.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    let value = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = value(pair[0])? << 4 | value(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_vector() {
        // FIPS 180-4, the empty message.
        assert_eq!(
            Digest::of(b"").to_string(),
            "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
    }

    #[test]
    fn attack_g5_other_algorithms_and_upper_case_are_refused() {
        let digits = Digest::of(b"x").hex();
        assert!(matches!(
            format!("sha512:{digits}").parse::<Digest>(),
            Err(DigestError::Algorithm(_))
        ));
        for text in [
            format!("sha256:{}", digits.to_uppercase()),
            format!("sha256:{}", &digits[1..]),
            format!("sha256:{digits}0"),
            digits,
            "sha256:../../etc/passwd".to_owned(),
        ] {
            assert!(
                matches!(text.parse::<Digest>(), Err(DigestError::Format(_))),
                "{text}"
            );
        }
    }

    proptest::proptest! {
        #[test]
        fn text_and_back(bytes: Vec<u8>) {
            let digest = Digest::of(&bytes);
            proptest::prop_assert_eq!(digest.to_string().parse::<Digest>(), Ok(digest));
            proptest::prop_assert_eq!(Digest::from_hex(&digest.hex()), Ok(digest));
        }

        #[test]
        fn any_text_is_read_or_refused(text: String) {
            if let Ok(digest) = text.parse::<Digest>() {
                proptest::prop_assert_eq!(digest.to_string(), text);
            }
        }
    }
}
