//! What a request says of its user namespace.

use std::str::FromStr;

use crate::error::Error;
use crate::userns::{Caller, pool};

/// `HostConfig.UsernsMode`, understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// The engine's default.
    Default,
    /// The host's.
    Host,
    /// Ids of its own.
    Auto { size: u32 },
    /// Ids of its own but the caller's.
    KeepId(Inside),
}

/// The caller's ids inside; its own where none is given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Inside {
    uid: Option<u32>,
    gid: Option<u32>,
}

/// Ids, inside and outside, that do not come from the pool.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct KeptIds {
    pub(super) uid: Option<(u32, u32)>,
    pub(super) gid: Option<(u32, u32)>,
}

impl KeptIds {
    pub(super) fn new(caller: Caller, inside: Inside) -> Self {
        Self {
            uid: Some((inside.uid.unwrap_or(caller.uid), caller.uid)),
            gid: Some((inside.gid.unwrap_or(caller.gid), caller.gid)),
        }
    }

    /// The user that a process is by default.
    pub(super) fn user(self) -> String {
        let inside = |kept: Option<(u32, u32)>| kept.map_or(0, |(inside, _)| inside);
        format!("{}:{}", inside(self.uid), inside(self.gid))
    }
}

impl FromStr for Mode {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (name, options) = match text.split_once(':') {
            Some((name, options)) => (name, Some(options)),
            None => (text, None),
        };
        let invalid = || Error::invalid(format!("invalid USER mode: {text}"));
        let mut options = options
            .map(|options| options.split(',').map(|option| read_option(option, text)))
            .into_iter()
            .flatten();
        match name {
            "auto" => {
                options.try_fold(Self::Auto { size: pool::SIZE }, |_, option| match option? {
                    ("size", size @ 1..) => Ok(Self::Auto { size }),
                    _ => Err(invalid()),
                })
            }
            "keep-id" => options
                .try_fold(Inside::default(), |inside, option| match option? {
                    ("uid", uid) => Ok(Inside {
                        uid: Some(uid),
                        ..inside
                    }),
                    ("gid", gid) => Ok(Inside {
                        gid: Some(gid),
                        ..inside
                    }),
                    _ => Err(invalid()),
                })
                .map(Self::KeepId),
            "host" if text == name => Ok(Self::Host),
            "" if text == name => Ok(Self::Default),
            _ => Err(invalid()),
        }
    }
}

/// Reads `name=number`. Numbers go up to 2³¹−1, as those of users do.
fn read_option<'a>(option: &'a str, whole: &str) -> Result<(&'a str, u32), Error> {
    let read = || {
        let (name, value) = option.split_once('=')?;
        let number = value.bytes().all(|byte| byte.is_ascii_digit());
        let value = value
            .parse()
            .ok()
            .filter(|value| *value <= i32::MAX as u32)?;
        number.then_some((name, value))
    };
    read().ok_or_else(|| Error::invalid(format!("invalid USER mode: {whole}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_read() {
        let keep = |uid, gid| Mode::KeepId(Inside { uid, gid });
        for (text, mode) in [
            ("", Mode::Default),
            ("host", Mode::Host),
            ("auto", Mode::Auto { size: 65_536 }),
            ("auto:size=1000", Mode::Auto { size: 1000 }),
            ("keep-id", keep(None, None)),
            ("keep-id:uid=5", keep(Some(5), None)),
            ("keep-id:gid=6,uid=0", keep(Some(0), Some(6))),
        ] {
            assert_eq!(text.parse::<Mode>().ok(), Some(mode), "{text}");
        }
    }

    #[test]
    fn other_modes_are_refused() {
        for text in [
            "private",
            "container:x",
            ":",
            "host:",
            "auto:",
            "auto:size=0",
            "auto:size=-1",
            "auto:size=+1",
            "auto:size=4294967296",
            "auto:uidmapping=0:1:2",
            "keep-id:uid=",
            "keep-id:size=5",
            "Auto",
        ] {
            let error = text.parse::<Mode>().expect_err(text).to_string();
            assert_eq!(error, format!("invalid USER mode: {text}"));
        }
    }
}
