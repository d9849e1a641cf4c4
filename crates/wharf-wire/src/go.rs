//! How Go's `encoding/json` sees values, where it differs from serde.

use serde::de::{Deserializer, IgnoredAny};
use serde::{Deserialize, Serialize, Serializer};

/// What Go writes for a time that was never set.
pub const ZERO_TIME: &str = "0001-01-01T00:00:00Z";

/// Reads `null` as the type's zero value.
pub(crate) fn null_is_zero<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// Whether Go's `omitempty` leaves a value out.
pub(crate) fn is_zero<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Go's `struct{}`: the value side of a map that is a set, written `{}`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Empty;

impl Serialize for Empty {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serde::ser::SerializeMap::end(serializer.serialize_map(Some(0))?)
    }
}

impl<'de> Deserialize<'de> for Empty {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer)?;
        Ok(Self)
    }
}

/// A list of words, read from a list or from one string (a list of one), written as a list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Words(pub Vec<String>);

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Many(Vec<String>),
            One(String),
        }
        Ok(match Either::deserialize(deserializer)? {
            Either::Many(words) => Self(words),
            Either::One(word) => Self(vec![word]),
        })
    }
}

impl From<Vec<String>> for Words {
    fn from(words: Vec<String>) -> Self {
        Self(words)
    }
}

impl std::ops::Deref for Words {
    type Target = [String];

    fn deref(&self) -> &[String] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_come_as_a_list_or_as_one_string() {
        let list: Words = serde_json::from_str(r#"["a","b"]"#).expect("a list");
        let one: Words = serde_json::from_str(r#""a b""#).expect("a string");
        assert_eq!(list.0, ["a", "b"]);
        assert_eq!(one.0, ["a b"]);
        assert_eq!(serde_json::to_string(&one).expect("writes"), r#"["a b"]"#);
    }

    #[test]
    fn empty_reads_anything_and_writes_braces() {
        for text in ["{}", "null", r#"{"a":1}"#] {
            assert_eq!(serde_json::from_str::<Empty>(text).expect(text), Empty);
        }
        assert_eq!(serde_json::to_string(&Empty).expect("writes"), "{}");
    }
}
