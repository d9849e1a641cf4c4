//! Options of a mount of memory.

use wharf_wire as wire;

use super::invalid;
use crate::error::Error;

/// Docker's defaults (nothing may be run, no set-user-id, no devices), and what was given; of two
/// that contradict each other the last counts.
pub(super) fn options<'a>(given: impl Iterator<Item = &'a str>) -> Result<Vec<String>, Error> {
    const KNOWN: [&str; 6] = ["size", "mode", "uid", "gid", "nr_inodes", "nr_blocks"];
    let mut options: Vec<&str> = vec!["noexec", "nosuid", "nodev"];
    for option in given {
        let key = option.split('=').next().unwrap_or(option);
        let opposite = match option {
            "exec" | "suid" | "dev" | "atime" | "diratime" => Some(format!("no{option}")),
            "noexec" | "nosuid" | "nodev" | "noatime" | "nodiratime" => {
                option.strip_prefix("no").map(str::to_owned)
            }
            "rw" => Some("ro".to_owned()),
            "ro" => Some("rw".to_owned()),
            "sync" | "async" | "relatime" | "norelatime" | "strictatime" => None,
            _ if KNOWN.contains(&key) && option.contains('=') => None,
            _ => return Err(Error::invalid(format!("invalid tmpfs option {option:?}"))),
        };
        let replaced =
            |old: &&str| opposite.as_deref() == Some(*old) || old.split('=').next() == Some(key);
        options.retain(|old| !replaced(old));
        options.push(option);
    }
    Ok(options.into_iter().map(str::to_owned).collect())
}

/// The options of `--mount type=tmpfs`.
pub(super) fn of_mount(mount: &wire::Mount) -> Result<Vec<String>, Error> {
    let given = mount.tmpfs_options.clone().unwrap_or_default();
    if given.size_bytes < 0 {
        return Err(invalid("tmpfs", "the size must not be negative"));
    }
    let mut words = Vec::new();
    if mount.read_only {
        words.push("ro".to_owned());
    }
    if given.size_bytes > 0 {
        words.push(format!("size={}", given.size_bytes));
    }
    if given.mode != 0 {
        words.push(format!("mode={:o}", given.mode));
    }
    words.extend(given.options.iter().map(|words| words.join("=")));
    options(words.iter().map(String::as_str))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_tmpfs_options_win() {
        let found = options(["exec", "size=1m", "size=2m"].into_iter());
        assert_eq!(
            found.map_err(|error| error.to_string()),
            Ok(["nosuid", "nodev", "exec", "size=2m"]
                .map(str::to_owned)
                .to_vec())
        );
        assert!(options(["bogus"].into_iter()).is_err());
    }
}
