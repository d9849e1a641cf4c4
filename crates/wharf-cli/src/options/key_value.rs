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
    /// Not a setting of the kernel's that belongs to a container, or one without a value.
    #[error("sysctl '{0}' is not allowed")]
    Sysctl(String),
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

/// The kernel's settings outside of the network that belong to a container.
const SYSCTLS: [&str; 8] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
];

/// Adds a setting of the kernel's, `key=value`.
pub(crate) fn add_sysctl(map: &mut BTreeMap<String, String>, text: &str) -> Result<(), PairError> {
    match text.split_once('=') {
        Some((key, value))
            if SYSCTLS.contains(&key)
                || key.starts_with("net.")
                || key.starts_with("fs.mqueue.") =>
        {
            map.insert(key.to_owned(), value.to_owned());
            Ok(())
        }
        _ => Err(PairError::Sysctl(text.to_owned())),
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
        add_sysctl(&mut map, "net.x=").expect("an empty value");
        let shown: Vec<_> = map
            .iter()
            .map(|(key, value)| format!("{key}:{value}"))
            .collect();
        assert_eq!(shown, ["a:b=c", "bare:", "net.x:"]);
        assert_eq!(
            add_label(&mut map, "=b"),
            Err(PairError::EmptyName("=b".to_owned()))
        );
        assert_eq!(
            add_sysctl(&mut map, "vm.b=1"),
            Err(PairError::Sysctl("vm.b=1".to_owned()))
        );
        assert!(add_label(&mut map, "a b=c").is_err());
    }
}
