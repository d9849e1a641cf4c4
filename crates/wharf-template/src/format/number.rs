//! Integers and floats under printf's flags.

use super::{Printer, Result};
use crate::quote::{is_printable, quote_with};

/// More digits than any float has; what a larger precision asks for are zeros.
const MAX_DIGITS: usize = 1100;

impl Printer<'_> {
    pub(super) fn integer(&mut self, value: i128, verb: char) -> Result<()> {
        let character = || {
            u32::try_from(value)
                .ok()
                .and_then(char::from_u32)
                .unwrap_or('\u{fffd}')
        };
        match verb {
            'c' => return self.pad(character().encode_utf8(&mut [0; 4])),
            'q' => {
                let text = quote_with(character().encode_utf8(&mut [0; 4]), '\'', self.flags.plus);
                return self.pad(&text);
            }
            'U' => {
                let mut text = format!("U+{value:04X}");
                if self.flags.sharp && is_printable(character()) {
                    text.push_str(&format!(" '{}'", character()));
                }
                return self.pad(&text);
            }
            _ => {}
        }
        let magnitude = value.unsigned_abs();
        let mut digits = match verb {
            'b' => format!("{magnitude:b}"),
            'o' | 'O' => format!("{magnitude:o}"),
            'x' => format!("{magnitude:x}"),
            'X' => format!("{magnitude:X}"),
            _ => magnitude.to_string(),
        };
        let sign = self.sign(value < 0);
        let mut least = self.flags.precision.unwrap_or(0);
        if self.flags.precision == Some(0) && value == 0 {
            let zero = std::mem::take(&mut self.flags.zero);
            let padded = self.pad("");
            self.flags.zero = zero;
            return padded;
        }
        if self.flags.precision.is_none() && self.flags.zero && !self.flags.minus {
            least = self.flags.width.unwrap_or(0).saturating_sub(sign.len());
        }
        if digits.len() < least {
            digits.insert_str(0, &"0".repeat(least - digits.len()));
        }
        let prefix = match verb {
            'O' => "0o",
            'b' if self.flags.sharp => "0b",
            'o' if self.flags.sharp && !digits.starts_with('0') => "0",
            'x' if self.flags.sharp => "0x",
            'X' if self.flags.sharp => "0X",
            _ => "",
        };
        let zero = std::mem::take(&mut self.flags.zero);
        let padded = self.pad(&format!("{sign}{prefix}{digits}"));
        self.flags.zero = zero;
        padded
    }

    fn sign(&self, negative: bool) -> &'static str {
        match (negative, self.flags.plus, self.flags.space) {
            (true, ..) => "-",
            (false, true, _) => "+",
            (false, false, true) => " ",
            (false, false, false) => "",
        }
    }

    pub(super) fn float(&mut self, value: f64, verb: char) -> Result<()> {
        let precision = self
            .flags
            .precision
            .map(|precision| precision.min(MAX_DIGITS));
        let zeros = "0".repeat(self.flags.precision.unwrap_or(0).saturating_sub(MAX_DIGITS));
        let magnitude = value.abs();
        let mut text = match verb {
            _ if !magnitude.is_finite() => "Inf".to_owned(),
            'e' | 'E' => {
                let text = format!("{magnitude:.*e}", precision.unwrap_or(6));
                exponent(&text.replace('e', &format!("{zeros}e")))
            }
            'f' | 'F' => format!("{magnitude:.*}{zeros}", precision.unwrap_or(6)),
            _ => general(magnitude, precision),
        };
        if let 'E' | 'G' = verb {
            text = text.to_uppercase();
        }
        let sign = self.sign(value.is_sign_negative());
        let width = self.flags.width.unwrap_or(0);
        if self.flags.zero && !sign.is_empty() && width > sign.len() {
            self.out.push(sign)?;
            self.flags.width = Some(width - sign.len());
            let padded = self.pad(&text);
            self.flags.width = Some(width);
            return padded;
        }
        self.pad(&format!("{sign}{text}"))
    }
}

/// `%g`: the shortest form, with an exponent when it is below -4 or not below the precision.
fn general(value: f64, precision: Option<usize>) -> String {
    let scientific = match precision {
        None => format!("{value:e}"),
        Some(precision) => format!("{value:.*e}", precision.max(1) - 1),
    };
    let Some((mantissa, power)) = scientific.split_once('e') else {
        return scientific;
    };
    let power: i64 = power.parse().unwrap_or(0);
    let mantissa = match precision {
        None => mantissa,
        Some(_) if mantissa.contains('.') => mantissa.trim_end_matches('0').trim_end_matches('.'),
        Some(_) => mantissa,
    };
    let digits = mantissa.len() - usize::from(mantissa.contains('.'));
    let length = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    // The shortest form changes over at an exponent of 6; a precision at itself, or at the digits
    // there are when they reach past the point.
    let limit = match precision {
        None => 6,
        Some(precision) if precision > digits && length(digits) > power => length(digits),
        Some(precision) => length(precision.max(1)),
    };
    if power < -4 || power >= limit {
        return exponent(&format!("{mantissa}e{power}"));
    }
    let decimals = length(digits) - 1 - power;
    format!("{value:.*}", usize::try_from(decimals).unwrap_or(0))
}

/// Writes Rust's `1.5e6` as Go's `1.5e+06`.
fn exponent(text: &str) -> String {
    let Some((mantissa, power)) = text.split_once('e') else {
        return text.to_owned();
    };
    let (sign, power) = match power.strip_prefix('-') {
        Some(power) => ('-', power),
        None => ('+', power),
    };
    format!("{mantissa}e{sign}{power:0>2}")
}
