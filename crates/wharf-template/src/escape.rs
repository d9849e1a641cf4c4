//! `html`, `js`, `urlquery` and `json`.

use serde_json::{Map, Value};

use crate::item::Datum;
use crate::quote::is_printable;
use crate::text::{Full, Text};

/// Escapes for HTML text and attributes.
pub(crate) fn html(out: &mut Text, text: &str) -> Result<(), Full> {
    for character in text.chars() {
        match character {
            '"' => out.push("&#34;"),
            '\'' => out.push("&#39;"),
            '&' => out.push("&amp;"),
            '<' => out.push("&lt;"),
            '>' => out.push("&gt;"),
            '\0' => out.push("\u{fffd}"),
            other => out.push_char(other),
        }?;
    }
    Ok(())
}

/// Escapes for a JavaScript string.
pub(crate) fn js(out: &mut Text, text: &str) -> Result<(), Full> {
    for character in text.chars() {
        match character {
            '\\' => out.push("\\\\"),
            '\'' => out.push("\\'"),
            '"' => out.push("\\\""),
            '<' | '>' | '&' | '=' => out.push(&format!("\\u{:04X}", u32::from(character))),
            c if is_printable(c) || c == '\u{7f}' => out.push_char(c),
            c => out.push(&format!("\\u{:04X}", u32::from(c))),
        }?;
    }
    Ok(())
}

/// Escapes for a query string.
pub(crate) fn urlquery(out: &mut Text, text: &str) -> Result<(), Full> {
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push_char(char::from(byte))
            }
            b' ' => out.push("+"),
            other => out.push(&format!("%{other:02X}")),
        }?;
    }
    Ok(())
}

/// Writes JSON as Go's encoder does without HTML escaping.
pub(crate) fn json(out: &mut Text, datum: &Datum<'_>) -> Result<(), Full> {
    match datum {
        Datum::Missing => out.push("null"),
        Datum::Bool(value) => out.push(if *value { "true" } else { "false" }),
        Datum::Int(value) => out.push(&value.to_string()),
        Datum::Uint(value) => out.push(&value.to_string()),
        Datum::Byte(value) => out.push(&value.to_string()),
        Datum::Float(value) => out.push(&json_float(*value)),
        Datum::Text(text) => json_text(out, text),
        Datum::List(list) => json_list(out, list.iter(), |out, value| {
            json(out, &Datum::from(value))
        }),
        Datum::Strings(list) => json_list(out, list.iter(), |out, text| json_text(out, text)),
        Datum::Map(map) => json_map(out, map),
    }
}

fn json_list<T>(
    out: &mut Text,
    elements: impl Iterator<Item = T>,
    mut write: impl FnMut(&mut Text, T) -> Result<(), Full>,
) -> Result<(), Full> {
    out.push("[")?;
    for (index, element) in elements.enumerate() {
        if index > 0 {
            out.push(",")?;
        }
        write(out, element)?;
    }
    out.push("]")
}

/// Keeps the order of the object: what was a struct in Go stays in the order of its fields.
fn json_map(out: &mut Text, map: &Map<String, Value>) -> Result<(), Full> {
    out.push("{")?;
    for (index, (key, value)) in map.iter().enumerate() {
        if index > 0 {
            out.push(",")?;
        }
        json_text(out, key)?;
        out.push(":")?;
        json(out, &Datum::from(value))?;
    }
    out.push("}")
}

fn json_text(out: &mut Text, text: &str) -> Result<(), Full> {
    out.push("\"")?;
    for character in text.chars() {
        match character {
            '"' => out.push("\\\""),
            '\\' => out.push("\\\\"),
            '\n' => out.push("\\n"),
            '\r' => out.push("\\r"),
            '\t' => out.push("\\t"),
            '\u{8}' => out.push("\\b"),
            '\u{c}' => out.push("\\f"),
            '\0'..'\u{20}' | '\u{2028}' | '\u{2029}' => {
                out.push(&format!("\\u{:04x}", u32::from(character)))
            }
            other => out.push_char(other),
        }?;
    }
    out.push("\"")
}

/// Floats as ECMAScript writes them, which is what Go's encoder does.
fn json_float(value: f64) -> String {
    if !value.is_finite() {
        return "null".to_owned();
    }
    if value == 0.0 || (1e-6..1e21).contains(&value.abs()) {
        return format!("{value}");
    }
    let text = format!("{value:e}");
    match text.split_once('e') {
        Some((digits, exponent)) if !exponent.starts_with('-') => format!("{digits}e+{exponent}"),
        _ => text,
    }
}
