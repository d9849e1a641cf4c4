//! The policy: which names may do what to which repositories.
//!
//! ```json
//! {"rules": [
//!   {"who": ["@everybody"], "repositories": ["library/**"], "actions": ["pull"]},
//!   {"who": ["anna", "ci"], "repositories": ["team/**"], "actions": ["pull", "push", "overwrite", "delete"]}
//! ]}
//! ```
//!
//! What no rule allows is refused. In a pattern `*` is any text within one part of a name, `**` any
//! number of whole parts.

use std::path::Path;

use serde::Deserialize;
use wharf_types::Repository;

use super::AccessError;

/// Longest policy, in bytes.
const MAX_FILE: u64 = 1024 * 1024;

/// What somebody does to a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Reads manifests, blobs and lists.
    Pull,
    /// Adds blobs, manifests and tags that are not there yet.
    Push,
    /// Lets a tag that is there name another manifest (attack G2).
    Overwrite,
    /// Removes tags, manifests and blobs.
    Delete,
}

impl Action {
    /// Every action.
    pub const ALL: [Self; 4] = [Self::Pull, Self::Push, Self::Overwrite, Self::Delete];
}

/// Who may do what to which repositories.
#[derive(Debug, Clone)]
pub struct Policy {
    rules: Vec<Rule>,
}

#[derive(Debug, Clone)]
struct Rule {
    who: Vec<Who>,
    repositories: Vec<Pattern>,
    actions: Vec<Action>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Who {
    Everybody,
    Anonymous,
    Authenticated,
    Name(String),
}

/// A policy as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    rules: Vec<FileRule>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileRule {
    who: Vec<String>,
    repositories: Vec<String>,
    actions: Vec<Action>,
}

impl Policy {
    /// Everybody may do everything: for a listener nobody else reaches.
    #[must_use]
    pub fn open() -> Self {
        Self::all(Who::Everybody)
    }

    /// Who has a name may do everything, and everybody may read if `anonymous_read`.
    #[must_use]
    pub fn users(anonymous_read: bool) -> Self {
        let mut policy = Self::all(Who::Authenticated);
        if anonymous_read {
            policy.rules.push(Rule {
                who: vec![Who::Anonymous],
                repositories: vec![Pattern::anything()],
                actions: vec![Action::Pull],
            });
        }
        policy
    }

    fn all(who: Who) -> Self {
        Self {
            rules: vec![Rule {
                who: vec![who],
                repositories: vec![Pattern::anything()],
                actions: Action::ALL.to_vec(),
            }],
        }
    }

    /// Reads a policy's file.
    ///
    /// # Errors
    /// It cannot be read, or is no policy.
    pub fn read(path: &Path) -> Result<Self, AccessError> {
        let text = crate::watched::read(path, MAX_FILE).map_err(|source| AccessError::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&text).map_err(|what| AccessError::Policy {
            path: path.to_owned(),
            what,
        })
    }

    fn parse(text: &[u8]) -> Result<Self, String> {
        let file: File = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        let rules = file.rules.into_iter().enumerate().map(|(index, rule)| {
            rule.read()
                .map_err(|what| format!("rule {}: {what}", index + 1))
        });
        Ok(Self {
            rules: rules.collect::<Result<_, _>>()?,
        })
    }

    /// Returns whether somebody may do this; without a name it is whoever gave none.
    #[must_use]
    pub fn allows(&self, name: Option<&str>, repository: &Repository, action: Action) -> bool {
        self.rules.iter().any(|rule| {
            rule.actions.contains(&action)
                && rule.who.iter().any(|who| who.is(name))
                && rule
                    .repositories
                    .iter()
                    .any(|pattern| pattern.matches(repository.as_str()))
        })
    }

    /// Returns whether somebody may do everything to everything, so that nothing need be asked.
    #[must_use]
    pub(crate) fn is_open(&self) -> bool {
        self.rules.iter().any(|rule| {
            rule.who.contains(&Who::Everybody)
                && rule.repositories.contains(&Pattern::anything())
                && Action::ALL
                    .iter()
                    .all(|action| rule.actions.contains(action))
        })
    }
}

impl FileRule {
    fn read(self) -> Result<Rule, String> {
        for (what, empty) in [
            ("who", self.who.is_empty()),
            ("repositories", self.repositories.is_empty()),
            ("actions", self.actions.is_empty()),
        ] {
            if empty {
                return Err(format!("{what} is empty, so the rule allows nothing"));
            }
        }
        let who = self.who.iter().map(|text| Who::read(text));
        let repositories = self.repositories.iter().map(|text| Pattern::read(text));
        Ok(Rule {
            who: who.collect::<Result<_, _>>()?,
            repositories: repositories.collect::<Result<_, _>>()?,
            actions: self.actions,
        })
    }
}

impl Who {
    fn read(text: &str) -> Result<Self, String> {
        match text {
            "@everybody" => Ok(Self::Everybody),
            "@anonymous" => Ok(Self::Anonymous),
            "@authenticated" => Ok(Self::Authenticated),
            "" => Err("an empty name is nobody's".to_owned()),
            text if text.starts_with('@') => Err(format!(
                "{text:?} is not known: it must be @everybody, @anonymous, @authenticated or a name"
            )),
            // A star would be taken for a pattern by its reader, and for a name by the server.
            text if text.contains('*') => Err(format!("{text:?}: names have no patterns")),
            text => Ok(Self::Name(text.to_owned())),
        }
    }

    fn is(&self, name: Option<&str>) -> bool {
        match self {
            Self::Everybody => true,
            Self::Anonymous => name.is_none(),
            Self::Authenticated => name.is_some(),
            Self::Name(wanted) => name == Some(wanted),
        }
    }
}

/// A pattern of repositories' names, by the parts between their slashes.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Pattern(Vec<String>);

impl Pattern {
    fn anything() -> Self {
        Self(vec!["**".to_owned()])
    }

    fn read(text: &str) -> Result<Self, String> {
        let parts: Vec<String> = text.split('/').map(str::to_owned).collect();
        for part in &parts {
            let known =
                |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-*".contains(c);
            if part.is_empty() || !part.chars().all(known) {
                return Err(format!("{text:?} can match no repository"));
            }
            if part.contains("**") && part != "**" {
                return Err(format!("{text:?}: ** must be a whole part"));
            }
        }
        Ok(Self(parts))
    }

    fn matches(&self, name: &str) -> bool {
        let name: Vec<&str> = name.split('/').collect();
        matches_sequence(
            &self.0,
            &name,
            |part| part == "**",
            |part, text| {
                let part: Vec<char> = part.chars().collect();
                let text: Vec<char> = text.chars().collect();
                matches_sequence(&part, &text, |c| *c == '*', |one, other| one == other)
            },
        )
    }
}

/// Matches items against a pattern some of whose parts stand for any number of them. It remembers the
/// last such part only, which is enough, and keeps the time within the product of both lengths.
fn matches_sequence<P, T>(
    pattern: &[P],
    items: &[T],
    is_any: impl Fn(&P) -> bool,
    is_same: impl Fn(&P, &T) -> bool,
) -> bool {
    let (mut at, mut item) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while item < items.len() {
        match pattern.get(at) {
            Some(part) if is_any(part) => {
                retry = Some((at, item));
                at += 1;
            }
            Some(part) if is_same(part, &items[item]) => {
                at += 1;
                item += 1;
            }
            _ => {
                let Some((any, from)) = retry else {
                    return false;
                };
                // The star takes one more.
                retry = Some((any, from + 1));
                at = any + 1;
                item = from + 1;
            }
        }
    }
    pattern[at..].iter().all(is_any)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn repository(name: &str) -> Repository {
        name.parse().expect("a name")
    }

    #[test]
    fn patterns_match_whole_names() {
        for (pattern, yes, no) in [
            ("a", &["a"][..], &["b", "a/b", "aa"][..]),
            ("a/*", &["a/b"], &["a", "a/b/c"]),
            ("a/**", &["a", "a/b", "a/b/c"], &["ab", "b/a"]),
            ("**", &["a", "a/b"], &[]),
            ("**/x", &["x", "a/x", "a/b/x"], &["x/a"]),
            ("a/**/x", &["a/x", "a/b/c/x"], &["a/b", "x"]),
            ("a-*-c", &["a-b-c", "a-b-b-c"], &["a-c", "a-b"]),
            ("*", &["a"], &["a/b"]),
        ] {
            let read = Pattern::read(pattern).expect(pattern);
            for name in yes {
                assert!(read.matches(name), "{pattern} {name}");
            }
            for name in no {
                assert!(!read.matches(name), "{pattern} {name}");
            }
        }
    }

    #[test]
    fn rules_add_up_and_the_rest_is_refused() {
        let policy = Policy::parse(
            br#"{"rules": [
                {"who": ["@everybody"], "repositories": ["library/**"], "actions": ["pull"]},
                {"who": ["anna"], "repositories": ["team/**"], "actions": ["pull", "push"]},
                {"who": ["@authenticated"], "repositories": ["team/shared"], "actions": ["pull"]},
                {"who": ["@anonymous"], "repositories": ["drop"], "actions": ["push"]}
            ]}"#,
        )
        .expect("a policy");
        for (name, repository_name, action, expected) in [
            (None, "library/debian", Action::Pull, true),
            (None, "library/debian", Action::Push, false),
            (None, "team/app", Action::Pull, false),
            (Some("anna"), "team/app", Action::Push, true),
            (Some("anna"), "team/app", Action::Overwrite, false),
            (Some("anna"), "team/app", Action::Delete, false),
            (Some("bert"), "team/app", Action::Pull, false),
            (Some("bert"), "team/shared", Action::Pull, true),
            (None, "team/shared", Action::Pull, false),
            (None, "drop", Action::Push, true),
            (Some("anna"), "drop", Action::Push, false),
        ] {
            let allowed = policy.allows(name, &repository(repository_name), action);
            assert_eq!(allowed, expected, "{name:?} {repository_name} {action:?}");
        }
        assert!(!policy.is_open());
        assert!(Policy::open().is_open());
        assert!(!Policy::users(true).is_open());
    }

    #[test]
    fn what_is_no_policy_is_refused() {
        for text in [
            "",
            "{}",
            r#"{"rules": [], "more": 1}"#,
            r#"{"rules": [{"who": ["a"], "repositories": ["x"], "actions": ["write"]}]}"#,
            r#"{"rules": [{"who": ["@all"], "repositories": ["x"], "actions": ["pull"]}]}"#,
            r#"{"rules": [{"who": ["a*"], "repositories": ["x"], "actions": ["pull"]}]}"#,
            r#"{"rules": [{"who": ["a"], "repositories": ["X"], "actions": ["pull"]}]}"#,
            r#"{"rules": [{"who": ["a"], "repositories": ["x**"], "actions": ["pull"]}]}"#,
            r#"{"rules": [{"who": ["a"], "repositories": [], "actions": ["pull"]}]}"#,
            r#"{"rules": [{"who": ["a"], "repositories": ["a//b"], "actions": ["pull"], "x": 1}]}"#,
        ] {
            assert!(Policy::parse(text.as_bytes()).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_name_matches_itself_and_any_part_of_it_starred(
            parts in prop::collection::vec("[a-c]{1,3}", 1..5),
            at in 0_usize..5,
        ) {
            let name = parts.join("/");
            prop_assert!(Pattern::read(&name).expect("a pattern").matches(&name));
            let mut starred = parts.clone();
            let at = at % parts.len();
            starred[at] = "*".to_owned();
            prop_assert!(Pattern::read(&starred.join("/")).expect("a pattern").matches(&name));
            starred.insert(at, "**".to_owned());
            prop_assert!(Pattern::read(&starred.join("/")).expect("a pattern").matches(&name));
        }
    }
}
