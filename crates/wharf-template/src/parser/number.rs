//! Numeric and character constants.

use super::{Parser, Result};
use crate::node::{Ideal, Number};
use crate::quote::quote;

impl Parser<'_> {
    pub(super) fn character(&self, text: &str) -> Result<Number> {
        let character = self.unquoted(text)?;
        let mut characters = character.chars();
        let (Some(first), None) = (characters.next(), characters.next()) else {
            return self.error(format!("malformed character constant: {text}"));
        };
        let int = i64::from(u32::from(first));
        Ok(Number {
            text: text.to_owned(),
            int: Some(int),
            ideal: Ideal::Int(int),
        })
    }

    pub(super) fn number(&self, text: &str) -> Result<Number> {
        let made = |int, ideal| {
            Ok(Number {
                text: text.to_owned(),
                int,
                ideal,
            })
        };
        if let Some(value) = integer(text) {
            return match i64::try_from(value) {
                Ok(int) => made(Some(int), Ideal::Int(int)),
                Err(_) if u64::try_from(value).is_ok() => made(None, Ideal::Overflow),
                Err(_) => self.error(format!("integer overflow: {}", quote(text))),
            };
        }
        let plain = text.replace('_', "");
        let is_float = text.contains(['.', 'e', 'E']);
        match plain.parse::<f64>() {
            Ok(value) if is_float && value.is_finite() => made(whole(value), Ideal::Float(value)),
            Ok(_) if !is_float => self.error(format!("integer overflow: {}", quote(text))),
            _ => self.error(format!("illegal number syntax: {}", quote(text))),
        }
    }
}

/// The integer a float is, if it is one that fits.
#[expect(clippy::cast_possible_truncation, reason = "the range was checked")]
fn whole(value: f64) -> Option<i64> {
    let fits = value.fract() == 0.0 && value.abs() < 9.0e18;
    fits.then_some(value as i64)
}

/// Reads an integer as Go's `strconv.ParseInt` does with base 0.
fn integer(text: &str) -> Option<i128> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, digits) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, &lower[2..]),
        [b'0', b'o', ..] => (8, &lower[2..]),
        [b'0', b'b', ..] => (2, &lower[2..]),
        [b'0', _, ..] => (8, &lower[1..]),
        _ => (10, lower.as_str()),
    };
    let digits = digits.replace('_', "");
    if digits.starts_with(['+', '-']) {
        return None;
    }
    let value = i128::from_str_radix(&digits, radix).ok()?;
    Some(if negative { -value } else { value })
}
