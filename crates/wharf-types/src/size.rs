//! Sizes: `512m`, `1.5GiB`.

/// A size that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SizeError {
    /// No number, or a negative one.
    #[error("invalid size: '{0}'")]
    Number(String),
    /// No unit that is known.
    #[error("invalid suffix: '{0}'")]
    Suffix(String),
}

/// Reads a size in bytes; the units are powers of 1024, as everywhere in Docker's flags.
///
/// # Errors
/// It is none.
pub fn binary(text: &str) -> Result<i64, SizeError> {
    parse(text, 1024.0)
}

/// Reads a size in bytes; the units are powers of 1000, as in the options of Docker's logs.
///
/// # Errors
/// It is none.
pub fn decimal(text: &str) -> Result<i64, SizeError> {
    parse(text, 1000.0)
}

fn parse(text: &str, base: f64) -> Result<i64, SizeError> {
    let bad = || SizeError::Number(text.to_owned());
    let end = text
        .rfind(|c: char| c.is_ascii_digit() || c == '.' || c == ' ')
        .ok_or_else(bad)?
        + 1;
    let (number, suffix) = text.split_at(end);
    let number = number.trim_end_matches(' ');
    if !number
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.')
    {
        return Err(bad());
    }
    let number: f64 = number.parse().map_err(|_| bad())?;
    let bytes = number * multiplier(suffix, base)?;
    // 2^63 is the first float above every i64.
    if !bytes.is_finite() || bytes >= 9_223_372_036_854_775_808.0 {
        return Err(bad());
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the fraction of a byte is dropped, the range is checked above"
    )]
    Ok(bytes as i64)
}

fn multiplier(suffix: &str, base: f64) -> Result<f64, SizeError> {
    let lower = suffix.to_ascii_lowercase();
    let (unit, rest) = match lower.chars().next() {
        None | Some('b') if lower.len() <= 1 => return Ok(1.0),
        Some(unit) if unit.is_ascii() => (unit, &lower[1..]),
        _ => return Err(SizeError::Suffix(suffix.to_owned())),
    };
    let power = "kmgtp"
        .find(unit)
        .filter(|_| matches!(rest, "" | "b" | "ib"));
    let power = power
        .and_then(|power| i32::try_from(power).ok())
        .ok_or_else(|| SizeError::Suffix(suffix.to_owned()))?;
    Ok(base.powi(power + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_powers_of_1024() {
        for (text, bytes) in [
            ("0", 0),
            ("32", 32),
            ("32b", 32),
            ("32B", 32),
            ("32k", 32 << 10),
            ("32KB", 32 << 10),
            ("32 kib", 32 << 10),
            ("1.5m", 3 << 19),
            ("2G", 2 << 30),
            ("1TiB", 1 << 40),
            ("1p", 1 << 50),
            ("0.3", 0),
        ] {
            assert_eq!(binary(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn decimal_sizes_are_powers_of_1000() {
        assert_eq!(decimal("10m"), Ok(10_000_000));
        assert_eq!(decimal("1.5kB"), Ok(1500));
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in ["", "xx", "-1", "m", "1.2.3", "9e99", "10000000p", " "] {
            assert_eq!(
                binary(text),
                Err(SizeError::Number(text.to_owned())),
                "{text}"
            );
        }
        for (text, suffix) in [("32bb", "bb"), ("1x", "x"), ("1mix", "mix"), ("1é", "é")] {
            assert_eq!(
                binary(text),
                Err(SizeError::Suffix(suffix.to_owned())),
                "{text}"
            );
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in ".{0,12}") {
            let answer = binary(&text);
            proptest::prop_assert!(answer.map_or(true, |bytes| bytes >= 0));
        }
    }
}
