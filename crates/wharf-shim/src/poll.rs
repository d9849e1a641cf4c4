//! The one epoll instance of a shim, and what its events mean.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{Timespec, epoll};

pub(crate) use rustix::event::epoll::EventFlags;

/// What a descriptor belongs to. Numbers are never used twice, so that an event that was fetched
/// before its descriptor went away finds nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Token {
    /// The listening socket.
    Listener,
    /// The counter of out-of-memory kills.
    OutOfMemory,
    /// Signals of children that nobody waits for by descriptor.
    Children,
    /// A connection to an engine.
    Engine(u32),
    /// End of a process.
    Ended(u32),
    /// Output of a process: 0 standard output or terminal, 1 standard error.
    Output(u32, u8),
    /// Input of a process.
    Input(u32),
    /// A client of a process.
    Client(u32, u32),
    /// The service a process's log is sent to.
    Log(u32),
}

impl Token {
    fn encode(self) -> u64 {
        let pack = |kind: u64, process: u32, item: u32| {
            kind << 56 | u64::from(process & 0xff_ffff) << 32 | u64::from(item)
        };
        match self {
            Self::Listener => pack(0, 0, 0),
            Self::OutOfMemory => pack(1, 0, 0),
            Self::Children => pack(2, 0, 0),
            Self::Engine(number) => pack(3, 0, number),
            Self::Ended(process) => pack(4, process, 0),
            Self::Output(process, index) => pack(5, process, u32::from(index)),
            Self::Input(process) => pack(6, process, 0),
            Self::Client(process, client) => pack(7, process, client),
            Self::Log(process) => pack(8, process, 0),
        }
    }

    fn decode(word: u64) -> Option<Self> {
        let [kind, a, b, c, d, e, f, g] = word.to_be_bytes();
        let process = u32::from_be_bytes([0, a, b, c]);
        let item = u32::from_be_bytes([d, e, f, g]);
        Some(match kind {
            0 => Self::Listener,
            1 => Self::OutOfMemory,
            2 => Self::Children,
            3 => Self::Engine(item),
            4 => Self::Ended(process),
            5 => Self::Output(process, g),
            6 => Self::Input(process),
            7 => Self::Client(process, item),
            8 => Self::Log(process),
            _ => return None,
        })
    }
}

/// What is waited for on one descriptor.
///
/// Waiting for nothing is not the same as not being registered: epoll reports a hang-up always, and
/// a descriptor that is hung up and not to be read yet would make the loop spin.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Interest(Option<EventFlags>);

/// An epoll instance.
#[derive(Debug)]
pub(crate) struct Poll {
    epoll: OwnedFd,
}

impl Poll {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
        })
    }

    /// Makes `wanted` what is waited for on `fd`; `None` takes it out.
    pub(crate) fn set(
        &self,
        fd: impl AsFd,
        token: Token,
        interest: &mut Interest,
        wanted: Option<EventFlags>,
    ) -> io::Result<()> {
        if interest.0 == wanted {
            return Ok(());
        }
        let data = epoll::EventData::new_u64(token.encode());
        match (interest.0, wanted) {
            (None, Some(flags)) => epoll::add(&self.epoll, fd, data, flags)?,
            (Some(_), Some(flags)) => epoll::modify(&self.epoll, fd, data, flags)?,
            (_, None) => epoll::delete(&self.epoll, fd)?,
        }
        interest.0 = wanted;
        Ok(())
    }

    /// Waits for events, at most until `deadline`.
    pub(crate) fn wait(&self, deadline: Option<Instant>) -> io::Result<Vec<(Token, EventFlags)>> {
        const EVENTS_MAX: usize = 16;
        let timeout = deadline.map(|deadline| {
            // Rounded up: a wait that ends a little early would be entered again and again.
            let left = deadline.saturating_duration_since(Instant::now());
            timespec(left + Duration::from_millis(1))
        });
        let mut events = Vec::with_capacity(EVENTS_MAX);
        let spare = rustix::buffer::spare_capacity(&mut events);
        match epoll::wait(&self.epoll, spare, timeout.as_ref()) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        }
        let decode = |event: epoll::Event| {
            // The structure is packed: its members are copied out before use.
            let (data, flags) = (event.data, event.flags);
            Some((Token::decode(data.u64())?, flags))
        };
        Ok(events.into_iter().filter_map(decode).collect())
    }
}

fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(duration.subsec_nanos()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_survive_the_kernel() {
        for token in [
            Token::Listener,
            Token::OutOfMemory,
            Token::Children,
            Token::Engine(u32::MAX),
            Token::Ended(0xff_ffff),
            Token::Output(7, 1),
            Token::Input(3),
            Token::Client(0x12_3456, 0x89ab_cdef),
            Token::Log(9),
        ] {
            assert_eq!(Token::decode(token.encode()), Some(token));
        }
    }
}
