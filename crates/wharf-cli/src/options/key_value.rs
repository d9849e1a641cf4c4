//! Pairs of a key and a value: labels, sysctls, options of drivers.

use std::collections::BTreeMap;

/// A pair that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PairError {
    /// Nothing before the equals sign.
    #[error("invalid label '{0}': empty name")]
    EmptyName(String),
    /// No equals sign where one must be.
    #[error("invalid argument: {0:?} is not of the form key=value")]
    NoValue(String),
    /// A blank in the key.
    #[error("label '{0}' contains whitespaces")]
    Blank(String),
}

/// Adds `key=value`; `key` alone has the empty value.
pub(crate) fn add_label(map: &mut BTreeMap<String, String>, text: &str) -> Result<(), PairError> {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    if key.trim().is_empty() {
        return Err(PairError::EmptyName(text.to_owned()));
    }
    if key.contains([' ', '\t']) {
        return Err(PairError::Blank(key.to_owned()));
    }
    map.insert(key.to_owned(), value.to_owned());
    Ok(())
}

/// Adds `key=value`.
pub(crate) fn add_pair(map: &mut BTreeMap<String, String>, text: &str) -> Result<(), PairError> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => {
            map.insert(key.to_owned(), value.to_owned());
            Ok(())
        }
        _ => Err(PairError::NoValue(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_may_be_bare_and_pairs_may_not() {
        let mut map = BTreeMap::new();
        add_label(&mut map, "a=b=c").expect("a pair");
        add_label(&mut map, "bare").expect("a bare key");
        add_pair(&mut map, "x=").expect("an empty value");
        let shown: Vec<_> = map
            .iter()
            .map(|(key, value)| format!("{key}:{value}"))
            .collect();
        assert_eq!(shown, ["a:b=c", "bare:", "x:"]);
        assert_eq!(
            add_label(&mut map, "=b"),
            Err(PairError::EmptyName("=b".to_owned()))
        );
        assert_eq!(
            add_pair(&mut map, "b"),
            Err(PairError::NoValue("b".to_owned()))
        );
        assert!(add_label(&mut map, "a b=c").is_err());
    }
}
