//! Whose table it is.
//!
//! Two engines that took the same bridge for theirs would load their tables over each other's for
//! ever. So the table carries, next to its comment, the process that loaded it; while that process
//! runs, no other takes the bridge.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::netlink::{self, Refusal, Socket};
use crate::nftables::{self, INET, attribute};

/// A process: its number, and when it started, because numbers are used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) pid: u32,
    started: u64,
}

/// How long a killed engine may take to be gone.
const LAST_BREATH: Timespec = Timespec {
    tv_sec: 1,
    tv_nsec: 0,
};

/// Our record in a table's user data, of which nft reads the comment (record 0) only: number,
/// length, process, start.
const RECORD: u8 = 119;
const LENGTH: u8 = 12;

impl Owner {
    /// This process.
    pub(crate) fn this_process() -> Self {
        let pid = std::process::id();
        Self {
            pid,
            started: started(pid).unwrap_or_default(),
        }
    }

    /// The other process that holds this table and still runs.
    pub(crate) fn of_table(socket: &mut Socket, table: &str) -> Result<Option<Self>, Refusal> {
        let owner = socket.get(&nftables::get_table(INET, table), |answer| {
            let attributes = answer.body.get(nftables::HEADER..)?;
            Self::decode(netlink::attribute(attributes, attribute::TABLE_USERDATA)?)
        })?;
        let owner = owner.flatten();
        Ok(owner.filter(|owner| *owner != Self::this_process() && owner.stays()))
    }

    /// Whether the process goes on running: one that has been killed takes a moment to die.
    fn stays(self) -> bool {
        let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) else {
            return false;
        };
        // First the handle, then the question whether it is the right process's.
        let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else {
            return false;
        };
        if !self.runs() {
            return false;
        }
        let mut fds = [PollFd::new(&process, PollFlags::IN)];
        let ended = rustix::io::retry_on_intr(|| poll(&mut fds, Some(&LAST_BREATH)));
        ended == Ok(0)
    }

    fn runs(self) -> bool {
        started(self.pid) == Some(self.started)
    }

    /// The record, to be put after others.
    pub(crate) fn encode(self) -> Vec<u8> {
        let mut record = vec![RECORD, LENGTH];
        record.extend(self.pid.to_be_bytes());
        record.extend(self.started.to_be_bytes());
        record
    }

    fn decode(mut userdata: &[u8]) -> Option<Self> {
        loop {
            let [number, length] = *userdata.first_chunk()?;
            let value = userdata.get(2..2 + usize::from(length))?;
            if (number, length) == (RECORD, LENGTH) {
                return Some(Self {
                    pid: u32::from_be_bytes(*value.first_chunk()?),
                    started: u64::from_be_bytes(*value.last_chunk()?),
                });
            }
            userdata = &userdata[2 + usize::from(length)..];
        }
    }
}

/// When a process started, in clock ticks since the machine did.
fn started(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name, in brackets, and may hold anything.
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_ascii_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn record_is_found_after_a_comment_and_not_in_foreign_bytes() {
        let owner = Owner::this_process();
        assert!(owner.runs() && owner.started > 0);
        let mut userdata = nftables::comment_userdata("a comment");
        assert_eq!(Owner::decode(&userdata), None);
        userdata.extend(owner.encode());
        assert_eq!(Owner::decode(&userdata), Some(owner));
        for length in 0..userdata.len() {
            assert_eq!(Owner::decode(&userdata[..length]), None);
        }
        assert!(
            !Owner {
                started: owner.started + 1,
                ..owner
            }
            .runs()
        );
    }
}
