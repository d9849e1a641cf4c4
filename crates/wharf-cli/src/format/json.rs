//! JSON text laid out as Go's `encoding/json` does it, without reading what it means: numbers and escapes stay as
//! they are written.

/// Lays a document out: a line a member, each level deeper by `unit`. What is no JSON comes out as it may.
pub(crate) fn indent(text: &str, unit: &str) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    let mut depth = 0_usize;
    // Whether the last thing written opened an object or a list that may turn out to be empty.
    let mut opened = false;
    for piece in Pieces(text) {
        let closes = matches!(piece, "}" | "]");
        if opened && !closes {
            depth += 1;
            new_line(&mut out, unit, depth);
        }
        match piece {
            "{" | "[" => out.push_str(piece),
            "}" | "]" => {
                if !opened {
                    depth = depth.saturating_sub(1);
                    new_line(&mut out, unit, depth);
                }
                out.push_str(piece);
            }
            "," => {
                out.push(',');
                new_line(&mut out, unit, depth);
            }
            ":" => out.push_str(": "),
            other => out.push_str(other),
        }
        opened = matches!(piece, "{" | "[");
    }
    out
}

/// Leaves out all blanks between the pieces of a document.
pub(crate) fn compact(text: &str) -> String {
    Pieces(text).collect()
}

/// Writes what means something in HTML as Go does, which never knows where its JSON ends up. Such letters are in
/// strings only.
pub(crate) fn escape_html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                out.push_str(&format!("\\u{:04x}", u32::from(letter)));
            }
            other => out.push(other),
        }
    }
    out
}

fn new_line(out: &mut String, unit: &str, depth: usize) {
    out.push('\n');
    for _ in 0..depth {
        out.push_str(unit);
    }
}

/// Brackets, commas, colons, strings, and what is between them.
struct Pieces<'a>(&'a str);

impl<'a> Iterator for Pieces<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        self.0 = self.0.trim_start_matches([' ', '\t', '\r', '\n']);
        let first = self.0.chars().next()?;
        let length = match first {
            '"' => string(self.0),
            '{' | '}' | '[' | ']' | ',' | ':' => 1,
            _ => self
                .0
                .find(|c: char| " \t\r\n{}[],:\"".contains(c))
                .unwrap_or(self.0.len()),
        };
        let (piece, rest) = self.0.split_at(length);
        self.0 = rest;
        Some(piece)
    }
}

/// The length of a string with its quotes.
fn string(text: &str) -> usize {
    let mut escaped = false;
    for (at, letter) in text.char_indices().skip(1) {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#" {"a" : [1, 2.50e3,{} , [ ]],"b\"{,":"x: [y\\", "c":{"d":null}}
"#;

    #[test]
    fn a_document_is_laid_out_as_go_does_it() {
        assert_eq!(
            indent(TEXT, "\t"),
            "{\n\t\"a\": [\n\t\t1,\n\t\t2.50e3,\n\t\t{},\n\t\t[]\n\t],\n\t\"b\\\"{,\": \"x: [y\\\\\",\n\t\"c\": {\n\t\t\"d\": null\n\t}\n}"
        );
        assert_eq!(
            compact(TEXT),
            r#"{"a":[1,2.50e3,{},[]],"b\"{,":"x: [y\\","c":{"d":null}}"#
        );
        assert_eq!(indent("[]", " "), "[]");
        assert_eq!(indent("3", " "), "3");
        assert_eq!(
            escape_html("\"a<b>&\u{2028}\""),
            "\"a\\u003cb\\u003e\\u0026\\u2028\""
        );
    }

    proptest::proptest! {
        #[test]
        fn the_meaning_stays(keys in proptest::collection::vec("\\PC{0,8}", 0..6), number: i64) {
            let value = serde_json::json!({ "list": keys, "n": number, "o": { "k": keys.first() } });
            let text = value.to_string();
            for laid_out in [indent(&text, "  "), compact(&text), escape_html(&text)] {
                let read: serde_json::Value = serde_json::from_str(&laid_out).expect("JSON");
                proptest::prop_assert_eq!(&read, &value);
            }
            proptest::prop_assert_eq!(indent(&text, "  "), serde_json::to_string_pretty(&value).expect("JSON"));
        }

        #[test]
        fn no_text_panics(text: String) {
            drop((indent(&text, "\t"), compact(&text)));
        }
    }
}
