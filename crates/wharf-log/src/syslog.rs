//! Messages for a syslog daemon, in the formats Docker has.

use std::net::SocketAddr;
use std::path::PathBuf;

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use serde::{Deserialize, Serialize};

use crate::entry::{Piece, Stream};
use crate::tls::Tls;

/// A syslog daemon, and what each message of a container says there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Syslog {
    /// Where it listens.
    pub address: Address,
    /// What the name of its host means, where it has one: tried one after the other.
    pub sockets: Vec<SocketAddr>,
    /// How messages are written.
    pub format: Format,
    /// Number of the facility.
    pub facility: u8,
    /// What names the container.
    pub tag: String,
    /// What names the machine.
    pub hostname: String,
}

/// Where a syslog daemon listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Address {
    /// The one of this machine, wherever it is found.
    Local,
    /// A stream socket.
    Unix(PathBuf),
    /// A datagram socket.
    UnixGram(PathBuf),
    /// UDP.
    Udp(Host),
    /// TCP.
    Tcp(Host),
    /// TLS over TCP.
    Tls(Host, Tls),
}

/// A host and its port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// Its name, or its IP address.
    pub name: String,
    /// The port.
    pub port: u16,
}

/// How messages are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Format {
    /// As local programs write them: RFC 3164 without the machine's name.
    #[default]
    Unix,
    /// RFC 3164.
    Rfc3164,
    /// RFC 5424.
    Rfc5424,
    /// RFC 5424 with microseconds.
    Rfc5424Micro,
}

const FACILITIES: [(&str, u8); 20] = [
    ("kern", 0),
    ("user", 1),
    ("mail", 2),
    ("daemon", 3),
    ("auth", 4),
    ("syslog", 5),
    ("lpr", 6),
    ("news", 7),
    ("uucp", 8),
    ("cron", 9),
    ("authpriv", 10),
    ("ftp", 11),
    ("local0", 16),
    ("local1", 17),
    ("local2", 18),
    ("local3", 19),
    ("local4", 20),
    ("local5", 21),
    ("local6", 22),
    ("local7", 23),
];
/// Where nothing is said: that of daemons.
const FACILITY: u8 = 3;
const FACILITY_MAX: u8 = 23;

/// Reads a facility, by name or number.
pub(crate) fn facility(text: &str) -> Option<u8> {
    if text.is_empty() {
        return Some(FACILITY);
    }
    let named = FACILITIES.iter().find(|(name, _)| *name == text);
    let number = || text.parse().ok().filter(|number| *number <= FACILITY_MAX);
    named.map(|(_, number)| *number).or_else(number)
}

impl Address {
    /// The host whose name somebody has to look up, and how Go calls the protocol.
    #[must_use]
    pub fn host(&self) -> Option<(&'static str, &Host)> {
        match self {
            Self::Local | Self::Unix(_) | Self::UnixGram(_) => None,
            Self::Udp(host) => Some(("udp", host)),
            Self::Tcp(host) | Self::Tls(host, _) => Some(("tcp", host)),
        }
    }
}

impl Format {
    /// Reads a format's name; empty is the first.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text {
            "" => Some(Self::Unix),
            "rfc3164" => Some(Self::Rfc3164),
            "rfc5424" => Some(Self::Rfc5424),
            "rfc5424micro" => Some(Self::Rfc5424Micro),
            _ => None,
        }
    }
}

impl Syslog {
    /// Writes a message; `None` for an empty line, of which Docker sends nothing.
    pub(crate) fn encode(&self, piece: &Piece<'_>) -> Option<Vec<u8>> {
        if piece.text.is_empty() {
            return None;
        }
        let time = Timestamp::from_nanosecond(i128::from(piece.time.nanoseconds));
        let time = time
            .unwrap_or(Timestamp::UNIX_EPOCH)
            .to_zoned(TimeZone::system());
        let mut out = self
            .head(piece.stream, &time, std::process::id())
            .into_bytes();
        out.extend_from_slice(piece.text);
        out.push(b'\n');
        Some(out)
    }

    fn head(&self, stream: Stream, time: &Zoned, pid: u32) -> String {
        let severity = match stream {
            Stream::Stdout => 6,
            Stream::Stderr => 3,
        };
        let priority = self.facility * 8 + severity;
        let Self { tag, hostname, .. } = self;
        let zone = if time.offset().is_zero() { "Z" } else { "%:z" };
        match self.format {
            Format::Unix => format!("<{priority}>{} {tag}[{pid}]: ", stamp(time)),
            Format::Rfc3164 => format!("<{priority}>{} {hostname} {tag}[{pid}]: ", stamp(time)),
            Format::Rfc5424 => {
                let time = time
                    .strftime(&format!("%Y-%m-%dT%H:%M:%S{zone}"))
                    .to_string();
                format!("<{priority}>1 {time} {hostname} {tag} {pid} {tag} - ")
            }
            Format::Rfc5424Micro => {
                let time = time
                    .strftime(&format!("%Y-%m-%dT%H:%M:%S.%6f{zone}"))
                    .to_string();
                format!("<{priority}>1 {time} {hostname} {tag} {pid} {tag} - ")
            }
        }
    }
}

fn stamp(time: &Zoned) -> String {
    time.strftime("%b %e %H:%M:%S").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_as_docker_writes_them() {
        let head = |format, stream, hours| {
            let syslog = Syslog {
                address: Address::Local,
                sockets: Vec::new(),
                format,
                facility: 3,
                tag: "box".to_owned(),
                hostname: "host".to_owned(),
            };
            let zone = TimeZone::fixed(jiff::tz::offset(hours));
            let time: Timestamp = "2026-01-03T12:00:00.5Z".parse().expect("time");
            syslog.head(stream, &time.to_zoned(zone), 7)
        };
        let (utc, east) = (0, 2);
        assert_eq!(
            head(Format::Unix, Stream::Stdout, utc),
            "<30>Jan  3 12:00:00 box[7]: "
        );
        assert_eq!(
            head(Format::Rfc3164, Stream::Stderr, utc),
            "<27>Jan  3 12:00:00 host box[7]: "
        );
        assert_eq!(
            head(Format::Rfc5424, Stream::Stdout, utc),
            "<30>1 2026-01-03T12:00:00Z host box 7 box - "
        );
        assert_eq!(
            head(Format::Rfc5424Micro, Stream::Stdout, east),
            "<30>1 2026-01-03T14:00:00.500000+02:00 host box 7 box - "
        );
    }

    #[test]
    fn facilities_have_names_and_numbers() {
        for (text, number) in [
            ("", Some(3)),
            ("local7", Some(23)),
            ("0", Some(0)),
            ("24", None),
            ("-1", None),
            ("foo", None),
        ] {
            assert_eq!(facility(text), number, "{text}");
        }
    }
}
