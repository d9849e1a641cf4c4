//! Which labels, or which variables, are kept with each entry.

use regex_lite::Regex;

use super::{Given, OptionError};

/// Names that are listed, and names that match a pattern.
///
/// Patterns are Go's, as Docker takes them: unanchored, and matched in a time that grows with the name
/// alone. Of Go's syntax classes of Unicode (`\pL`) and `\Q…\E` are missing, and refused.
#[derive(Debug, Clone, Default)]
pub(super) struct Kept {
    names: Vec<String>,
    pattern: Option<Regex>,
}

impl Kept {
    /// Reads the two options, for instance `labels` and `labels-regex`.
    pub(super) fn read(options: &Given, names: &str, pattern: &str) -> Result<Self, OptionError> {
        let given = |option: &str| options.get(option).map_or("", String::as_str);
        let listed = given(names).split(',').filter(|name| !name.is_empty());
        let pattern = match given(pattern) {
            "" => None,
            text => Some(Regex::new(text).map_err(|error| OptionError::Pattern {
                text: text.to_owned(),
                reason: error.to_string(),
            })?),
        };
        Ok(Self {
            names: listed.map(str::to_owned).collect(),
            pattern,
        })
    }

    pub(super) fn has(&self, name: &str) -> bool {
        let matches = |pattern: &Regex| pattern.is_match(name);
        self.names.iter().any(|listed| listed == name) || self.pattern.as_ref().is_some_and(matches)
    }
}
