//! Which capabilities a container has.

use wharf_oci::runtime::CAPABILITY_NAMES as ALL;

use crate::error::Error;

/// Docker's default set.
const DEFAULT: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

/// Returns all capabilities.
pub(crate) fn all() -> Vec<String> {
    ALL.map(str::to_owned).to_vec()
}

/// Returns the default set with `add` and without `drop`; `ALL` stands for all in either.
///
/// As in Docker, what is added by name wins over `drop` of all, and what is dropped by name over
/// `add` of all.
pub(crate) fn resolve(add: &[String], drop: &[String]) -> Result<Vec<String>, Error> {
    let (add, add_all) = read("CapAdd", add)?;
    let (drop, drop_all) = read("CapDrop", drop)?;
    let kept = ALL.iter().filter(|name| {
        let added = add.contains(name);
        let dropped = drop.contains(name);
        if add_all {
            return !dropped;
        }
        if drop_all {
            return added;
        }
        added || (DEFAULT.contains(name) && !dropped)
    });
    Ok(kept.map(|name| (*name).to_owned()).collect())
}

/// Reads names with or without `CAP_`, in any case, and whether `ALL` is among them.
fn read(member: &str, names: &[String]) -> Result<(Vec<&'static str>, bool), Error> {
    let mut known = Vec::new();
    let mut all = false;
    for name in names {
        let upper = name.to_ascii_uppercase();
        let full = match upper.as_str() {
            "ALL" | "CAP_ALL" => {
                all = true;
                continue;
            }
            upper if upper.starts_with("CAP_") => upper.to_owned(),
            upper => format!("CAP_{upper}"),
        };
        let found = ALL.iter().find(|known| **known == full);
        known.push(*found.ok_or_else(|| {
            Error::invalid(format!("invalid {member}: unknown capability: \"{full}\""))
        })?);
    }
    Ok((known, all))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(add: &[&str], drop: &[&str]) -> Result<Vec<String>, String> {
        let own = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        resolve(&own(add), &own(drop)).map_err(|error| error.to_string())
    }

    #[test]
    fn names_are_added_and_dropped() {
        assert_eq!(set(&[], &[]).map(|set| set.len()), Ok(DEFAULT.len()));
        assert_eq!(set(&["ALL"], &[]), Ok(all()));
        assert_eq!(set(&[], &["all"]), Ok(Vec::new()));
        assert_eq!(
            set(&["net_admin"], &["ALL"]),
            Ok(vec!["CAP_NET_ADMIN".to_owned()])
        );
        let without = set(&["ALL"], &["CAP_SYS_ADMIN"]).expect("set");
        assert!(!without.contains(&"CAP_SYS_ADMIN".to_owned()) && without.len() == 40);
        assert_eq!(
            set(&["bogus"], &[]),
            Err("invalid CapAdd: unknown capability: \"CAP_BOGUS\"".to_owned())
        );
    }
}
