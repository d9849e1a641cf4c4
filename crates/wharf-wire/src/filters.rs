//! The `filters` parameter of list and prune requests.
//!
//! A JSON map from key to values: `{"status":["running"]}`, or, from Docker 1.10 on,
//! `{"status":{"running":true}}`. Both are read; the second is written.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use thiserror::Error;

use crate::Words;

/// Filters of a list or prune request: for each key, the values of which one must match.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filters(BTreeMap<String, BTreeSet<String>>);

/// Filters that cannot be used.
#[derive(Debug, Error)]
pub enum FilterError {
    /// Not JSON, or not of either form.
    #[error("invalid filter: {0}")]
    Malformed(serde_json::Error),
    /// A key the request does not know.
    #[error("invalid filter '{0}'")]
    UnknownKey(String),
    /// A value that its key cannot have.
    #[error("invalid filter '{key}=[{}]'", .values.join(" "))]
    InvalidValue {
        /// The key.
        key: String,
        /// Its values.
        values: Vec<String>,
    },
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Values {
    Set(BTreeMap<String, bool>),
    List(Words),
}

impl Filters {
    /// Parses the parameter; empty text is no filters.
    ///
    /// # Errors
    /// The text is not JSON of either form.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let map: BTreeMap<String, Values> =
            serde_json::from_str(text).map_err(FilterError::Malformed)?;
        let sets = map.into_iter().map(|(key, values)| {
            let values = match values {
                Values::Set(set) => set.into_keys().collect(),
                Values::List(list) => list.0.into_iter().collect(),
            };
            (key, values)
        });
        Ok(Self(sets.collect()))
    }

    /// Returns the parameter's text.
    #[must_use]
    pub fn to_json(&self) -> String {
        let truths = |values: &BTreeSet<String>| -> serde_json::Value {
            values.iter().map(|value| (value.clone(), true)).collect()
        };
        let map: serde_json::Value = self
            .0
            .iter()
            .map(|(key, values)| (key.clone(), truths(values)))
            .collect();
        map.to_string()
    }

    /// Adds a value to a key.
    pub fn add(&mut self, key: impl Into<String>, value: impl Into<String>) {
        self.0.entry(key.into()).or_default().insert(value.into());
    }

    /// Whether nothing is filtered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns every key with each of its values.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        let pairs = |(key, values)| {
            let (key, values): (&String, &BTreeSet<String>) = (key, values);
            values
                .iter()
                .map(move |value| (key.as_str(), value.as_str()))
        };
        self.0.iter().flat_map(pairs)
    }

    /// Whether the key is filtered by.
    #[must_use]
    pub fn contains(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// Returns the key's values.
    pub fn get(&self, key: &str) -> impl Iterator<Item = &str> {
        self.0.get(key).into_iter().flatten().map(String::as_str)
    }

    /// Whether the key is not filtered by, or one of its values is `value`.
    #[must_use]
    pub fn matches(&self, key: &str, value: &str) -> bool {
        self.matches_by(key, |wanted| wanted == value)
    }

    /// Whether the key is not filtered by, or `accepts` one of its values.
    #[must_use]
    pub fn matches_by(&self, key: &str, mut accepts: impl FnMut(&str) -> bool) -> bool {
        match self.0.get(key) {
            None => true,
            Some(values) => values.is_empty() || values.iter().any(|value| accepts(value)),
        }
    }

    /// Whether `labels` have **all** the key's values, each a name or `name=value`.
    #[must_use]
    pub fn matches_labels(&self, key: &str, labels: &BTreeMap<String, String>) -> bool {
        self.get(key).all(|wanted| match wanted.split_once('=') {
            None => labels.contains_key(wanted),
            Some((name, value)) => labels.get(name).is_some_and(|found| found == value),
        })
    }

    /// Returns the one truth value of a key, `None` when it is not filtered by.
    ///
    /// # Errors
    /// The key has another value, or both.
    pub fn flag(&self, key: &str) -> Result<Option<bool>, FilterError> {
        let Some(values) = self.0.get(key) else {
            return Ok(None);
        };
        let on = values.contains("1") || values.contains("true");
        let off = values.contains("0") || values.contains("false");
        if on == off {
            return Err(FilterError::InvalidValue {
                key: key.to_owned(),
                values: values.iter().cloned().collect(),
            });
        }
        Ok(Some(on))
    }

    /// Checks that only keys of `known` are used.
    ///
    /// # Errors
    /// The first key that is not.
    pub fn validate(&self, known: &[&str]) -> Result<(), FilterError> {
        match self.0.keys().find(|key| !known.contains(&key.as_str())) {
            Some(key) => Err(FilterError::UnknownKey(key.clone())),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read_and_the_newer_is_written() {
        let new =
            Filters::parse(r#"{"status":{"running":true,"exited":true},"label":{"a=b":true}}"#)
                .expect("map form");
        let old = Filters::parse(r#"{"status":["exited","running"],"label":["a=b"]}"#)
            .expect("list form");
        assert_eq!(new, old);
        assert_eq!(
            new.to_json(),
            r#"{"label":{"a=b":true},"status":{"exited":true,"running":true}}"#
        );
    }

    #[test]
    fn malformed_filters_are_refused() {
        for text in ["{", "[]", "1", r#"{"a":1}"#, r#"{"a":{"b":{}}}"#] {
            assert!(
                matches!(Filters::parse(text), Err(FilterError::Malformed(_))),
                "{text}"
            );
        }
    }

    #[test]
    fn labels_must_all_match() {
        let labels = BTreeMap::from([
            ("a".to_owned(), "1".to_owned()),
            ("b".to_owned(), String::new()),
        ]);
        for (text, expected) in [
            (r#"{}"#, true),
            (r#"{"label":["a"]}"#, true),
            (r#"{"label":["a=1","b"]}"#, true),
            (r#"{"label":["a=2"]}"#, false),
            (r#"{"label":["a","c"]}"#, false),
            (r#"{"label":["b="]}"#, true),
        ] {
            let filters = Filters::parse(text).expect(text);
            assert_eq!(filters.matches_labels("label", &labels), expected, "{text}");
        }
    }

    #[test]
    fn a_flag_has_one_truth_value() {
        for (text, expected) in [
            (r#"{}"#, Ok(None)),
            (r#"{"dangling":["true"]}"#, Ok(Some(true))),
            (r#"{"dangling":["0"]}"#, Ok(Some(false))),
            (
                r#"{"dangling":["maybe"]}"#,
                Err("invalid filter 'dangling=[maybe]'".to_owned()),
            ),
            (
                r#"{"dangling":["1","0"]}"#,
                Err("invalid filter 'dangling=[0 1]'".to_owned()),
            ),
        ] {
            let found = Filters::parse(text)
                .expect(text)
                .flag("dangling")
                .map_err(|error| error.to_string());
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn an_unknown_key_is_named() {
        let filters = Filters::parse(r#"{"status":["x"],"zzz":["y"]}"#).expect("reads");
        let error = filters.validate(&["status"]).expect_err("zzz is unknown");
        assert_eq!(error.to_string(), "invalid filter 'zzz'");
    }
}
