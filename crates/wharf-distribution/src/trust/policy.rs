//! The policy file.

use std::fmt;
use std::io::Read;
use std::path::Path;

use serde::Deserialize;
use serde::de::{MapAccess, Visitor};
use wharf_types::{DEFAULT_DOMAIN, Reference};

use super::PolicyError;
use super::key::Key;
use crate::address::Origin;
use crate::refusal::harmless;

/// Most bytes of a policy or a key.
const FILE_MAX: u64 = 1024 * 1024;

/// A policy. The default accepts everything.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    default: Rule,
    rules: Vec<(Prefix, Rule)>,
}

/// What is asked of images.
#[derive(Debug, Clone, Default)]
pub(super) enum Rule {
    /// Nothing.
    #[default]
    Accept,
    /// None is wanted.
    Reject,
    /// A signature.
    Signed(Signed),
}

/// Which signatures are good.
#[derive(Debug, Clone)]
pub(super) struct Signed {
    pub(super) keys: Vec<Key>,
    pub(super) references: References,
}

/// Which repositories a signature may name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum References {
    /// The one the image is in.
    Same,
    /// Whichever: the key alone decides, for images that were copied.
    Any,
    /// Those of some prefixes, for images that were copied from there.
    Below(Vec<Prefix>),
}

/// A registry, or a registry and the beginning of repositories' paths, whole components.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Prefix {
    text: String,
    domain: String,
    path: String,
}

impl Prefix {
    fn parse(text: &str) -> Option<Self> {
        let (domain, path) = text.split_once('/').unwrap_or((text, ""));
        let domain = if domain == "index.docker.io" {
            DEFAULT_DOMAIN
        } else {
            domain
        };
        let is_host = domain.contains(['.', ':']) || domain == "localhost";
        if !is_host || Origin::parse(domain, true).is_none() {
            return None;
        }
        if !path.is_empty() && path.parse::<wharf_types::Repository>().is_err() {
            return None;
        }
        Some(Self {
            text: text.to_owned(),
            domain: domain.to_owned(),
            path: path.to_owned(),
        })
    }

    /// Returns whether a repository is below this prefix, or is it.
    pub(super) fn covers(&self, name: &Reference) -> bool {
        let below = match name.path().strip_prefix(&self.path) {
            Some(rest) => self.path.is_empty() || rest.is_empty() || rest.starts_with('/'),
            None => false,
        };
        below && name.domain() == self.domain
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    default: FileRule,
    #[serde(default)]
    repositories: Rules,
}

/// `repositories`; a prefix that is there twice is refused, because nobody could say which counts.
#[derive(Default)]
struct Rules(Vec<(String, FileRule)>);

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum FileRule {
    Accept,
    Reject,
    Signed(FileSigned),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileSigned {
    keys: Vec<String>,
    #[serde(default)]
    references: FileReferences,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "lowercase")]
enum FileReferences {
    #[default]
    Same,
    Any,
    Below(Vec<String>),
}

impl<'de> Deserialize<'de> for Rules {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Rules;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of rules by prefix")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Rules, A::Error> {
                let mut rules: Vec<(String, FileRule)> = Vec::new();
                while let Some((prefix, rule)) = map.next_entry::<String, _>()? {
                    if rules.iter().any(|(other, _)| *other == prefix) {
                        return Err(serde::de::Error::custom(format!(
                            "{} is there twice",
                            harmless(&prefix)
                        )));
                    }
                    rules.push((prefix, rule));
                }
                Ok(Rules(rules))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

impl Policy {
    /// Reads a policy and the keys it names. A relative path of a key is relative to the policy.
    ///
    /// # Errors
    /// A file cannot be read, or says what is not known.
    pub fn read(path: &Path) -> Result<Self, PolicyError> {
        let fault = |reason: String| PolicyError::Document {
            path: path.to_owned(),
            reason,
        };
        let text = read_text(path)?;
        let file: File =
            serde_json::from_str(&text).map_err(|error| fault(harmless(&error.to_string())))?;
        let directory = path.parent().unwrap_or(Path::new("."));
        let mut rules = Vec::new();
        for (text, rule) in file.repositories.0 {
            let prefix = Prefix::parse(&text)
                .ok_or_else(|| fault(format!("{:?} is no host[:port][/path]", harmless(&text))))?;
            if rules.iter().any(|(other, _): &(Prefix, Rule)| {
                other.domain == prefix.domain && other.path == prefix.path
            }) {
                return Err(fault(format!("{} is there twice", harmless(&text))));
            }
            rules.push((prefix, rule_of(rule, path, directory)?));
        }
        // The longest prefix first: it counts.
        rules.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.path.len()));
        Ok(Self {
            default: rule_of(file.default, path, directory)?,
            rules,
        })
    }

    /// Returns whether images of this repository are accepted without a look at them.
    #[must_use]
    pub fn accepts_all_of(&self, name: &Reference) -> bool {
        matches!(self.rule(name).1, Rule::Accept)
    }

    /// Returns the rule of a repository, and the prefix it stands under.
    pub(super) fn rule(&self, name: &Reference) -> (&str, &Rule) {
        self.rules
            .iter()
            .find(|(prefix, _)| prefix.covers(name))
            .map_or(("every other registry", &self.default), |(prefix, rule)| {
                (prefix.text.as_str(), rule)
            })
    }
}

fn rule_of(rule: FileRule, path: &Path, directory: &Path) -> Result<Rule, PolicyError> {
    let fault = |reason: String| PolicyError::Document {
        path: path.to_owned(),
        reason,
    };
    let signed = match rule {
        FileRule::Accept => return Ok(Rule::Accept),
        FileRule::Reject => return Ok(Rule::Reject),
        FileRule::Signed(signed) => signed,
    };
    if signed.keys.is_empty() {
        return Err(fault(
            "a rule that asks for signatures has no keys".to_owned(),
        ));
    }
    let mut keys = Vec::new();
    for key in signed.keys {
        if key.trim_start().starts_with("-----BEGIN") {
            keys.push(Key::parse(&key).map_err(|reason| fault(format!("a key: {reason}")))?);
            continue;
        }
        let file = directory.join(&key);
        let pem = read_text(&file)?;
        keys.push(Key::parse(&pem).map_err(|reason| PolicyError::Document { path: file, reason })?);
    }
    let references = match signed.references {
        FileReferences::Same => References::Same,
        FileReferences::Any => References::Any,
        FileReferences::Below(prefixes) => References::Below(
            prefixes
                .iter()
                .map(|text| {
                    Prefix::parse(text).ok_or_else(|| {
                        fault(format!("{:?} is no host[:port][/path]", harmless(text)))
                    })
                })
                .collect::<Result<_, _>>()?,
        ),
    };
    Ok(Rule::Signed(Signed { keys, references }))
}

fn read_text(path: &Path) -> Result<String, PolicyError> {
    let failed = |reason| PolicyError::Read {
        path: path.to_owned(),
        reason,
    };
    let mut text = String::new();
    let length = std::fs::File::open(path)
        .and_then(|file| file.take(FILE_MAX + 1).read_to_string(&mut text))
        .map_err(failed)?;
    if length as u64 > FILE_MAX {
        return Err(failed(std::io::ErrorKind::FileTooLarge.into()));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A key that `openssl ecparam -name prime256v1 -genkey` made.
    const KEY: &str = r"-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEocnvOc0KqjNh1ArnTlTBpW5wTqTI\n0pHTXpcZcCx8AZZU53KFa37oRuejjL7kTkjM4cWZDbGxH5Ti2KELY20glw==\n-----END PUBLIC KEY-----\n";

    fn read(text: &str) -> Result<Policy, PolicyError> {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("policy.json");
        std::fs::write(&path, text).expect("write");
        Policy::read(&path)
    }

    fn rule(policy: &Policy, name: &str) -> String {
        let name = name.parse().expect(name);
        let (prefix, rule) = policy.rule(&name);
        let rule = match rule {
            Rule::Accept => "accept",
            Rule::Reject => "reject",
            Rule::Signed(_) => "signed",
        };
        format!("{rule} by {prefix}")
    }

    #[test]
    fn the_longest_prefix_of_whole_components_counts() {
        let policy = read(&format!(
            r#"{{"default":"reject","repositories":{{
                "docker.io":"reject",
                "docker.io/library":"accept",
                "reg.test:5000/team":{{"signed":{{"keys":["{KEY}"]}}}},
                "reg.test:5000/team/open":"accept"}}}}"#
        ))
        .expect("policy");
        for (name, expected) in [
            ("debian", "accept by docker.io/library"),
            ("me/app", "reject by docker.io"),
            ("librarytwo/app", "reject by docker.io"),
            ("reg.test:5000/team/app:1", "signed by reg.test:5000/team"),
            ("reg.test:5000/team", "signed by reg.test:5000/team"),
            ("reg.test:5000/teamx", "reject by every other registry"),
            (
                "reg.test:5000/team/open/app",
                "accept by reg.test:5000/team/open",
            ),
            ("reg.test/team", "reject by every other registry"),
        ] {
            assert_eq!(rule(&policy, name), expected, "{name}");
        }
        assert!(policy.accepts_all_of(&"debian".parse().expect("name")));
        assert!(!policy.accepts_all_of(&"me/app".parse().expect("name")));
        assert!(Policy::default().accepts_all_of(&"me/app".parse().expect("name")));
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for (text, named) in [
            ("", "EOF"),
            ("{}", "default"),
            (r#"{"default":"maybe"}"#, "maybe"),
            (r#"{"default":"accept","colour":1}"#, "colour"),
            (
                r#"{"default":"accept","repositories":{"team":"reject"}}"#,
                "team",
            ),
            (
                r#"{"default":"accept","repositories":{"a.b/../c":"reject"}}"#,
                "a.b/../c",
            ),
            (
                r#"{"default":"accept","repositories":{"a.b":"reject","a.b":"accept"}}"#,
                "twice",
            ),
            (
                r#"{"default":"accept","repositories":{"docker.io":"reject","index.docker.io":"accept"}}"#,
                "twice",
            ),
            (r#"{"default":{"signed":{"keys":[]}}}"#, "no keys"),
            (
                r#"{"default":{"signed":{"keys":["absent.pub"]}}}"#,
                "absent.pub",
            ),
            (r#"{"default":{"signed":{"keys":["-----BEGIN X"]}}}"#, "PEM"),
            (
                r#"{"default":{"signed":{"keys":["x"],"threshold":2}}}"#,
                "threshold",
            ),
        ] {
            let error = read(text).expect_err(text).to_string();
            assert!(error.contains(named), "{text}: {error}");
        }
    }
}
