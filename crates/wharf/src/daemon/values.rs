//! Settings as they are given: in the flags and in the file, under their keys in the file.
//!
//! A setting in both is an error, as dockerd has it: which of the two counts is nothing to guess about. So is a key
//! nobody knows.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::keys::{Form, KEYS, Key, REFUSED};

/// Longest configuration file.
const MAX_FILE: u64 = 1 << 20;

/// Why there are no values.
#[derive(Debug, thiserror::Error)]
pub(super) enum ValuesError {
    /// The file cannot be read.
    #[error("cannot be read")]
    Read(#[source] io::Error),
    /// The file is too long to be one of settings.
    #[error("is longer than {MAX_FILE} bytes")]
    Long,
    /// The file is not JSON.
    #[error("is not a JSON object")]
    Json(#[source] serde_json::Error),
    /// Keys nobody knows.
    #[error("the following directives don't match any configuration option: {0}")]
    Unknown(String),
    /// A key of dockerd's that is not served.
    #[error(
        "configuration option {key} is known from dockerd, but wharf does not serve it: {reason}"
    )]
    Refused {
        /// The key.
        key: &'static str,
        /// Why not.
        reason: &'static str,
    },
    /// A value of another type.
    #[error("configuration option {key}: {what} is expected")]
    Type {
        /// The key.
        key: &'static str,
        /// The type.
        what: &'static str,
    },
    /// The same in both.
    #[error(
        "the following directives are specified both as a flag and in the configuration file: {0}"
    )]
    Both(String),
}

/// Settings by their keys in the file, each in the form its key has.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Values(BTreeMap<&'static str, Value>);

impl Values {
    /// Reads a file; one that nobody named need not exist.
    pub(super) fn read(path: &Path, named: bool) -> Result<Self, ValuesError> {
        let length = match std::fs::metadata(path) {
            Ok(metadata) => metadata.len(),
            Err(error) if !named && error.kind() == io::ErrorKind::NotFound => {
                return Ok(Self::default());
            }
            Err(error) => return Err(ValuesError::Read(error)),
        };
        if length > MAX_FILE {
            return Err(ValuesError::Long);
        }
        let bytes = std::fs::read(path).map_err(ValuesError::Read)?;
        let object: Map<String, Value> = match bytes.trim_ascii() {
            [] => Map::new(),
            text => serde_json::from_slice(text).map_err(ValuesError::Json)?,
        };
        Self::from_object(object)
    }

    fn from_object(object: Map<String, Value>) -> Result<Self, ValuesError> {
        let mut values = Self::default();
        let mut unknown = Vec::new();
        for (name, value) in object {
            if let Some(key) = KEYS.iter().find(|key| key.name == name) {
                check_form(key, &value)?;
                values.0.insert(key.name, value);
            } else if let Some(refused) = REFUSED.iter().find(|refused| refused.key == name) {
                return Err(ValuesError::Refused {
                    key: refused.key,
                    reason: refused.reason,
                });
            } else {
                unknown.push(name);
            }
        }
        if unknown.is_empty() {
            Ok(values)
        } else {
            Err(ValuesError::Unknown(unknown.join(", ")))
        }
    }

    /// Joins the flags' values with the file's; what is in both is an error.
    pub(super) fn join(self, file: Self) -> Result<Self, ValuesError> {
        let both: Vec<String> = self
            .0
            .iter()
            .filter_map(|(key, flag)| {
                let (flag, file) = (shown(flag), shown(file.0.get(key)?));
                Some(format!("{key}: (from flag: {flag}, from file: {file})"))
            })
            .collect();
        if both.is_empty() {
            Ok(Self(self.0.into_iter().chain(file.0).collect()))
        } else {
            Err(ValuesError::Both(both.join(", ")))
        }
    }

    /// Sets what is one value; the last one given counts.
    pub(super) fn set(&mut self, key: &'static str, value: impl Into<Value>) {
        self.0.insert(key, value.into());
    }

    /// Adds to a list.
    pub(super) fn push(&mut self, key: &'static str, value: impl Into<Value>) {
        let list = self
            .0
            .entry(key)
            .or_insert_with(|| Value::Array(Vec::new()));
        if let Some(list) = list.as_array_mut() {
            list.push(value.into());
        }
    }

    /// Adds to an object.
    pub(super) fn insert(&mut self, key: &'static str, member: &str, value: impl Into<Value>) {
        let object = self
            .0
            .entry(key)
            .or_insert_with(|| Value::Object(Map::new()));
        if let Some(object) = object.as_object_mut() {
            object.insert(member.to_owned(), value.into());
        }
    }

    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        debug_assert!(
            KEYS.iter().any(|known| known.name == key),
            "{key} is no key"
        );
        self.0.get(key)
    }

    /// A string that is not empty.
    pub(super) fn text(&self, key: &str) -> Option<&str> {
        self.get(key)?.as_str().filter(|text| !text.is_empty())
    }

    pub(super) fn truth(&self, key: &str) -> Option<bool> {
        self.get(key)?.as_bool()
    }

    pub(super) fn number(&self, key: &str) -> Option<i64> {
        self.get(key)?.as_i64()
    }

    pub(super) fn list(&self, key: &str) -> impl Iterator<Item = &str> {
        let list = self.get(key).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(Value::as_str)
    }

    pub(super) fn object(&self, key: &str) -> impl Iterator<Item = (&String, &Value)> {
        let object = self.get(key).and_then(Value::as_object);
        object.into_iter().flatten()
    }

    /// Keys whose values differ.
    pub(super) fn differing<'a>(
        &'a self,
        other: &'a Self,
    ) -> impl Iterator<Item = &'static Key> + 'a {
        KEYS.iter()
            .filter(|key| self.0.get(key.name) != other.0.get(key.name))
    }
}

fn check_form(key: &Key, value: &Value) -> Result<(), ValuesError> {
    let every = |is: fn(&Value) -> bool| value.as_array().is_some_and(|list| list.iter().all(is));
    let (fits, what) = match key.form {
        Form::Text => (value.is_string(), "a string"),
        Form::Truth | Form::Only(..) => (value.is_boolean(), "true or false"),
        Form::Number => (value.is_i64(), "a whole number"),
        Form::Size => (value.is_i64() || value.is_string(), "a number or a size"),
        Form::List => (every(Value::is_string), "a list of strings"),
        Form::Object => (value.is_object(), "an object"),
        Form::Objects => (every(Value::is_object), "a list of objects"),
    };
    if fits {
        return Ok(());
    }
    Err(ValuesError::Type {
        key: key.name,
        what,
    })
}

/// A value as Go's `%v` writes it, as far as people would notice.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(list) => {
            let items: Vec<String> = list.iter().map(shown).collect();
            format!("[{}]", items.join(" "))
        }
        Value::Object(object) => {
            let members = object.iter();
            let members: Vec<_> = members.map(|(k, v)| format!("{k}:{}", shown(v))).collect();
            format!("map[{}]", members.join(" "))
        }
        other => other.to_string(),
    }
}

/// A file of settings, and what is wrong with it.
#[derive(Debug, thiserror::Error)]
#[error("unable to configure the engine with file {}", path.display())]
pub(super) struct FileError {
    /// The file.
    pub(super) path: PathBuf,
    /// What is wrong.
    #[source]
    pub(super) source: ValuesError,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Values, String> {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("daemon.json");
        std::fs::write(&path, text).expect("a file");
        Values::read(&path, true).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_wrong_in_the_file_is_named() {
        for (text, expected) in [
            (
                r#"{"x":1,"y":2}"#,
                "the following directives don't match any configuration option: x, y",
            ),
            (
                r#"{"api-cors-header":"*"}"#,
                "configuration option api-cors-header is known from dockerd, but wharf does not serve it: web pages \
                 never get to speak to the engine",
            ),
            (
                r#"{"debug":"yes"}"#,
                "configuration option debug: true or false is expected",
            ),
            (
                r#"{"hosts":"unix:///x"}"#,
                "configuration option hosts: a list of strings is expected",
            ),
            ("[]", "is not a JSON object"),
        ] {
            assert_eq!(read(text), Err(expected.to_owned()), "{text}");
        }
        assert_eq!(read(""), Ok(Values::default()));
    }

    #[test]
    fn flags_and_file_must_not_say_the_same() {
        let mut flags = Values::default();
        flags.set("bridge", "b0");
        flags.push("labels", "a=b");
        flags.push("labels", "c=d");
        let file = |text| read(text).expect("a good file");
        let both = flags
            .clone()
            .join(file(r#"{"bridge":"b1","labels":["x"],"data-root":"/d"}"#));
        assert_eq!(
            both.expect_err("both").to_string(),
            "the following directives are specified both as a flag and in the configuration file: \
             bridge: (from flag: b0, from file: b1), labels: (from flag: [a=b c=d], from file: [x])"
        );
        let joined = flags
            .join(file(r#"{"data-root":"/d"}"#))
            .expect("no conflict");
        assert_eq!(
            (joined.text("bridge"), joined.text("data-root")),
            (Some("b0"), Some("/d"))
        );
    }

    #[test]
    fn a_file_nobody_named_need_not_exist() {
        let nowhere = Path::new("/nowhere/daemon.json");
        assert_eq!(Values::read(nowhere, false).ok(), Some(Values::default()));
        assert!(Values::read(nowhere, true).is_err());
    }
}
