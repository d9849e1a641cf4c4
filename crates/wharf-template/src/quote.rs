//! Go's string and character literals.

use std::fmt::Write as _;

/// Says whether Go would show the character itself between quotes.
pub(crate) fn is_printable(character: char) -> bool {
    match u32::from(character) {
        0x20..=0x7e => true,
        0..=0xa0 | 0xad => false,
        0x2000..=0x200f | 0x2028..=0x202f | 0x205f..=0x206f | 0x3000 | 0xfeff => false,
        0xd800..=0xf8ff | 0xfff0..=0xfffb | 0xe0000.. => false,
        _ => true,
    }
}

/// Writes a Go string literal, as `%q` does.
pub(crate) fn quote(text: &str) -> String {
    quote_with(text, '"', false)
}

/// Writes a Go literal between `mark`s; with `ascii` everything else is escaped.
pub(crate) fn quote_with(text: &str, mark: char, ascii: bool) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push(mark);
    for character in text.chars() {
        match character {
            c if c == mark || c == '\\' => {
                quoted.push('\\');
                quoted.push(c);
            }
            c if is_printable(c) && (c.is_ascii() || !ascii) => quoted.push(c),
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{c}' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{b}' => quoted.push_str("\\v"),
            c => {
                let code = u32::from(c);
                let written = match code {
                    0..0x20 | 0x7f => write!(quoted, "\\x{code:02x}"),
                    0x20..0x1_0000 => write!(quoted, "\\u{code:04x}"),
                    _ => write!(quoted, "\\U{code:08x}"),
                };
                written.expect("a String takes everything");
            }
        }
    }
    quoted.push(mark);
    quoted
}

/// Reads a Go literal (`"…"`, `` `…` `` or `'…'`); `None` when it is not one.
pub(crate) fn unquote(literal: &str) -> Option<String> {
    let mark = literal.chars().next()?;
    let body = literal.strip_prefix(mark)?.strip_suffix(mark)?;
    match mark {
        '`' => Some(body.replace('\r', "")),
        '"' | '\'' => unescape(body, mark),
        _ => None,
    }
}

fn unescape(body: &str, mark: char) -> Option<String> {
    // Bytes, because `\xff` is one byte and three of them may be one character.
    let mut bytes = Vec::with_capacity(body.len());
    let mut rest = body.chars();
    while let Some(character) = rest.next() {
        if character != '\\' {
            if character == mark || character == '\n' {
                return None;
            }
            bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        let escape = rest.next()?;
        let code = match escape {
            'a' => 0x07,
            'b' => 0x08,
            'f' => 0x0c,
            'n' => 0x0a,
            'r' => 0x0d,
            't' => 0x09,
            'v' => 0x0b,
            '\\' => u32::from('\\'),
            '\'' | '"' if escape == mark => u32::from(mark),
            'x' => {
                bytes.push(u8::try_from(digits(&mut rest, 2, 16, 0)?).ok()?);
                continue;
            }
            '0'..='7' => {
                let first = escape.to_digit(8)?;
                bytes.push(u8::try_from(digits(&mut rest, 2, 8, first)?).ok()?);
                continue;
            }
            'u' => digits(&mut rest, 4, 16, 0)?,
            'U' => digits(&mut rest, 8, 16, 0)?,
            _ => return None,
        };
        let character = char::from_u32(code)?;
        bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    }
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn digits(rest: &mut std::str::Chars<'_>, count: usize, radix: u32, first: u32) -> Option<u32> {
    (0..count).try_fold(first, |value, _| {
        let digit = rest.next()?.to_digit(radix)?;
        value.checked_mul(radix)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_go_both_ways() {
        for text in ["", "a\"b\\c", "tab\tnl\n", "é\u{1}\u{7f}\u{200b}\u{1f600}"] {
            assert_eq!(unquote(&quote(text)).as_deref(), Some(text), "{text:?}");
        }
        assert_eq!(unquote(r#""\x41\101\u0041""#).as_deref(), Some("AAA"));
        assert_eq!(unquote(r#""\xe2\x82\xac""#).as_deref(), Some("€"));
        for bad in [
            "\"",
            "\"\\q\"",
            "\"\\x4\"",
            "\"\\'\"",
            "\"\\U00110000\"",
            "x",
            "",
        ] {
            assert_eq!(unquote(bad), None, "{bad:?}");
        }
    }
}
