//! One entry of the log, as bytes and back.

use std::io::Write as _;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Which output of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// Standard output, or the terminal.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    /// Returns the stream's number in the framing of multiplexed output.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Stdout => 1,
            Self::Stderr => 2,
        }
    }

    /// Returns the header that goes before `length` bytes in the framing of multiplexed output.
    #[must_use]
    pub fn header(self, length: u32) -> [u8; 8] {
        let [a, b, c, d] = length.to_be_bytes();
        [self.number(), 0, 0, 0, a, b, c, d]
    }
}

/// One entry of the log.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Entry {
    /// The text, with its line feed unless it is a part of a longer line.
    #[serde(rename = "log", default)]
    pub text: String,
    /// Where it was written.
    pub stream: Stream,
    /// When it was read.
    pub time: Timestamp,
}

/// Appends the entry of `text` to `out`, line feed included.
pub(super) fn encode(text: &[u8], stream: Stream, time: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"log\":\"");
    for chunk in text.utf8_chunks() {
        escape(chunk.valid(), out);
        if !chunk.invalid().is_empty() {
            out.extend_from_slice(b"\\ufffd");
        }
    }
    let name: &[u8] = match stream {
        Stream::Stdout => b"stdout",
        Stream::Stderr => b"stderr",
    };
    out.extend_from_slice(b"\",\"stream\":\"");
    out.extend_from_slice(name);
    out.extend_from_slice(b"\",\"time\":\"");
    out.extend_from_slice(time.as_bytes());
    out.extend_from_slice(b"\"}\n");
}

/// Escapes as Go's encoder does: also `<`, `>`, `&` and the two Unicode line separators.
fn escape(text: &str, out: &mut Vec<u8>) {
    for c in text.chars() {
        match c {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            '\n' => out.extend_from_slice(b"\\n"),
            '\r' => out.extend_from_slice(b"\\r"),
            '\t' => out.extend_from_slice(b"\\t"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\u{1f}' => {
                let written = write!(out, "\\u{:04x}", u32::from(c));
                written.expect("a vector takes any number of bytes");
            }
            _ => {
                let mut bytes = [0; 4];
                out.extend_from_slice(c.encode_utf8(&mut bytes).as_bytes());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &[u8]) -> String {
        let mut out = Vec::new();
        encode(text, Stream::Stdout, "2026-01-31T12:00:00Z", &mut out);
        String::from_utf8(out).expect("utf-8")
    }

    #[test]
    fn written_as_docker_writes_it() {
        assert_eq!(
            line(b"a<b>&\"\\\x1b[0m\r\n"),
            "{\"log\":\"a\\u003cb\\u003e\\u0026\\\"\\\\\\u001b[0m\\r\\n\",\"stream\":\"stdout\",\
             \"time\":\"2026-01-31T12:00:00Z\"}\n"
        );
        assert!(line(b"\xff\xfe!").contains("\"\\ufffd\\ufffd!\""));
    }

    proptest::proptest! {
        #[test]
        fn any_text_comes_back(text: String) {
            let entry: Entry = serde_json::from_str(&line(text.as_bytes())).expect("json");
            proptest::prop_assert_eq!(entry.text, text);
        }

        #[test]
        fn any_bytes_are_one_line(bytes: Vec<u8>) {
            let line = line(&bytes);
            proptest::prop_assert_eq!(line.matches('\n').count(), 1);
            let entry: Entry = serde_json::from_str(&line).expect("json");
            proptest::prop_assert_eq!(entry.text, String::from_utf8_lossy(&bytes));
        }
    }
}
