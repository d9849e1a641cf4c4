//! Who a container's process is: `USER`, `-u` and `--group-add`, looked up in the image's own
//! `/etc/passwd` and `/etc/group`.
//!
//! The files belong to whoever made the image. They are read inside the root only, as regular files
//! of bounded size (attack R22), and a text that is neither a known name nor a proper number is an
//! error, never user 0 (attacks R10, R11). Numbers go up to 2³¹−1.

use std::path::Path;

use wharf_oci::runtime::User;
use wharf_store::{RootedDir, RootedError};

use crate::error::Error;

/// Longest file that is read.
const FILE_MAX: u64 = 1 << 20;
/// Largest id, Docker's.
const ID_MAX: u32 = i32::MAX as u32;

/// The user of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) user: User,
}

/// Looks up `text` (`user[:group]`, names or numbers, empty for root) with `more` groups.
///
/// With a group named, the process has that group and `more` alone; without, all groups that list
/// the user (attack R13).
pub(crate) fn look_up(root: &RootedDir, text: &str, more: &[String]) -> Result<Identity, Error> {
    let passwd = read(root, "/etc/passwd")?;
    let group = read(root, "/etc/group")?;
    resolve(&passwd, &group, text, more)
}

fn read(root: &RootedDir, path: &str) -> Result<String, Error> {
    match root.read_file(Path::new(path), FILE_MAX) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(RootedError::Path(error)) if error.source.kind() == std::io::ErrorKind::NotFound => {
            Ok(String::new())
        }
        Err(error) => Err(Error::invalid(format!(
            "unable to find user: cannot read {path} of the image: {}",
            crate::error::chain(&error)
        ))),
    }
}

pub(crate) struct PasswdEntry<'a> {
    pub(crate) name: &'a str,
    pub(crate) uid: u32,
    gid: u32,
}

pub(crate) struct GroupEntry<'a> {
    pub(crate) name: &'a str,
    pub(crate) gid: u32,
    members: &'a str,
}

pub(crate) fn passwd_entries(text: &str) -> impl Iterator<Item = PasswdEntry<'_>> {
    text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        Some(PasswdEntry { name, uid, gid })
    })
}

pub(crate) fn group_entries(text: &str) -> impl Iterator<Item = GroupEntry<'_>> {
    text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let gid = fields.nth(1)?.parse().ok()?;
        let members = fields.next().unwrap_or_default();
        Some(GroupEntry { name, gid, members })
    })
}

fn resolve(passwd: &str, group: &str, text: &str, more: &[String]) -> Result<Identity, Error> {
    let (user_text, group_text) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (text, None),
    };
    if !text.is_empty() && (user_text.is_empty() || group_text == Some("")) {
        return Err(unknown_user(text));
    }
    let wanted = if user_text.is_empty() { "0" } else { user_text };
    let by_name = passwd_entries(passwd).find(|entry| entry.name == wanted);
    let entry = match (by_name, number(wanted)) {
        (Some(entry), _) => Some(entry),
        (None, Some(uid)) => passwd_entries(passwd).find(|entry| entry.uid == uid),
        (None, None) => return Err(unknown_user(wanted)),
    };
    let uid = match &entry {
        Some(entry) => entry.uid,
        None => number(wanted).ok_or_else(|| unknown_user(wanted))?,
    };
    let gid = match group_text {
        Some(text) => find_group(group, text)?,
        None => entry.as_ref().map_or(0, |entry| entry.gid),
    };
    if uid > ID_MAX || gid > ID_MAX {
        return Err(Error::invalid(
            "uids and gids must be in range 0-2147483647",
        ));
    }
    // The first group is one of the others too: a process that changes its first group would lose
    // it, and with it what files deny that group (CVE-2022-36109).
    let mut additional: Vec<u32> = vec![gid];
    if let (None, Some(entry)) = (group_text, &entry) {
        let lists = |found: &GroupEntry<'_>| found.members.split(',').any(|m| m == entry.name);
        additional.extend(group_entries(group).filter(lists).map(|found| found.gid));
    }
    for text in more {
        additional.push(find_group(group, text)?);
    }
    additional.sort_unstable();
    additional.dedup();
    Ok(Identity {
        user: User {
            uid,
            gid,
            umask: None,
            additional_gids: additional,
        },
    })
}

fn find_group(group: &str, text: &str) -> Result<u32, Error> {
    let found = group_entries(group)
        .find(|entry| entry.name == text)
        .map(|entry| entry.gid);
    found.or_else(|| number(text)).ok_or_else(|| {
        Error::invalid(format!(
            "unable to find group {text}: no matching entries in group file"
        ))
    })
}

fn unknown_user(text: &str) -> Error {
    Error::invalid(format!(
        "unable to find user {text}: no matching entries in passwd file"
    ))
}

/// Decimal digits alone: no sign, no blank.
fn number(text: &str) -> Option<u32> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().filter(|number| *number <= ID_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nweb:x:33:34::/var/www:/bin/false\nbad\n";
    const GROUP: &str = "root:x:0:root\nwww:x:34:\nlog:x:4:web,other\nwheel:x:10:root\n";

    fn ids(text: &str, more: &[&str]) -> Result<(u32, u32, Vec<u32>), String> {
        let more: Vec<_> = more.iter().map(|group| (*group).to_owned()).collect();
        let user = resolve(PASSWD, GROUP, text, &more)
            .map_err(|error| error.to_string())?
            .user;
        Ok((user.uid, user.gid, user.additional_gids))
    }

    #[test]
    fn names_and_numbers_are_looked_up() {
        assert_eq!(ids("", &[]), Ok((0, 0, vec![0, 10])));
        assert_eq!(ids("web", &[]), Ok((33, 34, vec![4, 34])));
        assert_eq!(ids("33", &[]), Ok((33, 34, vec![4, 34])));
        assert_eq!(ids("1000", &[]), Ok((1000, 0, vec![0])));
        assert_eq!(
            ids("web:log", &["wheel", "77"]),
            Ok((33, 4, vec![4, 10, 77]))
        );
    }

    #[test]
    fn attack_r13_a_named_group_is_the_only_one() {
        assert_eq!(ids("root:34", &[]), Ok((0, 34, vec![34])));
        assert_eq!(ids("0:0", &[]), Ok((0, 0, vec![0])));
    }

    #[test]
    fn attack_r10_odd_users_are_errors() {
        for text in [
            "1000:",
            ":",
            ":0",
            " 0",
            "0 ",
            "-1",
            "+0",
            "0x0",
            "99999999999",
            "nobody",
        ] {
            assert!(ids(text, &[]).is_err(), "{text:?}");
        }
    }

    #[test]
    fn attack_r11_ids_beyond_31_bits_are_errors() {
        for text in [
            "4294967296",
            "4294967295",
            "2147483648",
            "4294967296:0",
            "0:4294967296",
        ] {
            assert!(ids(text, &[]).is_err(), "{text:?}");
        }
        let passwd = "huge:x:4294967295:0::/:/bin/sh\n";
        assert!(resolve(passwd, "", "huge", &[]).is_err());
    }
}
