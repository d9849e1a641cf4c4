//! Docker's `json-file` format: one JSON object a line.
//!
//! `{"log":"text\n","stream":"stdout","attrs":{"key":"value"},"time":"2026-01-31T12:00:00.5Z"}`;
//! `attrs` only if there are any. Bytes that are not UTF-8 become U+FFFD: the format has no place for
//! them.

use std::collections::BTreeMap;
use std::io::Write as _;

use serde::Deserialize;

use crate::entry::{Piece, Scratch, ScratchTime, Stream};
use crate::{LINE_MAX, scan};

/// Longest line read: an entry's text, each byte escaped as six, and the rest, where attributes may be
/// long.
pub(crate) const RECORD_MAX: usize = 6 * LINE_MAX + (256 << 10);

const BEGIN: &[u8] = b"{\"log\":\"";
const STREAM: &[u8] = b"\",\"stream\":\"";
const ATTRIBUTES: &[u8] = b"\"attrs\":";
const TIME: &[u8] = b",\"time\":\"";

/// Appends the entry of `piece` to `out`, line feed included. `attributes` is a JSON object, or empty.
pub(crate) fn encode(piece: &Piece<'_>, attributes: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(BEGIN);
    escape(piece.text, out);
    if piece.ends {
        out.extend_from_slice(b"\\n");
    }
    out.extend_from_slice(STREAM);
    out.extend_from_slice(piece.stream.name().as_bytes());
    if !attributes.is_empty() {
        out.extend_from_slice(b"\",");
        out.extend_from_slice(ATTRIBUTES);
        out.extend_from_slice(attributes.as_bytes());
        out.extend_from_slice(TIME);
    } else {
        out.extend_from_slice(b"\"");
        out.extend_from_slice(TIME);
    }
    out.extend_from_slice(piece.time.text.as_bytes());
    out.extend_from_slice(b"\"}\n");
}

/// Escapes as Go's encoder does: also `<`, `>`, `&` and the two Unicode line separators.
fn escape(mut text: &[u8], out: &mut Vec<u8>) {
    let special = |byte: u8| {
        !(0x20..0x80).contains(&byte)
            | (byte == b'"')
            | (byte == b'\\')
            | (byte == b'<')
            | (byte == b'>')
            | (byte == b'&')
    };
    while let Some(at) = scan::find(text, special) {
        out.extend_from_slice(&text[..at]);
        text = &text[at..];
        if text[0] < 0x80 {
            escape_ascii(text[0], out);
            text = &text[1..];
        } else {
            let end = scan::find(text, |byte| byte < 0x80).unwrap_or(text.len());
            escape_wide(&text[..end], out);
            text = &text[end..];
        }
    }
    out.extend_from_slice(text);
}

fn escape_ascii(byte: u8, out: &mut Vec<u8>) {
    match byte {
        b'"' => out.extend_from_slice(b"\\\""),
        b'\\' => out.extend_from_slice(b"\\\\"),
        b'\n' => out.extend_from_slice(b"\\n"),
        b'\r' => out.extend_from_slice(b"\\r"),
        other => escape_number(u32::from(other), out),
    }
}

fn escape_number(number: u32, out: &mut Vec<u8>) {
    write!(out, "\\u{number:04x}").expect("a vector takes any number of bytes");
}

/// Escapes bytes of which none is ASCII.
fn escape_wide(bytes: &[u8], out: &mut Vec<u8>) {
    for chunk in bytes.utf8_chunks() {
        let mut valid = chunk.valid();
        while let Some(at) = valid.find(['\u{2028}', '\u{2029}']) {
            out.extend_from_slice(&valid.as_bytes()[..at]);
            let mut rest = valid[at..].chars();
            escape_number(rest.next().map_or(0, u32::from), out);
            valid = rest.as_str();
        }
        out.extend_from_slice(valid.as_bytes());
        // Docker replaces each byte.
        for _ in chunk.invalid() {
            out.extend_from_slice(b"\\ufffd");
        }
    }
}

/// Reads an entry, a line without its line feed; `None` when it is none.
pub(crate) fn decode(line: &[u8], into: &mut Scratch) -> Option<()> {
    into.text.clear();
    into.attributes.clear();
    into.time = ScratchTime::Text;
    into.time_text.clear();
    let Some(plain) = plain(line, &mut into.text) else {
        return any(line, into);
    };
    into.stream = plain.stream;
    into.attributes.extend_from_slice(plain.attributes);
    into.time_text.push_str(plain.time);
    Some(())
}

/// The parts of an entry beside its text.
struct Plain<'a> {
    stream: Stream,
    attributes: &'a [u8],
    time: &'a str,
}

/// Reads an entry as [`encode`] and Docker write it; `None` for any other JSON.
fn plain<'a>(line: &'a [u8], text: &mut Vec<u8>) -> Option<Plain<'a>> {
    let rest = unescape(line.strip_prefix(BEGIN)?, text)?;
    let rest = rest.strip_prefix(&STREAM[1..])?;
    let (stream, rest) = match rest.strip_prefix(b"stdout\"") {
        Some(rest) => (Stream::Stdout, rest),
        None => (Stream::Stderr, rest.strip_prefix(b"stderr\"")?),
    };
    let rest = rest.strip_suffix(b"\"}")?;
    let (attributes, time) = match rest.strip_prefix(TIME) {
        Some(time) => (&rest[..0], time),
        None => {
            let rest = rest.strip_prefix(b",")?.strip_prefix(ATTRIBUTES)?;
            // The time is last, and no string of the attributes has an unescaped quote.
            let at = rest.windows(TIME.len()).rposition(|part| part == TIME)?;
            (&rest[..at], &rest[at + TIME.len()..])
        }
    };
    let is_time = |byte: &u8| byte.is_ascii_digit() || b"-:.+TZ".contains(byte);
    Some(Plain {
        stream,
        attributes,
        time: std::str::from_utf8(time)
            .ok()
            .filter(|time| time.bytes().all(|byte| is_time(&byte)))?,
    })
}

/// Reads a string up to its closing quote; returns what follows the quote.
fn unescape<'a>(mut bytes: &'a [u8], text: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        let at = scan::find(bytes, |byte| (byte == b'"') | (byte == b'\\'))?;
        text.extend_from_slice(&bytes[..at]);
        if bytes[at] == b'"' {
            return Some(&bytes[at + 1..]);
        }
        let (byte, length) = match bytes.get(at + 1)? {
            b'n' => (b'\n', 2),
            b't' => (b'\t', 2),
            b'r' => (b'\r', 2),
            b'b' => (8, 2),
            b'f' => (12, 2),
            quoted @ (b'"' | b'\\' | b'/') => (*quoted, 2),
            b'u' => {
                let digits = std::str::from_utf8(bytes.get(at + 2..at + 6)?).ok()?;
                let number = u32::from_str_radix(digits, 16).ok()?;
                // Half of a pair is for the one that knows all of JSON.
                let character = char::from_u32(number).filter(|_| !digits.starts_with('+'))?;
                let mut utf8 = [0; 4];
                text.extend_from_slice(character.encode_utf8(&mut utf8).as_bytes());
                bytes = &bytes[at + 6..];
                continue;
            }
            _ => return None,
        };
        text.push(byte);
        bytes = &bytes[at + length..];
    }
}

/// An entry in any other spelling that JSON allows.
#[derive(Deserialize)]
struct Any {
    #[serde(default)]
    log: String,
    stream: Stream,
    #[serde(default)]
    attrs: BTreeMap<String, String>,
    #[serde(default)]
    time: String,
}

fn any(line: &[u8], into: &mut Scratch) -> Option<()> {
    let any: Any = serde_json::from_slice(line).ok()?;
    into.text.clear();
    into.text.extend_from_slice(any.log.as_bytes());
    if !any.attrs.is_empty() {
        serde_json::to_writer(&mut into.attributes, &any.attrs).ok()?;
    }
    into.stream = any.stream;
    into.time_text = any.time;
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::entry::Stamp;

    fn line(text: &[u8], ends: bool, attributes: &str) -> Vec<u8> {
        let time = Stamp {
            nanoseconds: 0,
            text: "2026-01-31T12:00:00Z".to_owned(),
        };
        let piece = Piece {
            text,
            ends,
            stream: Stream::Stdout,
            time: &time,
            part: None,
        };
        let mut out = Vec::new();
        encode(&piece, attributes, &mut out);
        out
    }

    fn text(line: &[u8]) -> String {
        let mut scratch = Scratch::default();
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        decode(line, &mut scratch).expect("an entry");
        String::from_utf8(scratch.text).expect("utf-8")
    }

    #[test]
    fn written_as_docker_writes_it() {
        let found = String::from_utf8(line(b"a<b>&\"\\\t\x1b[0m\r\xff\xfe!", true, "")).unwrap();
        assert_eq!(
            found,
            "{\"log\":\"a\\u003cb\\u003e\\u0026\\\"\\\\\\u0009\\u001b[0m\\r\\ufffd\\ufffd!\\n\",\
             \"stream\":\"stdout\",\"time\":\"2026-01-31T12:00:00Z\"}\n"
        );
        let found = String::from_utf8(line(b"x", false, r#"{"k":"v"}"#)).unwrap();
        assert_eq!(
            found,
            "{\"log\":\"x\",\"stream\":\"stdout\",\"attrs\":{\"k\":\"v\"},\
             \"time\":\"2026-01-31T12:00:00Z\"}\n"
        );
    }

    #[test]
    fn entries_in_another_spelling_are_read() {
        let mut scratch = Scratch::default();
        let spelt =
            br#" {"time":"2026-01-31T12:00:00Z","stream":"stderr", "log":"\ud83d\ude00\n" } "#;
        decode(spelt, &mut scratch).expect("an entry");
        let entry = scratch.entry();
        assert_eq!(
            (entry.text, entry.stream),
            ("😀\n".as_bytes(), Stream::Stderr)
        );
        assert_eq!(entry.time.timestamp().to_string(), "2026-01-31T12:00:00Z");
    }

    #[test]
    fn what_is_no_entry_is_none() {
        for line in [
            "",
            "{",
            "[]",
            r#"{"log":"#,
            r#"{"log":"x","stream":"stdin","time":""}"#,
            r#"{"log":"x\u12","stream":"stdout","time":"2026-01-31T12:00:00Z"}"#,
        ] {
            assert_eq!(
                decode(line.as_bytes(), &mut Scratch::default()),
                None,
                "{line}"
            );
        }
    }

    #[test]
    fn attributes_are_lent_as_they_are() {
        let attributes = r#"{"a":",\"time\":\"","b":"\u003c"}"#;
        let line = line(b"x", true, attributes);
        let mut scratch = Scratch::default();
        decode(&line[..line.len() - 1], &mut scratch).expect("an entry");
        assert_eq!(scratch.attributes, attributes.as_bytes());
    }

    proptest! {
        #[test]
        fn any_text_comes_back(written: String) {
            prop_assert_eq!(text(&line(written.as_bytes(), false, "")), written);
        }

        #[test]
        fn any_bytes_are_one_line_of_json(bytes: Vec<u8>) {
            let line = line(&bytes, true, "");
            prop_assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
            let parsed: serde_json::Value = serde_json::from_slice(&line).expect("json");
            prop_assert_eq!(text(&line), parsed["log"].as_str().expect("text"));
        }

        #[test]
        fn ascii_comes_back(bytes in prop::collection::vec(0u8..0x80, 0..300)) {
            let with_end = [bytes.as_slice(), b"\n"].concat();
            let read = text(&line(&bytes, true, ""));
            prop_assert_eq!(read.as_bytes(), with_end);
        }
    }
}
