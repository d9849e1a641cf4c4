//! Which entries of a log a reader wants, and how they are written.

use std::collections::BTreeMap;

use jiff::Timestamp;
use wharf_log::{Entry, Stream, Time};
use wharf_wire as wire;

/// Which entries, and how they are written.
#[derive(Debug)]
pub(super) struct Selection {
    stdout: bool,
    stderr: bool,
    pub(super) since: Option<Timestamp>,
    until: Option<Timestamp>,
    timestamps: bool,
    framed: bool,
    details: Option<Details>,
}

/// Attributes as they are shown; most entries have those of the entry before.
#[derive(Debug, Default)]
struct Details {
    attributes: Vec<u8>,
    text: String,
}

impl Selection {
    pub(super) fn new(query: &wire::LogsQuery, tty: bool) -> Self {
        let time = |time: Option<wire::UnixTime>| {
            let time = time?;
            let nanoseconds = i32::try_from(time.nanoseconds).unwrap_or_default();
            Timestamp::new(time.seconds, nanoseconds).ok()
        };
        Self {
            stdout: query.stdout,
            stderr: query.stderr,
            since: time(query.since).filter(|since| *since != Timestamp::UNIX_EPOCH),
            until: time(query.until).filter(|until| *until != Timestamp::UNIX_EPOCH),
            timestamps: query.timestamps,
            framed: !tty,
            details: query.details.then(Details::default),
        }
    }

    /// Appends an entry to `out` if it is wanted; false when all that follow are too late.
    ///
    /// Each entry is a frame of its own, as from Docker: there are clients that take a frame for a line.
    pub(super) fn write(&mut self, entry: &Entry<'_>, out: &mut Vec<u8>) -> bool {
        if self.since.is_some() || self.until.is_some() {
            let time = entry.time.timestamp();
            if self.until.is_some_and(|until| time > until) {
                return false;
            }
            if self.since.is_some_and(|since| time < since) {
                return true;
            }
        }
        let wanted = match entry.stream {
            Stream::Stdout => self.stdout,
            Stream::Stderr => self.stderr,
        };
        if !wanted {
            return true;
        }
        let start = out.len();
        if self.framed {
            out.extend_from_slice(&entry.stream.header(0));
        }
        let body = out.len();
        if self.timestamps {
            write_time(entry.time, out);
            out.push(b' ');
        }
        if let Some(details) = &mut self.details {
            out.extend_from_slice(details.text(entry.attributes).as_bytes());
            out.push(b' ');
        }
        out.extend_from_slice(entry.text);
        if self.framed {
            let length = u32::try_from(out.len() - body).unwrap_or(u32::MAX);
            out[start..body].copy_from_slice(&entry.stream.header(length));
        }
        true
    }
}

impl Details {
    fn text(&mut self, attributes: &[u8]) -> &str {
        if self.attributes != attributes {
            self.attributes = attributes.to_vec();
            let parsed: BTreeMap<String, String> =
                serde_json::from_slice(attributes).unwrap_or_default();
            let pairs = parsed.iter().map(|(key, value)| {
                let (key, value) = (query_escape(key), query_escape(value));
                format!("{key}={value}")
            });
            self.text = pairs.collect::<Vec<_>>().join(",");
        }
        &self.text
    }
}

/// Escapes as Go's `url.QueryEscape`.
fn query_escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(byte));
            }
            b' ' => out.push('+'),
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}

/// Appends a time with all nine digits of its fraction, so that the column is even.
fn write_time(time: Time<'_>, out: &mut Vec<u8>) {
    if let Time::Text(text) = time
        && let Some(text) = text.strip_suffix('Z')
        && text.len() >= SECONDS
    {
        // As it is written in nearly every file.
        let (seconds, fraction) = text.split_at(SECONDS);
        let digits = fraction.strip_prefix('.').unwrap_or(fraction);
        if digits.len() <= 9 && digits.bytes().all(|byte| byte.is_ascii_digit()) {
            out.extend_from_slice(seconds.as_bytes());
            out.push(b'.');
            out.extend_from_slice(digits.as_bytes());
            out.extend_from_slice(&b"000000000Z"[digits.len()..]);
            return;
        }
    }
    let text = crate::inspect::nanoseconds(time.timestamp());
    out.extend_from_slice(text.as_bytes());
}

/// Length of a time without its fraction.
const SECONDS: usize = "2026-01-31T12:00:00".len();

#[cfg(test)]
mod tests {
    use super::*;

    fn written(entry: &Entry<'_>, query: wire::LogsQuery, tty: bool) -> String {
        let mut out = Vec::new();
        Selection::new(&query, tty).write(entry, &mut out);
        String::from_utf8(out).expect("utf-8")
    }

    fn all() -> wire::LogsQuery {
        wire::LogsQuery {
            stdout: true,
            timestamps: true,
            details: true,
            ..Default::default()
        }
    }

    #[test]
    fn entries_are_shown_as_docker_shows_them() {
        let entry = |time| Entry {
            text: b"hi\n",
            stream: Stream::Stdout,
            time,
            attributes: br#"{"b":"x y,=","a":"1"}"#,
        };
        for (time, text) in [
            (
                Time::Text("2026-01-31T12:00:00.5Z"),
                "2026-01-31T12:00:00.500000000Z",
            ),
            (
                Time::Text("2026-01-31T12:00:00Z"),
                "2026-01-31T12:00:00.000000000Z",
            ),
            (
                Time::Text("2026-01-31T14:00:00.25+02:00"),
                "2026-01-31T12:00:00.250000000Z",
            ),
            (
                Time::Nanoseconds(1_000_000_001),
                "1970-01-01T00:00:01.000000001Z",
            ),
        ] {
            assert_eq!(
                written(&entry(time), all(), true),
                format!("{text} a=1,b=x+y%2C%3D hi\n")
            );
        }
        let framed = written(&entry(Time::Nanoseconds(0)), all(), false);
        assert_eq!(&framed.as_bytes()[..8], [1, 0, 0, 0, 0, 0, 0, 50]);
        assert_eq!(framed.len(), 8 + 50);
    }
}
