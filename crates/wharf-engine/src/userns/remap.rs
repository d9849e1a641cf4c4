//! The engine's own mapping: `--userns-remap default|user|user:group|uid|uid:gid`.
//!
//! The ids are all ranges that `/etc/subuid` gives to the user and `/etc/subgid` to the group, one
//! after the other from 0 on inside. `default` stands for the user `dockremap`. The engine writes none of
//! these files: accounts are the host's administrator's, who is told the lines that are missing.
//!
//! The files are read here, without libc: see the rule about name lookups.

use std::fs;
use std::io;

use wharf_oci::runtime::IdMapping;

use super::mapping::Mapping;
use super::pool::Range;
use super::subids::{ParseError, SubIds};
use super::{SUBGID, SUBUID};
use crate::user::{group_entries, passwd_entries};

const PASSWD: &str = "/etc/passwd";
const GROUP: &str = "/etc/group";
/// The user that `default` stands for.
const DEFAULT_USER: &str = "dockremap";
/// Ids that are proposed to whoever has none.
const PROPOSED: u32 = 65_536;
/// Where proposals begin, with the first id that distributions give away.
const PROPOSED_FROM: u64 = 100_000;

/// Why `--userns-remap` cannot be carried out.
#[derive(Debug, thiserror::Error)]
pub enum RemapError {
    /// The text is of another form.
    #[error("invalid --userns-remap {0:?}: default, user, user:group, uid or uid:gid")]
    Form(String),
    /// The host has no such account.
    #[error("--userns-remap: {name:?} has no entry in {file}")]
    NoAccount {
        /// Name or number.
        name: String,
        /// Where it was looked for.
        file: &'static str,
    },
    /// An account has no ids to use.
    #[error(
        "--userns-remap: no ids are given to {name:?} in {file}; this line would do: {name}:{proposed}:{PROPOSED}"
    )]
    NoIds {
        /// User or group.
        name: String,
        /// Where ids are given.
        file: &'static str,
        /// The first id of a free range.
        proposed: u64,
    },
    /// `default` has no ids to use yet.
    #[error(
        "--userns-remap=default: the user \"dockremap\" has no ids yet; add the line dockremap:{uid}:{PROPOSED} to \
         /etc/subuid and the line dockremap:{gid}:{PROPOSED} to /etc/subgid"
    )]
    NoDefault {
        /// The first user id of a free range.
        uid: u64,
        /// The first group id of a free range.
        gid: u64,
    },
    /// All ranges together are more than there are ids.
    #[error("--userns-remap: {file} gives {name:?} more ids than there are")]
    TooMany {
        /// User or group.
        name: String,
        /// Where ids are given.
        file: &'static str,
    },
    /// A file of the host cannot be read.
    #[error("cannot read {file}")]
    Read {
        /// The file.
        file: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A line of `/etc/subuid` or `/etc/subgid` is none.
    #[error("cannot read {file}")]
    Parse {
        /// The file.
        file: &'static str,
        /// Which line.
        #[source]
        source: ParseError,
    },
}

/// The files that decide.
#[derive(Debug, Default)]
struct Host {
    passwd: String,
    group: String,
    subuid: String,
    subgid: String,
}

/// An account: its name and its number.
#[derive(Debug, PartialEq, Eq)]
struct Account {
    name: String,
    id: Option<u32>,
}

/// Reads the host's files and finds the mapping.
pub(super) fn resolve(setting: &str) -> Result<Mapping, RemapError> {
    let read = |file: &'static str| match fs::read_to_string(file) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(source) => Err(RemapError::Read { file, source }),
    };
    let host = Host {
        passwd: read(PASSWD)?,
        group: read(GROUP)?,
        subuid: read(SUBUID)?,
        subgid: read(SUBGID)?,
    };
    host.mapping(setting)
}

impl Host {
    fn mapping(&self, setting: &str) -> Result<Mapping, RemapError> {
        let parse = |file, text: &str| {
            text.parse::<SubIds>()
                .map_err(|source| RemapError::Parse { file, source })
        };
        let (subuid, subgid) = (parse(SUBUID, &self.subuid)?, parse(SUBGID, &self.subgid)?);
        if setting == "default" {
            let missing = subuid.of(DEFAULT_USER, None).next().is_none()
                || subgid.of(DEFAULT_USER, None).next().is_none();
            if missing {
                return Err(RemapError::NoDefault {
                    uid: propose(&subuid),
                    gid: propose(&subgid),
                });
            }
        }
        let (user, group) = self.accounts(setting)?;
        Ok(Mapping {
            uids: lines(&subuid, SUBUID, &user)?,
            gids: lines(&subgid, SUBGID, &group)?,
        })
    }

    fn accounts(&self, setting: &str) -> Result<(Account, Account), RemapError> {
        if setting == "default" {
            // The ids are all that is needed of it, so the account itself may be missing.
            let account = |id| Account {
                name: DEFAULT_USER.to_owned(),
                id,
            };
            let uid = self.user(DEFAULT_USER).ok().and_then(|user| user.id);
            let gid = self.group(DEFAULT_USER).ok().and_then(|group| group.id);
            return Ok((account(uid), account(gid)));
        }
        let (user, group) = match setting.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (setting, None),
        };
        if user.is_empty() || group.is_some_and(|group| group.is_empty() || group.contains(':')) {
            return Err(RemapError::Form(setting.to_owned()));
        }
        // As with Docker, a user alone means the group of the same name, or of the same number.
        Ok((self.user(user)?, self.group(group.unwrap_or(user))?))
    }

    fn user(&self, text: &str) -> Result<Account, RemapError> {
        let users = || passwd_entries(&self.passwd).map(|user| (user.name, user.uid));
        find(users, text, PASSWD)
    }

    fn group(&self, text: &str) -> Result<Account, RemapError> {
        let groups = || group_entries(&self.group).map(|group| (group.name, group.gid));
        find(groups, text, GROUP)
    }
}

/// Finds an account by its number, if the text is one, or else by its name.
fn find<'a, I: Iterator<Item = (&'a str, u32)>>(
    entries: impl FnOnce() -> I,
    text: &str,
    file: &'static str,
) -> Result<Account, RemapError> {
    let number: Option<u32> = text.parse().ok();
    let found = entries().find(|(name, id)| match number {
        Some(number) => *id == number,
        None => *name == text,
    });
    let (name, id) = found.ok_or_else(|| RemapError::NoAccount {
        name: text.to_owned(),
        file,
    })?;
    Ok(Account {
        name: name.to_owned(),
        id: Some(id),
    })
}

/// All ranges of an account, one after the other from 0 on.
fn lines(
    subids: &SubIds,
    file: &'static str,
    account: &Account,
) -> Result<Vec<IdMapping>, RemapError> {
    let mut lines = Vec::new();
    let mut inside: u32 = 0;
    for range in subids.of(&account.name, account.id) {
        let too_many = || RemapError::TooMany {
            name: account.name.clone(),
            file,
        };
        let size = u32::try_from(range.end - range.first).map_err(|_| too_many())?;
        lines.push(IdMapping {
            container_id: inside,
            host_id: u32::try_from(range.first).map_err(|_| too_many())?,
            size,
        });
        inside = inside.checked_add(size).ok_or_else(too_many)?;
    }
    if lines.is_empty() {
        return Err(RemapError::NoIds {
            name: account.name.clone(),
            file,
            proposed: propose(subids),
        });
    }
    Ok(lines)
}

/// The first id after all that are given away.
fn propose(subids: &SubIds) -> u64 {
    let end = |range: Range| range.end;
    subids.all().map(end).max().unwrap_or(0).max(PROPOSED_FROM)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(subuid: &str, subgid: &str) -> Host {
        Host {
            passwd: "root:x:0:0::/root:/bin/sh\nweb:x:1001:1002::/:/bin/sh\n".to_owned(),
            group: "root:x:0:\nweb:x:1001:\nstaff:x:50:web\n".to_owned(),
            subuid: subuid.to_owned(),
            subgid: subgid.to_owned(),
        }
    }

    fn mapping(host: &Host, setting: &str) -> Result<[Vec<String>; 2], String> {
        let line = |l: &IdMapping| format!("{} {} {}", l.container_id, l.host_id, l.size);
        let mapping = host.mapping(setting).map_err(|error| error.to_string())?;
        Ok([mapping.uids, mapping.gids].map(|lines| lines.iter().map(line).collect()))
    }

    #[test]
    fn all_ranges_of_user_and_group_are_used_in_their_order() {
        let host = host(
            "web:200000:10\nother:1:1\n1001:100000:65536\n",
            "web:300000:65536\nstaff:400000:1000\n",
        );
        let uids = || vec!["0 200000 10".to_owned(), "10 100000 65536".to_owned()];
        let gids = |line: &str| vec![line.to_owned()];
        for (setting, expected) in [
            ("web", "0 300000 65536"),
            ("1001", "0 300000 65536"),
            ("web:staff", "0 400000 1000"),
            ("1001:50", "0 400000 1000"),
        ] {
            assert_eq!(
                mapping(&host, setting),
                Ok([uids(), gids(expected)]),
                "{setting}"
            );
        }
    }

    #[test]
    fn default_is_dockremap_or_says_what_to_add() {
        let given = host("dockremap:100000:65536\n", "dockremap:100000:65536\n");
        let line = || vec!["0 100000 65536".to_owned()];
        assert_eq!(mapping(&given, "default"), Ok([line(), line()]));
        assert_eq!(
            mapping(&host("web:100000:65536\n", ""), "default"),
            Err(
                "--userns-remap=default: the user \"dockremap\" has no ids yet; add the line \
                 dockremap:165536:65536 to /etc/subuid and the line dockremap:100000:65536 to /etc/subgid"
                    .to_owned()
            )
        );
    }

    #[test]
    fn what_cannot_be_found_is_told() {
        let host = host("web:5:5\n", "");
        for (setting, message) in [
            (
                "nobody",
                "--userns-remap: \"nobody\" has no entry in /etc/passwd",
            ),
            ("77", "--userns-remap: \"77\" has no entry in /etc/passwd"),
            (
                "web:wheel",
                "--userns-remap: \"wheel\" has no entry in /etc/group",
            ),
            (
                "web",
                "--userns-remap: no ids are given to \"web\" in /etc/subgid; this line would do: web:100000:65536",
            ),
            (
                "web:",
                "invalid --userns-remap \"web:\": default, user, user:group, uid or uid:gid",
            ),
            (
                ":web",
                "invalid --userns-remap \":web\": default, user, user:group, uid or uid:gid",
            ),
            (
                "a:b:c",
                "invalid --userns-remap \"a:b:c\": default, user, user:group, uid or uid:gid",
            ),
        ] {
            assert_eq!(
                mapping(&host, setting),
                Err(message.to_owned()),
                "{setting}"
            );
        }
    }
}
